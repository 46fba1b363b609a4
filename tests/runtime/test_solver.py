from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from captcha_rt import (
    CaptchaRTError,
    Charset,
    FolderError,
    ImageDecodeError,
    LowConfidenceError,
    ModelError,
    ProviderError,
    RecipeError,
    ScoresError,
    SegmentationError,
    Solution,
    Solver,
    load_model,
)
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.model import attach
from captcha_rt.recipe import Recipe
from captcha_rt.solution import answer_to_json, reject_unsure
from captcha_rt.steps import Grey, Resize, Scale, Transpose

TEXTS = {
    "-aa--bb--cc-----": "abc",
    "-------b--------": "b",
    "-cc-cc-cc-cc----": "cccc",
    "aabbccaabbccaabb": "abcabcab",
    "----------------": "",
}


@pytest.fixture
def solver(stripes: Path) -> Solver:
    return Solver(stripes)


def remodel(stripes: Path, path: Path, **values: object) -> Path:
    """Writes the tiny model with another description to `path`."""
    model = load_model(stripes)
    graph = model.data[: model.manifest.graph.size]
    path.write_bytes(attach(graph, replace(model.manifest, **values)))
    return path


@pytest.mark.parametrize(("columns", "text"), TEXTS.items())
def test_bytes_paths_and_arrays_give_the_same_answer(
    solver: Solver, tmp_path: Path, stripes_png, stripes_array, columns: str, text: str
) -> None:
    """A path, bytes and an array of one picture give the same text."""
    path = tmp_path / "picture.png"
    path.write_bytes(stripes_png(columns))
    for image in (path, str(path), path.read_bytes(), stripes_array(columns)):
        assert solver.solve(image).text == text


def test_a_solution_has_the_names_of_the_json_answer(solver: Solver, stripes_png) -> None:
    """Text, confidence, characters and model, each character with text and confidence."""
    solution = answer_to_json(solver.solve(stripes_png("-aa--bb--cc-----")))
    assert list(solution) == ["text", "confidence", "characters", "model"]
    assert [c["text"] for c in solution["characters"]] == ["a", "b", "c"]
    assert solution["model"] == "stripes"
    assert 0.9 < solution["confidence"] <= min(c["confidence"] for c in solution["characters"])


def test_a_batch_is_read_like_each_of_its_pictures(solver: Solver, stripes_png) -> None:
    """At every batch size the answers are those of `solve`, in order."""
    images = [stripes_png(columns) for columns in TEXTS] * 4
    expected = [solver.solve(image) for image in images]
    for batch_size in (1, 3, 8, 64):
        answers = solver.solve_batch(images, batch_size=batch_size)
        assert [a.text for a in answers] == [e.text for e in expected]
        for answer, one in zip(answers, expected, strict=True):
            assert answer.confidence == pytest.approx(one.confidence, abs=1e-5)


def test_a_bad_picture_costs_the_others_nothing(solver: Solver, stripes_png) -> None:
    """A picture that can't be decoded gets its own error, in its place."""
    good = stripes_png("-aa--bb--cc-----")
    bad: list[object] = [b"", b"<html>", good[:40], "no-such-file.png", np.zeros((2, 2)), None]
    images = [good, *bad, good]
    for batch_size in (1, 2, 8):
        answers = solver.solve_batch(images, batch_size=batch_size)
        assert [isinstance(a, Solution) for a in answers] == [True, *[False] * len(bad), True]
        assert all(isinstance(a, ImageDecodeError) for a in answers[1:-1])


def test_nan_scores_cost_the_others_nothing(stripes_nan: Path, stripes_png) -> None:
    """The picture whose scores are NaN gets an error; the rest of its batch is read."""
    solver = Solver(stripes_nan)
    good, black = stripes_png("-aa--bb--cc-----"), stripes_png("a" * 16)
    answers = solver.solve_batch([good, black, good], batch_size=3)
    assert [getattr(a, "text", None) for a in answers] == ["abc", None, "abc"]
    assert isinstance(answers[1], ScoresError)
    with pytest.raises(ScoresError):
        solver.solve(black)


def test_no_pictures_no_answers(solver: Solver) -> None:
    """An empty batch is no error."""
    assert solver.solve_batch([]) == []


def test_a_batch_has_pictures(solver: Solver) -> None:
    """A batch size below 1 is the caller's error."""
    with pytest.raises(ValueError, match="batch_size is 0"):
        solver.solve_batch([], batch_size=0)


def test_a_stream_is_read_as_it_comes(solver: Solver, stripes_png) -> None:
    """Answers come in order, and at most one batch of pictures is taken before its answers."""
    good = stripes_png("-aa--bb--cc-----")
    taken = []

    def images():
        for number in count():
            taken.append(number)
            yield b"bad" if number % 4 == 2 else good

    answers = solver.solve_many(images(), batch_size=3)
    assert taken == []
    for number in range(30):
        answer = next(answers)
        assert isinstance(answer, ImageDecodeError if number % 4 == 2 else Solution)
        assert len(taken) <= number + 3


def test_an_error_in_a_stream_is_passed_on(solver: Solver, stripes_png) -> None:
    """An error in place of a picture is the answer in that place."""
    good, lost = stripes_png("-aa--bb--cc-----"), FolderError("no such folder")
    for batch_size in (1, 2, 8):
        answers = solver.solve_batch([lost, good, lost, good], batch_size=batch_size)
        assert answers[0] is answers[2] is lost
        assert [answer.text for answer in answers[1::2]] == ["abc", "abc"]


def test_a_batch_size_is_checked_before_the_first_picture(solver: Solver) -> None:
    """The call itself raises the error, not the request for the first answer."""
    with pytest.raises(ValueError, match="batch_size is 0"):
        solver.solve_many([], batch_size=0)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_picture_is_not_read_piece_by_piece(solver: Solver, workers: int) -> None:
    """A path, bytes or an array of one picture would be letters, numbers or rows."""
    grey = np.zeros((20, 60), np.uint8)
    for one in ("folder", b"\x89PNG", bytearray(b"x"), Path("x.png"), grey, np.dstack([grey] * 3)):
        with pytest.raises(TypeError, match="takes several pictures"):
            solver.solve_many(one, workers=workers)  # type: ignore[arg-type]
    for several in (np.stack([grey] * 5), np.zeros((2, 20, 60, 3), np.uint8), iter([grey])):
        solver.solve_many(several)


def test_an_unsure_answer_is_rejected(solver: Solver, stripes_png) -> None:
    """An unsure answer becomes an error with the text; errors and sure answers stay."""
    answer = solver.solve(stripes_png("-aa--bb--cc-----"))
    assert reject_unsure(answer, answer.confidence) is answer
    assert answer_to_json(answer) == {
        "text": answer.text,
        "confidence": answer.confidence,
        "characters": tuple(map(asdict, answer.characters)),
        "model": "stripes",
    }
    rejected = reject_unsure(replace(answer, confidence=0.5), 0.75)
    assert isinstance(rejected, LowConfidenceError)
    assert str(rejected) == "read 'abc' with confidence 0.5000, below 0.75"
    assert reject_unsure(rejected, 1.0) is rejected
    error = {"type": "LowConfidenceError", "message": str(rejected)}
    assert answer_to_json(rejected) == {"error": error}


def test_positions_are_one_character_each(stripes: Path, stripes_array, tmp_path: Path) -> None:
    """With the decoder `position` the stripes give one character per column."""
    solver = Solver(remodel(stripes, tmp_path / "position.onnx", decoder="position"))
    assert solver.solve(stripes_array("-aa--bb--cc-----")).text == "aabbcc"
    charset = Charset("-abc")
    path = remodel(stripes, tmp_path / "full.onnx", decoder="position", charset=charset)
    solution = Solver(path).solve(stripes_array("-aa--bb--cc-----"))
    assert solution.text == "-aa--bb--cc-----"
    assert len(solution.characters) == 16


def test_glyphs_are_read_one_by_one(bars: Path, bars_array) -> None:
    """The graph takes glyphs; an answer has the six glyphs of a picture, also in a batch."""
    solver = Solver(bars)
    texts = ["abcabc", "ccbbaa", "aaaaaa", "bcacab"]
    assert [solver.solve(bars_array(text)).text for text in texts] == texts
    answers = solver.solve_batch([bars_array(text) for text in texts], batch_size=3)
    assert [answer.text for answer in answers] == texts
    assert [len(answer.characters) for answer in answers] == [6] * 4


def test_a_picture_without_its_glyphs_costs_the_others_nothing(bars: Path, bars_array) -> None:
    """A picture without six glyphs gets a SegmentationError that says what was found."""
    blank = np.full((50, 150, 1), 255, np.uint8)
    good, bad, fewer = Solver(bars).solve_batch([bars_array("abcabc"), blank, bars_array("abc")])
    assert good.text == "abcabc"
    assert isinstance(bad, SegmentationError)
    assert "no ink" in str(bad)
    assert isinstance(fewer, SegmentationError)
    assert "no 6 glyphs" in str(fewer)


def test_one_solver_serves_many_threads(solver: Solver, stripes_png) -> None:
    """Eight threads that share one solver each get the answers to their own pictures."""
    columns = list(TEXTS) * 100
    images = [stripes_png(c) for c in columns]
    with ThreadPoolExecutor(8) as pool:
        texts = [s.text for s in pool.map(solver.solve, images)]
    assert texts == [TEXTS[c] for c in columns]


def test_max_pixels_is_kept(stripes: Path, stripes_png) -> None:
    """A picture above the limit is refused."""
    with pytest.raises(ImageDecodeError, match="16 x 4 pixels"):
        Solver(stripes, max_pixels=63).solve(stripes_png("-" * 16))


def test_a_picture_that_gives_another_input_shape_is_its_own_error(
    stripes: Path, tmp_path: Path
) -> None:
    """Without a resize step, pictures of another size are refused one by one."""
    recipe = Recipe((Grey(), Scale(), Transpose()))
    solver = Solver(remodel(stripes, tmp_path / "fixed.onnx", recipe=recipe))
    right, wrong = np.zeros((4, 16, 1), np.uint8), np.zeros((4, 17, 1), np.uint8)
    answers = solver.solve_batch([right, wrong])
    assert isinstance(answers[0], Solution)
    assert isinstance(answers[1], RecipeError)
    assert "(17, 4, 1)" in str(answers[1])


@pytest.mark.parametrize(
    "values",
    [
        {"input": Tensor("picture", (None, 16, 4, 1))},
        {
            "input": Tensor("image", (None, 16, 5, 1)),
            "recipe": Recipe((Grey(), Scale(), Resize(5, 16), Transpose())),
        },
        {"output": Tensor("scores", (None, 16, 4))},
        {"output": Tensor("logits", (None, 17, 4))},
    ],
)
def test_a_graph_that_is_not_as_described_is_refused(
    stripes: Path, tmp_path: Path, values: dict[str, object]
) -> None:
    """Names, axes and shapes are compared at load, and the message holds both."""
    path = remodel(stripes, tmp_path / "other.onnx", **values)
    with pytest.raises(ModelError, match=r"other\.onnx: the model's (input|output) is .* says"):
        Solver(path)


def test_bytes_that_onnxruntime_can_not_load_are_a_model_error(
    stripes: Path, tmp_path: Path
) -> None:
    """The message names the file and gives onnxruntime's reason."""
    path = tmp_path / "junk.onnx"
    path.write_bytes(attach(b"\x08\x08\x3a\x04junk", load_model(stripes).manifest))
    with pytest.raises(ModelError, match=r"junk\.onnx: onnxruntime can't load"):
        Solver(path)


def test_external_data_is_refused_in_silence(stripes: Path, tmp_path: Path, run_python) -> None:
    """A model is one file; onnxruntime's own message doesn't reach the native stderr."""
    # A TensorProto `w` of one float, data_location external, in the file `secret`.
    tensor = b"\x08\x01\x10\x01\x42\x01w\x6a\x12\x0a\x08location\x12\x06secret\x70\x01"
    # ModelProto: ir_version 8; graph with that initialiser and a name; opset 18.
    graph = b"\x2a" + bytes([len(tensor)]) + tensor + b"\x12\x01g"
    model = b"\x08\x08" + b"\x3a" + bytes([len(graph)]) + graph + b"\x42\x04\x0a\x00\x10\x12"
    path = tmp_path / "external.onnx"
    path.write_bytes(attach(model, load_model(stripes).manifest))
    (tmp_path / "secret").write_bytes(b"1234")
    with pytest.raises(ModelError, match=r"external\.onnx"):
        Solver(path)
    code = (
        "from captcha_rt import ModelError, Solver\n"
        f"try: Solver({str(path)!r})\nexcept ModelError: print('refused')"
    )
    result = run_python(code)
    assert (result.stdout, result.stderr) == ("refused\n", "")


def test_what_is_active_is_read_from_the_session(stripes: Path) -> None:
    """On `cpu` the CPU provider is active, and nothing else."""
    assert Solver(stripes, device="cpu").providers == ("CPUExecutionProvider",)


def test_cuda_that_is_not_there_raises(stripes: Path) -> None:
    """`cuda` either runs on CUDA or raises an error."""
    try:
        solver = Solver(stripes, device="cuda")
    except ProviderError as error:
        assert "CUDA" in str(error)  # noqa: PT017  (either outcome is right, by machine)
    else:
        assert solver.providers[0] == "CUDAExecutionProvider"


def test_auto_logs_once_what_it_chose(stripes: Path, run_python) -> None:
    """There is one log line in a process, with any number of solvers."""
    code = (
        "import logging; logging.basicConfig(level='INFO')\n"
        "from captcha_rt import Solver\n"
        f"for _ in range(3): Solver({str(stripes)!r})"
    )
    result = run_python(code)
    assert result.stderr.count("INFO:captcha_rt:using ") == 1


def test_a_provider_that_does_not_exist_is_refused(stripes: Path) -> None:
    """An unknown provider, a string and an empty list are ProviderErrors."""
    with pytest.raises(ProviderError, match="NoSuchProvider"):
        Solver(stripes, providers=["NoSuchProvider"])
    for wrong in ("CPUExecutionProvider", []):
        with pytest.raises(ProviderError, match="a list of at least one"):
            Solver(stripes, providers=wrong)
    assert Solver(stripes, providers=["CPUExecutionProvider"]).solve(
        np.full((4, 16), 255, np.uint8)
    ) == Solution("", 0.0, (), "stripes")


@pytest.mark.parametrize(
    "options", [{"device": "tpu"}, {"threads": 0}, {"threads": 10**6}, {"threads": 1.5}]
)
def test_options_out_of_range_are_refused(stripes: Path, options: dict[str, object]) -> None:
    """An unknown device and an impossible number of threads are ValueErrors."""
    with pytest.raises(ValueError, match="it is"):
        Solver(stripes, **options)


def test_every_error_is_ours(stripes: Path) -> None:
    """Any picture that can't be read raises a CaptchaRTError."""
    for image in (b"", "gone.png", np.zeros((0, 0), np.uint8)):
        with pytest.raises(CaptchaRTError):
            Solver(stripes).solve(image)


def test_manifest_is_at_hand(solver: Solver) -> None:
    """A solver has the description of its model."""
    assert isinstance(solver.manifest, Manifest)
    assert solver.manifest.name == "stripes"
