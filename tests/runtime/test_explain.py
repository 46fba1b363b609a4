from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt import ImageDecodeError, RecipeError, ScoresError, Solver
from captcha_rt.diagnostics.explain import explain
from captcha_rt.model import attach, detach
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Crop, Grey, Scale, Transpose

SAMPLES = Path(__file__).parent.parent / "samples"
RED = (190, 0, 0)


def read_sheet(path: Path) -> NDArray[np.uint8]:
    """A sheet as the command wrote it, RGB."""
    return np.asarray(cv2.imread(str(path)))[:, :, ::-1]


def holds(sheet: NDArray[np.uint8], piece: NDArray[np.uint8]) -> bool:
    """Whether the sheet shows a picture, `(h, w, 3)`, pixel by pixel."""
    found = cv2.matchTemplate(sheet, np.ascontiguousarray(piece), cv2.TM_SQDIFF)
    return bool(found.min() < 1)


def enlarged(picture: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    """A grey picture `(H, W, 1)` as a panel has it."""
    return np.kron(picture, np.ones((scale, scale, 3), np.uint8))


def is_coloured(sheet: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    """Whether a pixel of the sheet is about this colour."""
    return bool((np.abs(sheet.astype(int) - colour).max(axis=2) < 40).any())


@pytest.mark.parametrize("name", ["dnwnb", "ymx5p"])
def test_the_command_writes_a_sheet_and_says_the_answer(command, tmp_path: Path, name: str) -> None:
    """The sheet is a PNG of a screen's size; stdout is one line with text and confidence."""
    result = command("explain", SAMPLES / f"{name}.png", "-o", tmp_path / "steps.png")
    assert result.stdout.startswith(f"{name} (0.9")
    assert (result.stdout.count("\n"), result.stderr, result.returncode) == (1, "", 0)
    height, width, _ = read_sheet(tmp_path / "steps.png").shape
    assert 500 < height < 1200
    assert 1000 < width < 1400
    assert [path.name for path in tmp_path.iterdir()] == ["steps.png"]


def test_the_command_says_why_solve_rejects(command, tmp_path: Path) -> None:
    """On stderr and on the sheet; the command has done what it was asked for."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 160, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "noise.png"), noise)
    solved = command("solve", tmp_path / "noise.png")
    explained = command("explain", tmp_path / "noise.png", "-o", tmp_path / "steps.png")
    assert (solved.returncode, explained.returncode) == (4, 0)
    assert explained.stderr.strip().endswith(solved.stderr.strip().rpartition(": ")[2])
    assert is_coloured(read_sheet(tmp_path / "steps.png"), RED)


def test_the_command_says_that_it_read_one_frame(command, tmp_path: Path) -> None:
    """As `solve` does."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    frames = [pillow.open(SAMPLES / f"{name}.png").convert("P") for name in ("dnwnb", "ymx5p")]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    result = command("explain", tmp_path / "two.gif", "-o", tmp_path / "steps.png")
    assert result.stderr.endswith("two.gif: read the first of 2 frames\n")


def test_another_picture_gives_another_sheet(stripes: Path, stripes_array) -> None:
    """Equal pictures give equal sheets, others don't."""
    first, second = ("-aa--bb--cc-----", "-aa--bb--ca-----")
    solver = Solver(stripes)
    sheets = [explain(solver, stripes_array(c)).sheet for c in (first, first, second)]
    assert np.array_equal(sheets[0], sheets[1])
    assert not np.array_equal(sheets[0], sheets[2])


def test_the_answer_is_the_solvers(stripes: Path, bars: Path, stripes_array, bars_array) -> None:
    """Text and confidence are those of `solve`, for time steps and for glyphs."""
    for model, picture in (
        (stripes, stripes_array("-aa--bb--cc-----")),
        (bars, bars_array("abcabc")),
    ):
        solver = Solver(model)
        made, solution = explain(solver, picture), solver.solve(picture)
        assert (made.text, made.confidence) == (solution.text, solution.confidence)
        assert made.error is None


def test_the_picture_and_the_upright_tensor_stand_on_the_sheet(
    stripes: Path, stripes_array
) -> None:
    """The panels are enlarged by eight without smoothing, and transposed pictures turned back."""
    picture = stripes_array("-a-b-c-aa-bb-cc-")
    sheet = explain(Solver(stripes), picture).sheet
    panel = enlarged(picture, 8)
    assert holds(sheet, panel)
    found = cv2.matchTemplate(sheet, panel, cv2.TM_SQDIFF) < 1
    steps = Solver(stripes).manifest.recipe.steps
    assert np.count_nonzero(found) == 1 + len(steps)
    assert any(isinstance(step, Transpose) for step in steps)


def test_transparent_pixels_are_white(stripes: Path) -> None:
    """Document 001's pictures are black in all colours: only their alpha shows the text."""
    picture = np.zeros((4, 16, 4), np.uint8)
    picture[:, 5:9, 3] = 255
    assert holds(explain(Solver(stripes), picture).sheet, enlarged(255 - picture[:, :, 3:], 8))


def test_a_step_that_can_show_what_it_found_has_one_more_panel(bars: Path, bars_array) -> None:
    """The centres of document 002 are red lines on the clipped picture."""
    assert is_coloured(explain(Solver(bars), bars_array("abcabc")).sheet, (255, 0, 0))


def test_the_heat_map_is_blue_where_the_model_is_sure(stripes: Path, stripes_array) -> None:
    """16 time steps of a sure model are 16 blue cells, each 48 pixels wide and 20 high."""
    sheet = explain(Solver(stripes), stripes_array("-aa--bb--cc-----")).sheet
    blue = (np.abs(sheet.astype(int) - [8, 48, 140]).max(axis=2) < 12).sum()
    assert 0.8 < blue / (16 * 48 * 20) < 1.05


def test_a_picture_that_a_step_can_not_use_is_drawn_up_to_it(
    command, stripes: Path, stripes_png, tmp_path: Path
) -> None:
    """The sheet shows the steps before the error, and the error in red; the exit code is 1."""
    manifest = detach(stripes.read_bytes())
    recipe = Recipe((Grey(), Crop(8, 0, 16, 4), Scale(), Transpose()))
    model = tmp_path / "crop.onnx"
    graph = stripes.read_bytes()[: manifest.graph.size]
    model.write_bytes(attach(graph, replace(manifest, recipe=recipe)))
    (tmp_path / "small.png").write_bytes(stripes_png("-aa--bb--cc-----"))
    out = tmp_path / "steps.png"
    result = command("explain", tmp_path / "small.png", "-m", model, "-o", out)
    assert (result.stdout, result.returncode) == ("", 1)
    assert "small.png: step 'crop': the picture has 16 x 4 pixels" in result.stderr
    sheet = read_sheet(out)
    assert is_coloured(sheet, RED)
    whole = explain(Solver(stripes), stripes_png("-aa--bb--cc-----")).sheet
    assert not is_coloured(whole, RED)
    assert sheet.shape[0] < whole.shape[0] / 2
    with pytest.raises(RecipeError, match="crop"):
        Solver(model).solve(tmp_path / "small.png")


def test_scores_that_are_nan_stand_on_the_sheet(stripes_nan: Path, stripes_array) -> None:
    """The steps are drawn, and the error below them in red."""
    made = explain(Solver(stripes_nan), stripes_array("a" * 16))
    assert isinstance(made.error, ScoresError)
    assert (made.text, made.confidence) == ("", 0.0)
    assert is_coloured(made.sheet, RED)


def test_what_is_no_picture_leaves_no_sheet(command, stripes: Path, tmp_path: Path) -> None:
    """There is nothing to draw; no file is written, and the exit code is 1."""
    (tmp_path / "bad.png").write_text("not a picture")
    with pytest.raises(ImageDecodeError):
        explain(Solver(stripes), tmp_path / "bad.png")
    result = command("explain", tmp_path / "bad.png", "-m", stripes, "-o", tmp_path / "steps.png")
    assert (result.stdout, result.returncode) == ("", 1)
    assert "bad.png" in result.stderr
    assert not (tmp_path / "steps.png").exists()


def test_standard_input_is_a_picture(command, stripes: Path, stripes_png, tmp_path: Path) -> None:
    """`-` reads one picture's bytes, as `solve` does."""
    arguments = ("explain", "-", "-m", stripes, "-o", tmp_path / "steps.png")
    result = command(*arguments, input=stripes_png("c-a-b-----------"), text=False)
    assert result.stdout.startswith(b"cab (")
    assert (tmp_path / "steps.png").exists()


def test_characters_that_can_not_be_drawn_are_written_as_code_points(
    stripes: Path, stripes_array, tmp_path: Path
) -> None:
    """Characters beyond ASCII are drawn as `<U+4E2D>`, so that different ones look different."""
    sheets = []
    for characters in ("車馬人", "人馬車"):
        manifest = detach(stripes.read_bytes())
        charset = replace(manifest.charset, characters=characters)
        model = tmp_path / "foreign.onnx"
        graph = stripes.read_bytes()[: manifest.graph.size]
        model.write_bytes(attach(graph, replace(manifest, charset=charset)))
        made = explain(Solver(model), stripes_array("-aa--bb--cc-----"))
        assert made.text == characters
        sheets.append(made.sheet)
    assert not np.array_equal(sheets[0], sheets[1])


def test_layers_stand_on_the_sheet(stripes: Path, stripes_array) -> None:
    """A layer's channels share one grey scale, and are turned as the picture is."""
    ramp = np.arange(12, dtype=np.float32).reshape(4, 3, 1)  # width first, as the tensor
    seen = []

    def layer(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        seen.append(rows.shape)
        return ramp

    sheet = explain(Solver(stripes), stripes_array("-" * 16), {"conv": layer}).sheet
    assert seen == [(1, 16, 4, 1)]
    upright = (ramp.transpose(1, 0, 2) / 11 * 255).round().astype(np.uint8)
    assert holds(sheet, enlarged(upright, 4))


def test_a_layer_needs_the_run(call, stripes: Path, tmp_path: Path) -> None:
    """`--layer` without `--run`, or the reverse, is wrong usage."""
    for option in (("--layer", "conv"), ("--run", tmp_path)):
        result = call("explain", "x.png", "-m", stripes, "-o", tmp_path / "s.png", *option)
        assert result.returncode == 2
        assert "--layer and --run go together" in result.stderr


def test_without_the_training_part_a_layer_says_what_to_install(run_python, tmp_path: Path) -> None:
    """The exit code is 3, and the error names captcha-rt-train."""
    code = (
        "import sys; sys.modules['captcha_rt_train'] = None\n"
        "from captcha_rt.cli import main\n"
        f"sys.argv = ['captcha-rt', 'explain', 'x.png', '-o', {str(tmp_path / 's.png')!r}, "
        "'--layer', 'conv', '--run', 'run']\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code)\n"
    )
    result = run_python(code)
    assert result.stdout.strip() == "3"
    assert "pip install ./export ./train" in result.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with a network that has the input of the stripes model."""
    pytest.importorskip("captcha_rt_train", reason="needs captcha-rt-train")
    import keras

    folder = tmp_path_factory.mktemp("run")
    image = keras.Input((16, 4, 1))
    conv = keras.layers.Conv2D(2, 1, use_bias=False, name="conv")
    digit = keras.Sequential([keras.Input((16, 4, 1)), conv, keras.layers.ReLU(name="relu")])
    digit.name = "digit1"
    model = keras.Model(image, keras.layers.Flatten(name="flat")(digit(image)))
    conv.set_weights([np.asarray([[[[2, -3]]]], np.float32)])
    model.save(folder / "model.keras")
    return folder


def test_a_layers_activations_come_from_the_run(run: Path) -> None:
    """The values are the layer's output, side by side for several rows of the batch."""
    from captcha_rt_train.training.activations import activations

    rows = np.random.default_rng(1).random((3, 16, 4, 1), np.float32)
    conv = activations(run, rows, "digit1/conv")
    assert conv.shape == (16, 12, 2)
    assert np.allclose(conv[:, 4:8], rows[1] * np.asarray([2, -3], np.float32))
    assert np.allclose(activations(run, rows, "digit1/relu"), np.maximum(conv, 0))
    assert activations(run, rows, "flat").shape == (1, 3, 128)


def test_a_layer_that_is_not_there_is_answered_with_those_that_are(run: Path) -> None:
    """The errors name the layers that exist, a folder without a network, and another input."""
    from captcha_rt_train.errors import TrainingError
    from captcha_rt_train.training.activations import activations

    rows = np.zeros((1, 16, 4, 1), np.float32)
    with pytest.raises(TrainingError, match=r"no layer 'dense'; it has .*, digit1, flat"):
        activations(run, rows, "dense")
    with pytest.raises(TrainingError, match="'flat' is not a network that takes"):
        activations(run, rows, "flat/relu")
    with pytest.raises(TrainingError, match="can't load the Keras model"):
        activations(run / "nowhere", rows, "flat")
    with pytest.raises(TrainingError, match=r"takes \(16, 4, 1\).*makes \(8, 4, 1\)"):
        activations(run, rows[:, :8], "flat")


def test_the_command_shows_a_layer(
    command, call, run: Path, stripes: Path, stripes_png, tmp_path: Path
) -> None:
    """With a layer the sheet is higher than without; an unknown layer is wrong usage."""
    (tmp_path / "x.png").write_bytes(stripes_png("-aa--bb--cc-----"))
    arguments = ("explain", tmp_path / "x.png", "-m", stripes, "-o")
    assert call(*arguments, tmp_path / "a.png").returncode == 0
    result = command(*arguments, tmp_path / "b.png", "--layer", "digit1", "--run", run)
    assert (result.stdout[:6], result.returncode) == ("abc (0", 0)
    plain, more = read_sheet(tmp_path / "a.png"), read_sheet(tmp_path / "b.png")
    assert more.shape[0] > plain.shape[0] + 20
    result = call(*arguments, tmp_path / "c.png", "--layer", "nil", "--run", run)
    assert result.returncode == 2
    assert "no layer 'nil'" in result.stderr
    assert not (tmp_path / "c.png").exists()
