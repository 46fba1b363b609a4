"""`captcha-rt info` on models from elsewhere, without running what is in them."""

import json
from importlib.metadata import entry_points
from pathlib import Path

import foreign_models
import keras
import pytest
import typer
from keras import layers
from onnx import helper
from striped import Dress, build

from captcha_rt.cli.info import GROUP, info
from captcha_rt.errors import ManifestError, ModelError
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.describe import describe_foreign
from captcha_rt_export.foreign.onnx import load_onnx

CUT = "an export would cut off or change"


def test_a_training_model_is_described(tmp_path: Path) -> None:
    """Inputs, code and what would be cut are listed, of a file and of a SavedModel."""
    image = layers.Input((32, 16, 1), name="image")
    labels = layers.Input((None,), name="label")
    x = layers.Dense(6, activation="softmax", name="last")(layers.Reshape((8, 64))(image))
    output = foreign_models.ctc_layer(keras)(name="ctc_loss")(labels, x)
    model = keras.Model([image, labels], output)
    path = tmp_path / "model.keras"
    model.save(path)
    described = describe_foreign(path)
    assert described["format"] == f"Keras {keras.__version__} (.keras)"
    assert described["inputs"] == {"image": [None, 32, 16, 1], "label": [None, None]}
    assert described["layers of its author's own code"] == ["ctc_loss (CTCLayer)"]
    assert described["scores"] == ["last"]
    assert described["decoder"] == "ctc"
    assert "the input 'label'" in described[CUT]
    json.dumps(described)

    model.export(tmp_path / "folder", verbose=False)
    described = describe_foreign(tmp_path / "folder")
    assert described["signature serving_default"]["inputs"]["image"] == [None, 32, 16, 1]


def test_code_is_named_and_not_run(tmp_path: Path) -> None:
    """A Lambda that leaves a trace when it runs leaves none; what an export needs is said."""
    marker = str(tmp_path / "executed")
    image = layers.Input((8, 8, 1))
    touch = layers.Lambda(
        lambda x: (__import__("pathlib").Path(marker).touch(), x)[1], name="touch"
    )
    path = tmp_path / "model.h5"
    keras.Model(image, layers.Dense(4)(layers.Flatten()(touch(image)))).save(path)
    Path(marker).unlink()
    described = describe_foreign(path)
    assert described["layers with Python code in the file"] == ["touch (Lambda)"]
    assert described["an export needs"] == ["--trust, or --custom FILE.py with a function touch"]
    assert not Path(marker).exists()


@pytest.mark.skipif(
    not entry_points(group=GROUP), reason="captcha-rt-export was installed before it had this group"
)
def test_info_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command prints the description as text and as JSON, and what to type next."""
    image = layers.Input((8, 8, 1), name="image")
    path = tmp_path / "model.keras"
    keras.Model(image, layers.Dense(4, name="last")(layers.Flatten()(image))).save(path)
    info(path)
    text = capsys.readouterr().out
    assert 'scores: ["last"]' in text
    assert f"next: captcha-rt export {path}" in text
    info(path, as_json=True)
    assert json.loads(capsys.readouterr().out)["scores"] == ["last"]


def test_an_onnx_file_is_described(tmp_path: Path) -> None:
    """What an export would cut off is listed, or what it would ask."""
    path = tmp_path / "model.onnx"
    path.write_bytes(build(Dress(end="Sigmoid")).SerializeToString())
    described = describe_foreign(path)
    assert described is not None
    assert described[CUT] == ["the sigmoid at the end; a softmax takes its place"]
    assert described["scores"] == ["logits"]
    proto = build(Dress())
    proto.graph.output.append(helper.make_tensor_value_info("logits", 1, [None, None, None]))
    path.write_bytes(proto.SerializeToString())
    described = describe_foreign(path)
    assert described is not None
    assert "--scores y" in described["an export would ask"]


@pytest.mark.skipif(
    not entry_points(group=GROUP), reason="captcha-rt-export was installed before it had this group"
)
def test_what_is_in_a_file_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A model of another program is known by its content, and has no card to print."""
    image = layers.Input((8, 8, 1), name="image")
    path = tmp_path / "MODEL.KERAS"
    keras.Model(image, layers.Flatten()(image)).save(tmp_path / "model.keras")
    (tmp_path / "model.keras").rename(path)
    info(path)
    assert "format: Keras" in capsys.readouterr().out
    with pytest.raises(typer.Exit):
        info(path, card=True)
    assert "has no card" in capsys.readouterr().err


def test_what_is_of_captcha_rt_is_not_described(tmp_path: Path) -> None:
    """A run, and a damaged model of captcha-rt, are not taken for models from elsewhere."""
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "model.keras").write_bytes(b"PK")
    assert describe_foreign(tmp_path) is None
    with pytest.raises(ModelError, match="export it first"):
        info(tmp_path)
    path = tmp_path / "model.onnx"
    data = bytearray((Path(__file__).parents[2] / "models" / "stripes.onnx").read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(ManifestError, match="damaged"):
        info(path)
    with pytest.raises(ExportError, match="damaged"):
        load_onnx(path)


def test_folders_that_hold_no_model_are_refused(tmp_path: Path) -> None:
    """Of a folder with one model that is named, and a SavedModel without a graph is damaged."""
    (tmp_path / "model.h5").write_bytes(b"")
    with pytest.raises(ExportError, match=r"one model: name that, .*model\.h5"):
        describe_foreign(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"x\n")
    with pytest.raises(ExportError, match="no graph in it"):
        describe_foreign(tmp_path)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    """A file that isn't one is told as by an export."""
    path = tmp_path / "model.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    with pytest.raises(ExportError, match="is damaged"):
        describe_foreign(path)
