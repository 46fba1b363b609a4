"""`captcha-rt export --to keras` and `--to tflite`: the files, and what others read with them."""

import os
import shutil
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from captcha_rt import Charset, Recipe, Solver, decode_image
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.model import load_model
from captcha_rt.steps import Clip, Glyphs, Grey, RemoveArtifacts, Scale
from captcha_rt_export.errors import ExportError
from captcha_rt_export.export import export_run
from captcha_rt_export.run import Run
from captcha_rt_export.to import keras_model, take_along, tflite
from captcha_rt_export.to.source import Source

TEXTS = ("abc", "ca", "bb")


def write_run(folder: Path, model: keras.Model, manifest: Manifest, pictures: list[Path]) -> None:
    """Writes a finished run whose pictures were held back."""
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "manifest.json").write_text(manifest.to_json())
    rows = [f"{path},{path.stem},test," for path in pictures]
    (folder / "pictures.csv").write_text("\n".join(["path,label,part,source", *rows]))


@pytest.fixture
def striped(stripes: Path, stripes_png, tmp_path: Path) -> Path:
    """A run whose network reads stripes, like the tiny model, but with a temperature."""
    levels = np.asarray([1, 0, 1 / 3, 2 / 3], np.float32)
    image = keras.Input((16, 4, 1), name="image")
    columns = layers.Reshape((16, 4))(image)
    scores = layers.Dense(4, name="logits")(columns)
    model = keras.Model(image, scores, name="image")  # named like its input, as `glyph` is
    model.get_layer("logits").set_weights([np.tile(30 * levels, (4, 1)), -60 * levels**2])
    manifest = replace(load_model(stripes).manifest, graph=None, temperature=2.5)
    pictures = []
    for text in TEXTS:
        pictures.append(tmp_path / f"{text}.png")
        pictures[-1].write_bytes(stripes_png("-".join(text).ljust(16, "-")))
    write_run(tmp_path / "striped", model, manifest, pictures)
    return tmp_path / "striped"


@pytest.fixture
def barred(bars_array, tmp_path: Path) -> Path:
    """A run whose network reads bars, each a glyph, and ends in a softmax."""
    image = keras.Input((23, 15, 1), name="glyph")
    flat = layers.Flatten()(image)
    scores = layers.Dense(3, activation="softmax", name="ended")(flat)
    model = keras.Model(image, scores, name="glyph")
    levels = np.asarray([1 - 18 * width / (23 * 15) for width in (3, 6, 9)], np.float32)
    weights = np.tile(1200 * levels / (23 * 15), (23 * 15, 1))
    model.get_layer("ended").set_weights([weights, -600 * levels**2])
    manifest = Manifest(
        name="barred",
        charset=Charset("abc"),
        recipe=Recipe((Grey(), RemoveArtifacts(), Clip(), Glyphs(), Scale())),
        decoder="glyph",
        scores="probabilities",
        input=Tensor("glyph", (None, 23, 15, 1)),
        output=Tensor("ended", (None, 3)),
    )
    pictures = []
    for text in ("abcabc", "ccbbaa", "cabbac"):
        pictures.append(tmp_path / f"{text}.png")
        keras.utils.save_img(pictures[-1], bars_array(text), scale=False)
    write_run(tmp_path / "barred", model, manifest, pictures)
    return tmp_path / "barred"


def description(path: Path) -> Manifest:
    """The description that a file brings along."""
    return Manifest.from_json(zipfile.ZipFile(path).read("captcha_rt.json"))


def read_keras(path: Path, picture: Path) -> str:
    """What plain Keras and the description read."""
    manifest = description(path)
    tensor = manifest.prepare(decode_image(picture))
    scores = keras.models.load_model(path).predict(manifest.batch(tensor[None]), verbose=0)
    assert np.allclose(scores.sum(axis=-1), 1, atol=1e-5)
    return manifest.decode(scores)[0][0]


def read_tflite(path: Path, picture: Path) -> str:
    """What TFLite's interpreter and the description read, by the signature's names."""
    manifest = description(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = tf.lite.Interpreter(model_path=str(path)).get_signature_runner()
    tensor = manifest.prepare(decode_image(picture))
    answer = network(**{manifest.input.name: manifest.batch(tensor[None])})
    return manifest.decode(answer[manifest.output.name])[0][0]


READ = {"keras": read_keras, "tflite": read_tflite}


@pytest.mark.parametrize("form", READ)
@pytest.mark.parametrize("kind", ["striped", "barred"])
def test_others_read_the_same_texts(form: str, kind: str, request, tmp_path: Path) -> None:
    """One file, its own interpreter and the description in it give every text."""
    run = request.getfixturevalue(kind)
    out = tmp_path / f"model.{form}"
    taken = take_along(Source(run, name="mine"), form, out)
    assert (taken.name, taken.pictures, taken.same) == ("mine", 3, 3)
    pictures = sorted(tmp_path.glob("*.png"))
    assert [READ[form](out, picture) for picture in pictures] == [p.stem for p in pictures]
    assert description(out).name == "mine"
    assert description(out).scores == "probabilities"


def test_probabilities_are_those_of_the_onnx_file(striped: Path, tmp_path: Path) -> None:
    """The `.keras` file has the temperature inside, like the `.onnx` file of the same run."""
    export_run(Run(striped), tmp_path / "model.onnx")
    keras_model.write(Source(striped), tmp_path / "model.keras")
    solver = Solver(tmp_path / "model.onnx")
    tensor = solver.manifest.prepare(decode_image(tmp_path / "abc.png"))[None]
    model = keras.models.load_model(tmp_path / "model.keras")
    assert np.allclose(model.predict(tensor, verbose=0), solver.session.run(tensor), atol=1e-6)


def test_keras_is_loaded_with_tensorflow_whatever_is_set(
    command, striped: Path, tmp_path: Path
) -> None:
    """A backend that KERAS_BACKEND names, and that may not be here, isn't taken."""
    done = command(
        *("export", striped, "--to", "keras", "-o", tmp_path / "x.keras"),
        env=os.environ | {"KERAS_BACKEND": "none"},
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr


def test_an_lstm_becomes_tflite(trained_run: Path, tmp_path: Path) -> None:
    """`crnn`, with two bidirectional LSTMs, gives the probabilities that Keras gives."""
    taken = tflite.write(Source(trained_run), tmp_path / "model.tflite")
    assert taken.same == taken.pictures == 8
    assert taken.only_answer is not None  # it has learned nothing
    assert "largest difference" in taken.checked


def test_a_file_that_answers_otherwise_is_refused(
    striped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the written file's probabilities differ, there is no file."""
    convert = tflite._convert

    def convert_another(network: keras.Model, manifest: Manifest) -> bytes:
        network.set_weights([w * np.float32(1.01) for w in network.get_weights()])
        return convert(network, manifest)

    monkeypatch.setattr(tflite, "_convert", convert_another)
    with pytest.raises(
        ExportError, match=r"TFLite's interpreter differs from the run's network by \d"
    ):
        tflite.write(Source(striped), tmp_path / "model.tflite")
    assert not list(tmp_path.glob("*.tflite"))
    assert not list(tmp_path.glob(".partial*"))


def test_wrong_sources_are_one_line(call, stripes: Path, striped: Path, tmp_path: Path) -> None:
    """A model file, an option that means nothing, a wrong suffix and lost files are explained."""
    lost = tmp_path / "lost"
    shutil.copytree(striped, lost)
    (lost / "model.keras").unlink()
    for source, form, added, message in (
        (stripes, "keras", (), "name the folder of the run"),
        (stripes, "tflite", (), "name the folder of the run"),
        (tmp_path / "none", "tflite", (), "no run and no model file"),
        (striped, "tflite", ("--int8",), "has no --int8"),
        (lost, "tflite", (), "can't load the Keras model"),
    ):
        failed = call("export", source, "--to", form, "-o", tmp_path / f"x.{form}", *added)
        assert failed.returncode == 3
        assert message in failed.stderr.splitlines()[-1]
        assert "Traceback" not in failed.stderr
    with pytest.raises(ExportError, match="files that end in"):
        keras_model.write(Source(striped), tmp_path / "x.h5")
    assert not list(tmp_path.glob("x.*"))
