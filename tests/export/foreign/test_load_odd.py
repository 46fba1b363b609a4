"""Odd and broken models: the message says what to type, and typing it works."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import h5py
import keras
import numpy as np
import onnxruntime
import pytest
from keras import layers

from captcha_rt_export.convert import operators
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.custom import import_custom
from captcha_rt_export.foreign.load import load_foreign
from captcha_rt_export.foreign.network import ForeignNetwork

CODE = """
import keras
from tensorflow.keras import layers

class Squeeze(layers.Layer):
    def __init__(self, ratio=2, name=None):
        super().__init__(name=name)
        self.ratio = ratio

    def build(self, shape):
        self.dense = layers.Dense(shape[-1])
        self.dense.build(shape)

    def call(self, x):
        return x * keras.ops.sigmoid(self.dense(x)) * self.ratio

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}

class Reader(keras.Model):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.flat, self.dense = layers.Flatten(), layers.Dense(5)

    def call(self, x):
        return self.dense(self.flat(x))

def halve(x):
    return x * 0.5
"""


def network(
    body: Callable[[Any], Any] = lambda x: x,
    *,
    shape: tuple[int | None, ...] = (16, 32, 1),
    end: str | None = "softmax",
    first: Callable[[Any], Any] = lambda x: x,
    **settings: Any,
) -> Any:
    """A small network from a picture to time steps, with what a test puts between."""
    image = layers.Input(shape, name="image", **settings)
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(first(image))
    x = layers.Permute((2, 1, 3))(layers.MaxPooling2D(2)(x))
    x = layers.TimeDistributed(layers.Flatten())(x)
    return keras.Model(image, layers.Dense(6, activation=end, name="scores")(body(x)))


def answer(loaded: ForeignNetwork, rows: np.ndarray) -> np.ndarray:
    """What onnxruntime answers."""
    session = onnxruntime.InferenceSession(loaded.graph.SerializeToString())
    return np.asarray(session.run(None, {loaded.graph.graph.input[0].name: rows})[0])


def saved(model: Any, path: Path) -> Path:
    """Saves a model."""
    model.save(path)
    return path


def noise(*shape: int) -> np.ndarray:
    """Seven pictures of noise."""
    return np.random.default_rng(3).random((7, *shape), np.float32)


def two_ways(kind: str, **settings: Any) -> Callable[[Any], Any]:
    """A recurrent layer in both directions."""
    merge = settings.pop("merge_mode", "concat")
    sequences = settings.pop("return_sequences", True)
    inner = {"return_sequences": sequences, **settings}
    return lambda x: layers.Bidirectional(getattr(layers, kind)(5, **inner), merge_mode=merge)(x)


def recurrent() -> list[Any]:
    """Recurrent layers of many forms, to stand one after the other."""
    return [
        two_ways("GRU"),
        two_ways("GRU", reset_after=False),  # as before Keras 2.3
        two_ways("LSTM", merge_mode="sum", recurrent_dropout=0.2),
        two_ways("SimpleRNN", merge_mode="mul"),
        two_ways("LSTM", recurrent_activation="hard_sigmoid", activation="relu"),
        layers.GRU(5, return_sequences=True, go_backwards=True, use_bias=False),
        layers.SimpleRNN(5, return_sequences=True, activation="linear"),
        two_ways("GRU", merge_mode="ave", return_sequences=False),
    ]


def one_after_the_other(every: list[Any]) -> Any:
    """A network of layers, with biases that aren't 0."""
    model = network(lambda x: functools.reduce(lambda taken, one: one(taken), every, x))
    for weights in model.trainable_variables:
        weights.assign_add(keras.random.normal(weights.shape, stddev=0.2, seed=1))
    return model


def test_recurrent_layers_become_one_node_each(tmp_path: Path) -> None:
    """Each form of a recurrent layer is fused, and answers as Keras does; Masking is named."""
    every = recurrent()
    unrolled = layers.LSTM(5, return_sequences=True, unroll=True, use_bias=False)
    model = one_after_the_other([*every[:-1], unrolled, layers.Masking(), every[-1]])
    loaded = load_foreign(saved(model, tmp_path / "model.keras"))
    counts = operators(loaded.graph)
    assert (counts["GRU"], counts["LSTM"], counts["RNN"]) == (4, 3, 2)
    rows = noise(16, 32, 1)
    np.testing.assert_allclose(answer(loaded, rows), model(rows), atol=1e-5)
    assert [line for line in loaded.cut if "Masking" in line]


@pytest.mark.parametrize(("policy", "suffix"), [("float16", ".h5"), ("mixed_float16", ".keras")])
def test_other_number_types_become_float32(tmp_path: Path, policy: str, suffix: str) -> None:
    """A network of half precision is computed in float32, which is said."""
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = network(two_ways("GRU"))
        rows = noise(16, 32, 1)
        expected = np.asarray(keras.ops.cast(model(rows), "float32"))
        path = saved(model, tmp_path / f"model{suffix}")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    loaded = load_foreign(path)
    np.testing.assert_allclose(answer(loaded, rows), expected, atol=0.01)
    assert any("computes in float32" in line and policy in line for line in loaded.cut)


def test_channels_first(tmp_path: Path) -> None:
    """A network that takes the channels first is loaded with its own order of axes."""
    image = layers.Input((1, 16, 32))
    x = layers.Conv2D(4, 3, data_format="channels_first", activation="relu")(image)
    x = layers.BatchNormalization(axis=1)(layers.MaxPooling2D(data_format="channels_first")(x))
    model = keras.Model(image, layers.Dense(5, activation="softmax")(layers.Flatten()(x)))
    loaded = load_foreign(saved(model, tmp_path / "model.keras"))
    rows = noise(1, 16, 32)
    np.testing.assert_allclose(answer(loaded, rows), model(rows), atol=1e-5)


@pytest.mark.parametrize(
    ("end", "kind"), [("softmax", "probabilities"), (None, "logits"), ("sigmoid", "logits")]
)
def test_what_the_scores_are_is_found(tmp_path: Path, end: str | None, kind: str) -> None:
    """Probabilities and logits are told apart; of a sigmoid the logits before it are taken."""
    model = network(end=end)
    loaded = load_foreign(saved(model, tmp_path / "model.keras"))
    assert loaded.scores == kind
    assert "Sigmoid" not in operators(loaded.graph)
    assert ("the sigmoid of 'scores': a softmax takes its place" in loaded.cut) == (
        end == "sigmoid"
    )


def test_a_fixed_batch_becomes_free(tmp_path: Path) -> None:
    """A network that was built for batches of four, and keeps its state, reads any number."""
    keep = layers.LSTM(5, return_sequences=True, stateful=True)
    loaded = load_foreign(saved(network(keep, batch_size=4), tmp_path / "model.keras"))
    rows = noise(16, 32, 1)
    np.testing.assert_allclose(answer(loaded, rows)[:1], answer(loaded, rows[:1]), atol=1e-6)


def test_a_second_input_is_named(tmp_path: Path) -> None:
    """A network that needs more than a picture is refused; a layer before that can be named."""
    image, extra = layers.Input((16, 32, 1), name="image"), layers.Input((3,), name="extra")
    early = layers.Dense(5, activation="softmax", name="early")(layers.Flatten()(image))
    late = layers.Dense(5, name="late")(layers.Concatenate()([early, extra]))
    model = keras.Model([image, extra], late)
    path = saved(model, tmp_path / "model.keras")
    with pytest.raises(ExportError, match=r"'extra' \(None, 3\), for 'concatenate.*--scores LAYER"):
        load_foreign(path)
    with pytest.raises(ExportError, match=r"no layer 'nothing'; the last ones are .*late"):
        load_foreign(path, scores="nothing")
    loaded = load_foreign(path, scores="early")
    rows = noise(16, 32, 1)
    expected = keras.Model(image, early)(rows)
    np.testing.assert_allclose(answer(loaded, rows), expected, atol=1e-5)


def test_a_layer_of_ones_own(tmp_path: Path) -> None:
    """Without its file the class is named; with `--custom` it loads, whatever its `__init__`."""
    code = tmp_path / "my_layers.py"
    code.write_text(CODE)
    squeeze = import_custom(code, keras)["Squeeze"]
    model = network(squeeze(3, name="squeeze"))
    path = saved(model, tmp_path / "model.keras")
    with pytest.raises(ExportError, match=r"'squeeze' is a Squeeze, .* --custom FILE.py"):
        load_foreign(path)
    other = tmp_path / "other.py"
    other.write_text("x = 1\n")
    with pytest.raises(ExportError, match="doesn't define 'Squeeze'"):
        load_foreign(path, custom=other)
    other.write_text("raise RuntimeError('no')\n")
    with pytest.raises(ExportError, match="RuntimeError: no"):
        load_foreign(path, custom=other)
    rows = noise(16, 32, 1)
    for file in (path, saved(model, tmp_path / "model.h5")):
        loaded = load_foreign(file, custom=code)
        np.testing.assert_allclose(answer(loaded, rows), model(rows), atol=1e-5)


def test_a_model_of_ones_own_class(tmp_path: Path) -> None:
    """A subclass of `Model` loads with `--custom`, and as a SavedModel without."""
    code = tmp_path / "my_layers.py"
    code.write_text(CODE)
    model = import_custom(code, keras)["Reader"]()
    rows = noise(16, 32, 1)
    expected = model(rows)
    path = saved(model, tmp_path / "model.keras")
    with pytest.raises(ExportError, match=re.escape('`model.export("folder")`')):
        load_foreign(path)
    np.testing.assert_allclose(answer(load_foreign(path, custom=code), rows), expected, atol=1e-5)
    model.export(tmp_path / "folder", verbose=False)
    loaded = load_foreign(tmp_path / "folder")
    np.testing.assert_allclose(answer(loaded, rows), expected, atol=1e-5)
    assert loaded.decoder == "glyph"


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_python_code_in_the_file(tmp_path: Path, suffix: str) -> None:
    """A Lambda layer isn't run unless `--trust` or a function in its place is named."""
    marker = str(tmp_path / "executed")
    model = network(
        layers.Lambda(
            lambda x: (__import__("pathlib").Path(marker).touch(), x * 0.5)[1], name="halve"
        )
    )
    path = saved(model, tmp_path / f"model{suffix}")
    Path(marker).unlink()
    with pytest.raises(ExportError, match=r"'halve' .Lambda. holds Python code.*--trust"):
        load_foreign(path)
    code = tmp_path / "my_layers.py"
    code.write_text(CODE)
    rows = noise(16, 32, 1)
    loaded = load_foreign(path, custom=code)
    assert not Path(marker).exists()
    trusted = load_foreign(path, trust=True)
    assert Path(marker).exists()
    expected = model(rows)
    np.testing.assert_allclose(answer(loaded, rows), expected, atol=1e-5)
    np.testing.assert_allclose(answer(trusted, rows), expected, atol=1e-5)


def test_loops_of_a_saved_model_become_one_node_each(tmp_path: Path) -> None:
    """Recurrent layers that Keras 3 exported as loops become one node each, as they answered."""
    every = recurrent()
    model = one_after_the_other([every[1], *every[3:6], every[-1]])
    model.export(tmp_path / "folder", verbose=False)
    loaded = load_foreign(tmp_path / "folder")
    counts = operators(loaded.graph)
    assert (counts["GRU"], counts["LSTM"], counts["RNN"]) == (3, 1, 1)  # also in both directions
    rows = noise(16, 32, 1)
    np.testing.assert_allclose(answer(loaded, rows), model(rows), atol=1e-5)


def test_damaged_weights(tmp_path: Path) -> None:
    """A network that answers with NaN is refused."""
    model = network()
    model.layers[-1].set_weights([w * np.nan for w in model.layers[-1].get_weights()])
    with pytest.raises(ExportError, match="numbers that aren't finite"):
        load_foreign(saved(model, tmp_path / "model.keras"))


def test_what_is_no_model(tmp_path: Path) -> None:
    """Each file that people take for a model is told what it is, and what to do."""
    path = tmp_path / "model.keras"

    def refused(path: Path = path) -> str:
        with pytest.raises(ExportError) as caught:
            load_foreign(path)
        return str(caught.value)

    assert "No such file" in refused()
    for content, message in {
        b"": "is empty",
        b"version https://git-lfs.github.com/spec/v1\n": "git lfs pull",
        b'{"class_name": "Functional"}': "the network without weights",
        b"<!DOCTYPE html>": "a page in the model's place, so download the model again",
        b"\x80\x04\x95": "a pickle, which runs code",
        b"PK\x03\x04 and no more": "cut off",
        b"something": "of no known kind",
    }.items():
        path.write_bytes(content)
        assert message in refused()
    for content, message in {b"version https://git-lfs": "git lfs pull", b"": "empty"}.items():
        (tmp_path / "model.onnx").write_bytes(content)
        assert message in refused(tmp_path / "model.onnx")
    assert f"a folder with one model: name that, {path}" in refused(tmp_path)
    with ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"")
    assert "a file of PyTorch; export the model there: `torch.onnx.export(model, " in refused()
    path.unlink()
    assert "a folder without saved_model.pb" in refused(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")
    assert "damaged" in refused(tmp_path)
    assert "name its folder" in refused(tmp_path / "saved_model.pb")

    model = network()
    model.save_weights(tmp_path / "model.weights.h5")
    assert "holds weights without the network" in refused(tmp_path / "model.weights.h5")
    whole = saved(model, tmp_path / "whole.h5")
    (tmp_path / "half.h5").write_bytes(whole.read_bytes()[:5000])
    assert "is damaged" in refused(tmp_path / "half.h5")
    with h5py.File(whole, "r+") as file:
        del file["model_weights"]["scores"]
    assert "can't be loaded" in refused(whole)


def test_scores_of_other_shapes(tmp_path: Path) -> None:
    """Axes of one are left out; a map of scores is refused."""
    image = layers.Input((16, 32, 1))
    model = keras.Model(image, layers.Conv2D(5, (16, 1))(image))
    rows = noise(16, 32, 1)
    loaded = load_foreign(saved(model, tmp_path / "rows.keras"))
    np.testing.assert_allclose(answer(loaded, rows), model(rows)[:, 0], atol=1e-5)
    path = saved(keras.Model(image, layers.Conv2D(5, 3)(image)), tmp_path / "map.keras")
    with pytest.raises(ExportError, match=r"the shape .None, 14, 30, 5.*--scores LAYER"):
        load_foreign(path)
