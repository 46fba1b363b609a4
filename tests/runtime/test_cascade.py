"""Both embedded models behind one `Solver`: the small one reads first, the general one the rest."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt import (
    CharsetError,
    ImageDecodeError,
    LengthError,
    LowConfidenceError,
    ModelError,
    Session,
    Solution,
    Solver,
    load_model,
    session,
)
from captcha_rt.cascade import UNSURE, better, recut
from captcha_rt.diagnostics.doctor import examine
from captcha_rt.diagnostics.explain import explain
from captcha_rt.diagnostics.stages import time_stages
from captcha_rt.model import EMBEDDED, GENERAL
from captcha_rt.solution import reject_unsure

SAMPLES = sorted((Path(__file__).parent.parent / "samples").glob("*.png"))


def drawn(text: str) -> NDArray[np.uint8]:
    """A text in OpenCV's own strokes, a kind that the small model does not know."""
    picture = np.full((60, 60 + 34 * len(text), 3), 255, np.uint8)
    cv2.putText(picture, text, (30, 44), cv2.FONT_HERSHEY_DUPLEX, 1.5, (160, 60, 20), 2)
    return picture


@pytest.fixture(scope="module")
def solver() -> Solver:
    return Solver(device="cpu")


def test_the_small_model_answers_what_it_knows(solver: Solver) -> None:
    """The answer is its own, whatever the general model would say."""
    alone = Solver(EMBEDDED, device="cpu")
    for path in SAMPLES:
        answer = solver.solve(path)
        assert answer == alone.solve(path)
        assert answer.model == "compact"
        assert answer.accepted


@pytest.mark.parametrize("text", ["7B3KR", "48215", "MTPHXE", "9264"])
def test_the_general_model_reads_the_rest(solver: Solver, text: str) -> None:
    """Another kind of picture, which the small model rejects."""
    assert not Solver(EMBEDDED, device="cpu").solve(drawn(text)).accepted
    answer = solver.solve(drawn(text))
    assert answer.model == "general"
    assert answer.text.casefold() == text.casefold()
    assert answer.min_confidence == solver.readers[1].manifest.min_confidence


def test_the_general_model_is_loaded_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that the small model reads don't wait for it; it is loaded once."""
    sizes, load = [], session._load
    monkeypatch.setattr(
        session, "_load", lambda model, *others: sizes.append(len(model)) or load(model, *others)
    )
    lazy = Solver(device="cpu")
    lazy.solve(SAMPLES[0])
    assert sizes == [EMBEDDED.stat().st_size]
    for text in ("7B3KR", "48215"):
        assert lazy.solve(drawn(text)).model == "general"
    assert sizes == [EMBEDDED.stat().st_size, GENERAL.stat().st_size]
    lazy.load()
    assert len(sizes) == 2


def test_a_general_model_that_cannot_be_loaded_is_no_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever needs it gets the error, with its file; what the small one reads is read."""
    load = session._load

    def fail(model: bytes, *others: object) -> object:
        if len(model) == GENERAL.stat().st_size:
            raise ModelError("no memory")
        return load(model, *others)

    monkeypatch.setattr(session, "_load", fail)
    lacking = Solver(device="cpu")
    assert lacking.solve(SAMPLES[0]).accepted
    for ask in (
        lacking.load,
        lambda: lacking.solve(drawn("48215")),
        lambda: lacking.solve_batch([drawn("48215"), SAMPLES[0]]),
        lambda: explain(lacking, drawn("48215")),
        lambda: time_stages(lacking, [drawn("48215")]),
    ):
        with pytest.raises(ModelError, match=r"general\.onnx: no memory"):
            ask()
    assert any("general.onnx: no memory" in problem for problem in examine().problems)


def test_a_model_that_waits_fails_when_it_is_used() -> None:
    """And each time: nothing of it is left as if it were loaded."""
    manifest = load_model(GENERAL).manifest
    waiting = Session(EMBEDDED.read_bytes(), manifest, device="cpu", may_wait=True)
    inputs = np.zeros((1, *manifest.tensor_shape), np.float32)
    for _ in range(2):
        with pytest.raises(ModelError, match="the model's input is"):
            waiting.run(inputs)


def test_a_batch_is_read_like_each_of_its_pictures(solver: Solver) -> None:
    """Pictures for either model, and errors, in one batch or in several."""
    broken = ImageDecodeError("no picture")
    pictures = [drawn("48215"), SAMPLES[0], broken, drawn("7B3KR"), SAMPLES[1], b"text"]
    expected = [solver.solve(p) for p in (pictures[0], pictures[1], pictures[3], pictures[4])]
    for batch_size in (1, 2, 4, 8):
        answers = solver.solve_batch(pictures, batch_size=batch_size)
        assert answers[2] is broken
        assert isinstance(answers[5], ImageDecodeError)
        for answer, one in zip((answers[i] for i in (0, 1, 3, 4)), expected, strict=True):
            assert isinstance(answer, Solution)
            assert (answer.text, answer.model) == (one.text, one.model)
            assert answer.confidence == pytest.approx(one.confidence, abs=1e-4)


def test_the_general_model_reads_unsure_pictures_twice(solver: Solver) -> None:
    """As they are and cut out anew; the surer answer counts, and is the one explained."""
    general = solver.readers[1]
    seen = set()
    for text in ("7B3KR", "48215", "MTPHXE"):
        for paper in (0, 100, 150, 200):
            white = ((paper, paper), (paper, paper), (0, 0))
            picture = np.pad(drawn(text), white, constant_values=255)
            first, second = general.read(picture), general.read(recut(picture))
            counts = first
            if first.confidence < UNSURE and second.confidence > first.confidence:
                counts = second
            answer = solver.solve(picture)
            assert (answer.text, answer.confidence) == (counts.text, counts.confidence)
            explained = explain(solver, picture)
            assert explained.text == answer.text
            assert explained.confidence == pytest.approx(answer.confidence)
            seen.add((counts is second, answer.text == text))
    assert {(True, True), (False, True)} <= seen


def test_a_text_gets_a_margin_of_a_tenth_of_its_height() -> None:
    """Paper that is missing is added, and more is cut off; specks are no text."""
    for channels in (1, 3):
        ink = np.random.default_rng(0).integers(0, 200, (40, 150, channels), np.uint8)
        framed = np.pad(ink, ((4, 4), (4, 4), (0, 0)), constant_values=255)
        for above, below, left, right in ((4, 4, 4, 4), (20, 5, 60, 30), (9, 1, 1, 40)):
            sides = ((above, below), (left, right), (0, 0))
            page = np.pad(ink, sides, constant_values=255)
            assert (recut(page) == framed).all()
            page[0, 0] = 0
            assert (recut(page)[4:-4, 4:-4] == ink).all()
        full = recut(ink)  # without paper, its edges go on
        assert full.shape == framed.shape
        assert (full[4:-4, 4:-4] == ink).all()
        assert (full[:4, 4:-4] == ink[0]).all()


def test_what_has_no_text_keeps_its_size_but_for_the_margin() -> None:
    """An empty page, one with a speck, a picture of a few pixels, and a very high one."""
    page = np.full((50, 160, 3), 255, np.uint8)
    assert recut(page).shape == (60, 170, 3)
    page[20:24, 50:54] = 0
    assert recut(page).shape == (60, 170, 3)
    assert recut(np.zeros((3, 4, 1), np.uint8)).shape == (5, 6, 1)
    noise = np.random.default_rng(0).integers(0, 256, (20_000, 40, 1), np.uint8)
    assert recut(noise).shape == (20_008, 48, 1)


def test_colours_of_transparent_pixels_are_no_text(solver: Solver) -> None:
    """Whatever a file holds there, the picture is cut out as it is seen."""
    paper = ((150, 150), (150, 150), (0, 0))
    seen = np.pad(drawn("48215"), paper, constant_values=255)
    alpha = np.pad(np.full((60, 230, 1), 255, np.uint8), paper)
    hidden = np.where(alpha > 0, seen, np.random.default_rng(0).integers(0, 256, seen.shape))
    both = np.concatenate([hidden.astype(np.uint8), alpha], axis=2)
    assert (recut(both) == recut(seen)).all()
    assert solver.solve(both) == solver.solve(seen)


def test_second_readings_keep_their_places(solver: Solver) -> None:
    """In a batch where some pictures are read once, some twice and one not at all."""
    paper = ((150, 150), (150, 150), (0, 0))
    far = [np.pad(drawn(text), paper, constant_values=255) for text in ("48215", "7B3KR")]
    pictures = [far[0], drawn("48215"), ImageDecodeError("no picture"), far[1], SAMPLES[0], far[0]]
    for known in ({}, {"length": 5}, {"allowed": "0123456789BKR", "alternatives": 2}):
        answers = solver.solve_batch(pictures, **known)
        for picture, answer in zip(pictures, answers, strict=True):
            if isinstance(picture, ImageDecodeError):
                assert answer is picture
                continue
            one = solver.solve(picture, **known)
            assert isinstance(answer, Solution)
            assert (answer.text, answer.model) == (one.text, one.model)
            assert answer.confidence == pytest.approx(one.confidence, abs=1e-4)


def test_what_neither_is_sure_of_is_rejected(solver: Solver) -> None:
    """By the limit of the model that answered, unless another is given."""
    noise = np.random.default_rng(0).integers(0, 256, (50, 150, 3), np.uint8)
    for picture in (np.full((50, 150, 1), 255, np.uint8), noise):
        answer = solver.solve(picture)
        assert not answer.accepted
        assert isinstance(reject_unsure(answer, None), LowConfidenceError)
        assert reject_unsure(answer, 0.0) is answer


def test_the_small_model_is_believed_in_pictures_of_its_kind() -> None:
    """Where the two differ, and the small one is half sure; agreement makes an answer surer."""

    def answer(text: str, confidence: float, model: str) -> Solution:
        return Solution(text, confidence, (), model, 0.96, None, None)

    rejected = answer("656944", 0.73, "compact")
    assert better(rejected, answer("856944", 0.99, "general"), None) is rejected
    agreeing = answer("656944", 0.99, "general")
    assert better(rejected, agreeing, None) is agreeing
    stranger = answer("652", 0.3, "compact")
    assert better(stranger, agreeing, None) is agreeing


def test_known_characters_and_length_are_used(solver: Solver) -> None:
    """Texts hold the allowed characters only, in the given number, one by one and in batches."""
    known = {"allowed": "0123456789", "length": 5, "alternatives": 3}
    for answer in (
        solver.solve(drawn("48215"), **known),
        solver.solve_batch([drawn("48215")], **known)[0],
    ):
        assert isinstance(answer, Solution)
        assert answer.text == "48215"
        assert len(answer.alternatives) == 3
        assert answer.alternatives[0].text == "48215"
        chances = [alternative.probability for alternative in answer.alternatives]
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) <= 1.001
        assert all(len(a.text) == 5 and a.text.isdigit() for a in answer.alternatives)
    assert len(solver.solve(drawn("7B3KR"), length=4).text) == 4


def test_the_small_model_does_not_answer_against_what_is_known(solver: Solver) -> None:
    """Though it is sure of its text, which has other characters or another length."""
    for known in ({"allowed": "0123456789"}, {"length": 4}):
        answer = solver.solve(SAMPLES[0], **known)
        assert answer.model == "general"
        assert "length" in known or set(answer.text) <= set("0123456789")
        assert "allowed" in known or len(answer.text) == 4
    fitting = solver.solve(SAMPLES[0], length=5, alternatives=2)
    assert (fitting.text, fitting.model) == (SAMPLES[0].stem, "compact")
    assert fitting.alternatives[0].text == SAMPLES[0].stem
    # To ask for alternatives changes nothing else.
    assert fitting.confidence == solver.solve(SAMPLES[0], length=5).confidence


def test_rejected_answers_have_their_alternatives(solver: Solver) -> None:
    """Also where the small model is the surer of two that are rejected."""
    models = set()
    for number, path in enumerate(SAMPLES * 6):
        picture = cv2.GaussianBlur(cv2.imread(str(path)), (0, 0), 1.5 + 0.1 * number)
        plain = solver.solve(picture)
        asked = solver.solve(picture, alternatives=3)
        assert (asked.text, asked.model) == (plain.text, plain.model)
        assert asked.confidence == pytest.approx(plain.confidence, abs=1e-4)
        if not asked.accepted:
            models.add(asked.model)
            assert len(asked.alternatives) == 3 or not asked.text
    assert "compact" in models
    assert solver.solve(SAMPLES[0]).alternatives is None
    empty = solver.solve(np.full((50, 150, 1), 255, np.uint8), alternatives=3)
    assert not empty.text
    assert all(alternative.probability < 0.01 for alternative in empty.alternatives)


def test_stray_characters_are_no_answer(solver: Solver) -> None:
    """One or two of them have no confidence, whatever is allowed, unless the length is known."""
    strays = 0
    for text in ("D", "B", "E", "4", "47", "DB"):
        for known in ({}, {"allowed": "0123456789BDEGIJLOSUVWX"}):
            answer = solver.solve(drawn(text), **known)
            strays += len(answer.text) <= 2
            assert len(answer.text) > 2 or not answer.confidence
            explained = explain(solver, drawn(text))
            assert explained.confidence == pytest.approx(solver.solve(drawn(text)).confidence)
    assert strays >= 4
    assert solver.solve(drawn("47"), length=2).confidence > 0


def test_a_batch_knows_what_is_known(solver: Solver) -> None:
    """Each picture is read as by `solve`, errors stay in their places."""
    broken = ImageDecodeError("no picture")
    pictures = [SAMPLES[0], broken, drawn("48215"), SAMPLES[1], drawn("7B3KR")]
    known = {"length": 5, "alternatives": 2}
    answers = solver.solve_batch(pictures, **known)
    assert answers.pop(1) is broken
    for picture, answer in zip((p for p in pictures if p is not broken), answers, strict=True):
        assert isinstance(answer, Solution)
        one = solver.solve(picture, **known)
        assert (answer.text, answer.model) == (one.text, one.model)
        assert answer.confidence == pytest.approx(one.confidence, abs=1e-4)
        assert [a.text for a in answer.alternatives] == [a.text for a in one.alternatives]


def test_characters_that_no_model_has_are_refused(solver: Solver) -> None:
    """And those that only the general one has leave it to that one."""
    with pytest.raises(CharsetError, match="none of the allowed characters 'ä'"):
        solver.solve(SAMPLES[0], allowed="ä")
    with pytest.raises(CharsetError):
        solver.solve_many([], allowed="ä")  # before any picture is taken
    with pytest.raises(LengthError, match=r"no text of 49 characters can be read: .* room for 48"):
        solver.solve_many([], length=49)
    assert solver.solve(SAMPLES[0], allowed="+-=?BDE").model == "general"
    for known, message in (
        ({"allowed": ""}, "no character"),
        ({"length": 0}, "at least 1, not 0"),
        ({"alternatives": -1}, "0..100, not -1"),
        ({"alternatives": 101}, "0..100, not 101"),
    ):
        with pytest.raises(ValueError, match=message):
            solver.solve(SAMPLES[0], **known)


def test_stages_count_both_models(solver: Solver) -> None:
    """A picture that both read takes longer in each stage than one that the small one reads."""
    small = time_stages(solver, [SAMPLES[0].read_bytes()] * 30)
    both = time_stages(solver, [cv2.imencode(".png", drawn("48215"))[1].tobytes()] * 30)
    assert np.median(both["session"]) > np.median(small["session"])
    assert np.median(both["whole"]) > np.median(both["session"])


def test_an_explanation_is_that_of_the_model_that_answered(solver: Solver) -> None:
    """Its steps, scores and text."""
    for picture in (drawn("7B3KR"), SAMPLES[0]):
        answer = solver.solve(picture)
        explanation = explain(solver, picture)
        assert (explanation.text, explanation.error) == (answer.text, None)
        assert explanation.confidence == pytest.approx(answer.confidence, abs=1e-4)


def test_the_command_takes_what_is_known(call, tmp_path: Path) -> None:
    """`--allowed`, `--length` and `--alternatives`, as text and as JSON; wrong values are usage."""
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), drawn("48215"))
    known = ("--allowed", "0123456789", "--length", "5", "--alternatives", "2")
    result = call("solve", picture, *known, "--min-confidence", "0")
    assert result.returncode == 0, result.stderr
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [len(line) for line in lines] == [2, 2]
    assert lines[0][0] == "48215"
    assert 1 >= float(lines[0][1]) >= float(lines[1][1]) >= 0
    known = (*known[:2], "--length", "4", *known[4:])
    result = call("solve", picture, *known, "--json", "--min-confidence", "1")
    assert result.returncode == 4
    values = json.loads(result.stdout)
    assert values["error"]["type"] == "LowConfidenceError"
    assert [len(alternative["text"]) for alternative in values["alternatives"]] == [4, 4]
    wrong_values = (
        ("--allowed", ""),
        ("--allowed", "ä"),
        ("--length", "0"),
        ("--length", "100000000000"),
        ("--alternatives", "101"),
    )
    for wrong in wrong_values:
        result = call("solve", picture, *wrong)
        assert (result.returncode, result.stdout) == (2, "")
        assert "Traceback" not in result.stderr


def test_the_file_of_the_general_model_is_small(solver: Solver) -> None:
    """The wheel stays below 4 MB."""
    assert GENERAL.stat().st_size <= 2_500_000
    assert solver.name == "compact, general"
