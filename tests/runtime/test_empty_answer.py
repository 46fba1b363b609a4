"""An answer without a character, or of a part of a text, is no success."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from captcha_rt import LowConfidenceError, ManifestError, Solver, load_model
from captcha_rt.model import attach
from captcha_rt.solution import reject_unsure

NOTHING = "-" * 16


def test_an_empty_answer_is_rejected(
    call, stripes: Path, stripes_array, stripes_png, tmp_path: Path
) -> None:
    """Nothing is printed, the exit code says so, and other pictures are read."""
    answer = Solver(stripes).solve(stripes_array(NOTHING))
    assert (answer.text, answer.confidence, answer.accepted) == ("", 0.0, False)
    assert isinstance(reject_unsure(answer, None), LowConfidenceError)
    (tmp_path / "1.png").write_bytes(stripes_png(NOTHING))
    (tmp_path / "2.png").write_bytes(stripes_png("-aa--bb--cc-----"))
    alone = call("solve", tmp_path / "1.png", "-m", stripes)
    assert (alone.stdout, alone.returncode) == ("", 4)
    assert alone.stderr == f"captcha-rt: {tmp_path / '1.png'}: read no character\n"
    error = json.loads(call("solve", tmp_path / "1.png", "-m", stripes, "--json").stdout)
    assert error["error"] == {"type": "LowConfidenceError", "message": "read no character"}
    both = call("solve", tmp_path, "-m", stripes)
    assert [line.split("\t")[1] for line in both.stdout.splitlines()] == ["", "abc"]
    assert both.returncode == 4


def test_an_empty_answer_is_given_to_who_asks_for_it(
    call, stripes: Path, stripes_png, tmp_path: Path
) -> None:
    """`--min-confidence 0` takes every answer."""
    (tmp_path / "1.png").write_bytes(stripes_png(NOTHING))
    result = call("solve", tmp_path / "1.png", "-m", stripes, "--min-confidence", "0")
    assert (result.stdout, result.stderr, result.returncode) == ("\n", "", 0)


def test_a_text_of_the_known_length_is_read_where_a_character_was_missed(
    stripes: Path, stripes_array, tmp_path: Path
) -> None:
    """The likeliest text of this length, with its own probability; a part of a text stays one."""
    model = load_model(stripes)
    path = tmp_path / "three.onnx"
    graph = model.data[: model.manifest.graph.size]
    path.write_bytes(attach(graph, replace(model.manifest, shortest=3, length=3)))
    known, open_ = Solver(path), Solver(stripes)
    doubtful = stripes_array("-aa--bb---------")
    doubtful[:, 12:14] = 214  # about halfway between the blank's level and that of `c`
    read, without = known.solve(doubtful), open_.solve(doubtful)
    assert (without.text, len(read.text)) == ("ab", 3)
    assert read.text.startswith("ab")
    assert 0.02 <= read.confidence < 0.9
    assert known.solve_batch([doubtful, doubtful])[1] == read
    part = known.solve(stripes_array("-aa--bb---------"))
    assert (part.text, part.confidence) == ("ab", 0)
    whole = stripes_array("-aa--bb--cc-----")
    assert known.solve(whole).confidence == open_.solve(whole).confidence
    assert known.solve(doubtful, length=2).text == "ab"
    for asked in ({"alternatives": 2}, {"allowed": "abc"}, {"allowed": "abc", "alternatives": 2}):
        again = known.solve(doubtful, **asked)
        assert again.text == read.text
        assert again.confidence == pytest.approx(read.confidence, rel=1e-4)
        assert {a.text for a in again.alternatives or ()} in (set(), {"ab", read.text})
    with pytest.raises(ManifestError, match="every text has 0 or more characters: -1"):
        replace(model.manifest, length=-1)


def test_a_part_of_a_text_is_rejected(stripes: Path, stripes_array, tmp_path: Path) -> None:
    """An answer with fewer characters than any text that was trained on has no confidence."""
    model = load_model(stripes)
    graph = model.data[: model.manifest.graph.size]
    path = tmp_path / "three.onnx"
    path.write_bytes(attach(graph, replace(model.manifest, shortest=3)))
    solver = Solver(path)
    whole, part = stripes_array("-aa--bb--cc-----"), stripes_array("-aa--bb---------")
    assert solver.solve(whole).accepted
    answers = solver.solve_batch([part, whole])
    assert [(a.text, a.confidence > 0, a.accepted) for a in answers] == [
        ("ab", False, False),
        ("abc", True, True),
    ]
    error = reject_unsure(answers[0], None)
    assert str(error) == "read 'ab', shorter than any text that the model was trained on"
    assert reject_unsure(answers[0], 0.0) is answers[0]
    assert solver.solve(part, length=2).confidence > 0
    with pytest.raises(ManifestError, match="shortest text has 0 or more characters: -1"):
        replace(model.manifest, shortest=-1)
