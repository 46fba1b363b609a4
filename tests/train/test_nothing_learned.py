"""A training that would learn nothing, or has learned nothing, never ends as a success."""

import json
import os
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt.image import decode_image
from captcha_rt.manifest import Manifest
from captcha_rt.metrics import only_answer
from captcha_rt.model import load_model
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale, Transpose
from captcha_rt_train.data.samples import Dataset
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.data.visibility import check_visible
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.presets import load_preset

CRNN = ("--preset", "crnn", "--epochs", "1")
TEXTS = ("3071", "4826", "9154", "6203", "7758", "2490")


def draw(text: str) -> NDArray[np.uint8]:
    """A grey picture `(50, 200)`, black on white, with some noise."""
    grey = np.full((50, 200), 255, np.uint8)
    cv2.putText(grey, text, (20, 40), cv2.FONT_HERSHEY_SIMPLEX, 1.4, 0, 3)
    return grey


def read(folder: Path, preset: str, pictures: dict[str, NDArray[np.uint8]]) -> Dataset:
    """The data set of pictures, which are written into a folder."""
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / f"{name}.png"), picture)
    chosen = load_preset(preset)
    return read_dataset(folder, chosen.recipe, blank=chosen.blank)


def only_alpha(text: str, ink: int) -> NDArray[np.uint8]:
    """A picture of one colour, whose text is in the alpha channel alone."""
    picture = np.full((50, 200, 4), ink, np.uint8)
    picture[:, :, 3] = 255 - draw(text)
    return picture


@pytest.mark.parametrize(
    ("preset", "ink", "better", "step"),
    [
        ("steps", 0, "compact", "over_white"),
        ("multihead", 0, "compact", "over_white"),
        ("steps", 255, "ensemble", "'channel', 'index': 3"),
        ("crnn", 255, "ensemble", "'channel', 'index': 3"),
    ],
)
def test_a_text_that_the_recipe_drops_is_named(
    tmp_path: Path, preset: str, ink: int, better: str, step: str
) -> None:
    """The error names the channel that holds the text, and the preset that sees it."""
    dataset = read(tmp_path, preset, {text: only_alpha(text, ink) for text in TEXTS})
    message = rf"leaves 6 of 6 .* channel alpha: take --preset {better}, .*{step}"
    with pytest.raises(TrainingError, match=message):
        check_visible(dataset.samples, load_preset(preset))
    check_visible(read(tmp_path, better, {}).samples, load_preset(better))


def test_a_text_in_a_colour_of_the_same_grey_is_named(tmp_path: Path) -> None:
    """Red ink on a green of the same luma is invisible in grey, and seen in colours."""
    pictures = {}
    for text in TEXTS:
        picture = np.full((50, 200, 3), (0, 102, 0), np.uint8)  # BGR: luma 60
        picture[draw(text) < 128] = (0, 0, 200)
        pictures[text] = picture
    with pytest.raises(TrainingError, match=r"red and green: take --preset general"):
        check_visible(read(tmp_path, "crnn", pictures).samples, load_preset("crnn"))


def test_pictures_that_show_nothing_are_refused(tmp_path: Path) -> None:
    """Also with noise of a few grey levels, and where each has another colour or all are alike."""
    rng = np.random.default_rng(0)
    noisy = {t: rng.integers(198, 202, (50, 200), np.uint8) for t in TEXTS}
    plain = {t: np.full((50, 200), 40 * i, np.uint8) for i, t in enumerate(TEXTS)}
    alike = {t: draw("0000") for t in TEXTS}
    for pictures in (noisy, plain, alike):
        with pytest.raises(TrainingError, match="the pictures themselves are plain or all alike"):
            check_visible(read(tmp_path, "crnn", pictures).samples, load_preset("crnn"))
    few = plain | {t: draw(t) for t in TEXTS[:4]}
    check_visible(read(tmp_path, "crnn", few).samples, load_preset("crnn"))


@pytest.mark.parametrize("name", ["crnn", "crnn-conv1d"])
def test_the_document_s_presets_lay_pictures_over_white(name: str) -> None:
    """Pictures without transparent pixels are prepared as in the document, to the bit."""
    recipe = load_preset(name).recipe
    document = Recipe((Grey(), Scale(), Resize(50, 200), Transpose()))
    rng = np.random.default_rng(0)
    for channels in (1, 3, 4):
        picture = rng.integers(0, 256, (50, 200, channels), np.uint8)
        picture[:, :, 3:] = 255
        assert np.array_equal(recipe.apply(picture), document.apply(picture))
    transparent = cv2.cvtColor(only_alpha("3071", 0), cv2.COLOR_BGRA2RGBA)
    assert np.array_equal(recipe.apply(transparent), document.apply(draw("3071")[:, :, None]))
    assert decode_image(transparent).shape[2] == 4


def test_one_answer_for_all_is_found() -> None:
    """An empty answer always counts, another one from three pictures on."""
    assert only_answer(["", ""]) == only_answer([""]) == ""
    assert only_answer(["a", "a", "a"]) == "a"
    assert only_answer(["a", "a"]) is only_answer(["a", "a", "b"]) is only_answer([]) is None


def test_a_network_that_answers_nothing_is_no_success(
    command, sample_folder: Path, tmp_path: Path
) -> None:
    """`train` and `export` write their files, say so and exit with 1; keras.json changes nothing.

    The settings are those of other programs: channels first, float16, a backend that isn't there.
    """
    (tmp_path / ".keras").mkdir()
    settings = {"image_data_format": "channels_first", "floatx": "float16", "backend": "torch"}
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps({**settings, "epsilon": 1e-7}))
    home = {**os.environ, "HOME": str(tmp_path), "KERAS_HOME": str(tmp_path / ".keras")}
    home.pop("KERAS_BACKEND", None)
    run, out = tmp_path / "run", tmp_path / "model.onnx"
    trained = command("train", sample_folder, "-o", run, *CRNN, "--quiet", env=home)
    assert trained.returncode == 1
    assert "answers every picture with nothing" in trained.stderr.splitlines()[-1]
    assert "next:" not in trained.stdout
    manifest = Manifest.from_json((run / "manifest.json").read_bytes())
    assert manifest.input.shape == (None, 200, 50, 1)
    assert (manifest.training["backend"], manifest.training["only_answer"]) == ("tensorflow", "")
    model = keras.models.load_model(run / "model.keras", compile=False)
    assert {str(weights.dtype) for weights in model.weights} == {"float32"}
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}

    exported = command("export", run, "-o", out, env=home)
    assert exported.returncode == 1
    assert "answers all 4 pictures with nothing" in exported.stderr.splitlines()[-1]
    assert "next:" not in exported.stdout
    assert load_model(out).manifest.training["only_answer"] == ""


@pytest.mark.parametrize(
    ("backend", "message"),
    [("torch", "No module named 'torch'"), ("nonsense", "nonsense"), ("numpy", "can't train")],
)
@pytest.mark.parametrize("line", [("train", "-o", "run"), ("suspects", "-o", "run")])
def test_a_missing_backend_is_one_line(
    command, sample_folder: Path, tmp_path: Path, line: tuple[str, ...], backend: str, message: str
) -> None:
    """The line says which variable to unset; the exit code is that of an installation, 3."""
    if backend == "torch":
        try:
            import torch  # noqa: F401
        except ImportError:
            pass
        else:
            pytest.skip("torch is installed")
    name, *options = line
    env = {**os.environ, "KERAS_BACKEND": backend}
    result = command(name, sample_folder, *options, cwd=tmp_path, env=env)
    assert result.returncode == 3
    ours = [text for text in result.stderr.splitlines() if text.startswith("captcha-rt: ")]
    assert len(ours) == 1
    assert message in ours[0]
    assert "unset" in ours[0]
    assert "Traceback" not in result.stderr


def test_a_damaged_keras_json_is_one_line(command, sample_folder: Path, tmp_path: Path) -> None:
    """Keras itself stops with an empty AssertionError; the line names the file."""
    (tmp_path / "keras.json").write_text('{"floatx": "float1"}')
    env = {**os.environ, "KERAS_HOME": str(tmp_path)}
    result = command("train", sample_folder, "-o", tmp_path / "run", *CRNN, env=env)
    assert result.returncode == 3
    assert "keras.json" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
