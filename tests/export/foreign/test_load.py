"""Models as people save them: loaded, cut and converted, they answer as they did."""

import functools
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import foreign_models
import keras
import numpy as np
import onnxruntime
import pytest

from captcha_rt_export.convert import operators
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.describe import describe_foreign
from captcha_rt_export.foreign.load import load_foreign
from captcha_rt_export.foreign.network import ForeignNetwork

KERAS2 = pytest.mark.skipif(
    importlib.util.find_spec("tf_keras") is None, reason="needs the extra keras2"
)

LAST = foreign_models.CLASSES - 1


@functools.cache
def made(make: Callable[[ModuleType], Any], package: ModuleType) -> Any:
    """A trained model; several tests save it in several formats."""
    return make(package)


def save(model: Any, path: Path) -> Path:
    """Saves a model in the format that the suffix names; without a suffix as a SavedModel."""
    if path.suffix or not hasattr(model, "export") or type(model).__module__.startswith("tf_keras"):
        model.save(path)
    else:
        model.export(path, verbose=False)
    return path


def scores_of(network: ForeignNetwork, rows: np.ndarray) -> np.ndarray:
    """What onnxruntime answers."""
    session = onnxruntime.InferenceSession(network.graph.SerializeToString())
    [scores] = session.run(None, {network.graph.graph.input[0].name: rows})
    return np.asarray(scores)


def read_best(scores: np.ndarray, blank: int | None) -> list[tuple[int, ...]]:
    """The ids of the best path of each picture."""
    paths = scores.argmax(-1).reshape(len(scores), -1)
    if blank is None:
        return [tuple(path) for path in paths]
    changes = np.diff(paths, axis=1, prepend=-1) != 0
    return [
        tuple(path[change & (path != blank)]) for path, change in zip(paths, changes, strict=True)
    ]


def check(network: ForeignNetwork, expected: np.ndarray, rows: np.ndarray) -> None:
    """The graph and the loaded original answer as the model did before it was saved."""
    scores = scores_of(network, rows)
    assert scores.shape == expected.shape
    np.testing.assert_allclose(scores, expected, atol=1e-5)
    np.testing.assert_allclose(network.run(rows), expected, atol=1e-5)
    texts = read_best(scores, network.blank)
    assert texts == read_best(expected, network.blank)
    assert len(set(texts)) > 3  # they differ, so that the comparison means something


def answers(package: ModuleType, model: Any, rows: np.ndarray, layer: str = "") -> np.ndarray:
    """The scores of a model before it was saved: of its heads, or of one of its layers."""
    if layer:
        model = package.Model(model.inputs[0], model.get_layer(layer).output)
    scores = model(rows, training=False)
    return np.stack(scores, 1) if isinstance(scores, list) else np.asarray(scores)


@pytest.mark.parametrize("suffix", [".keras", ""])
def test_the_captcha_example_of_keras_io(tmp_path: Path, suffix: str) -> None:
    """A training model with a CTC layer and a label input needs no code, and reads the same."""
    model = made(foreign_models.keras_io, keras)
    rows = foreign_models.pictures(32, 16, 1, count=40, seed=2)
    network = load_foreign(save(model, tmp_path / f"model{suffix}"))
    check(network, answers(keras, model, rows, "dense2"), rows)
    assert operators(network.graph)["LSTM"] == 2
    assert network.scores == "probabilities"
    assert "the input 'label'" in network.cut
    if suffix:  # what `export` writes has no layers that could tell
        assert (network.decoder, network.blank) == ("ctc", LAST)
        assert "the layer 'ctc_loss' (CTCLayer), of its author's own code" in network.cut
    else:
        early = load_foreign(tmp_path / "model", scores="dense1")
        np.testing.assert_allclose(
            early.run(rows), answers(keras, model, rows, "dense1"), atol=1e-5
        )


@pytest.mark.parametrize("suffix", [".keras", ""])
def test_metus_model(tmp_path: Path, suffix: str) -> None:
    """METU's network, trained and saved by Keras 3, reads the same."""
    model = made(foreign_models.metu, keras)
    rows = foreign_models.pictures(28, 28, 1, count=40, seed=2)
    network = load_foreign(save(model, tmp_path / f"model{suffix}"))
    check(network, answers(keras, model, rows), rows)
    assert (network.scores, network.decoder) == ("probabilities", "glyph")


@KERAS2
@pytest.mark.parametrize(
    ("make", "shape", "suffix", "layer", "decoder", "blank"),
    [
        (foreign_models.keras_io, (32, 16, 1), ".h5", "dense2", "ctc", LAST),
        (foreign_models.image_ocr, (32, 16, 1), ".h5", "softmax", "ctc", LAST),
        (foreign_models.metu, (28, 28, 1), "", "", "glyph", None),
    ],
)
def test_models_of_keras_2(
    tmp_path: Path,
    make: Callable[[ModuleType], Any],
    shape: tuple[int, int, int],
    suffix: str,
    layer: str,
    decoder: str,
    blank: int | None,
) -> None:
    """Networks that Keras 2 saved read the same, with GRUs and a Lambda that holds the loss."""
    import tf_keras

    model = made(make, tf_keras)
    rows = foreign_models.pictures(*shape, count=40, seed=2)
    network = load_foreign(save(model, tmp_path / f"model{suffix}"))
    check(network, answers(tf_keras, model, rows, layer), rows)
    assert (network.decoder, network.blank) == (decoder, blank)
    assert network.origin.startswith(("Keras 2", "SavedModel of Keras 2"))


@KERAS2
@pytest.mark.parametrize("suffix", [".h5", ""])
def test_document_004s_model_that_answers_texts(tmp_path: Path, suffix: str) -> None:
    """Decoding inside of the model is cut off; its vocabulary and its blank are found."""
    import tf_keras

    model = made(foreign_models.document_004_texts, tf_keras)
    rows = foreign_models.pictures(32, 16, 1, count=40, seed=2)
    texts = [text.decode() for text in model(rows).numpy()]
    network = load_foreign(save(model, tmp_path / f"model{suffix}"))
    assert network.vocabulary == ("[UNK]", *foreign_models.VOCABULARY)
    assert (network.decoder, network.blank) == ("ctc", LAST + 1)
    paths = read_best(scores_of(network, rows), network.blank)
    # The document looks a -1 up for what is missing, which is the text for unknown characters.
    found = ["".join(network.vocabulary[one] for one in path[:5]) for path in paths]
    longest = max(len(path[:5]) for path in paths)
    padded = [
        text + "[UNK]" * (longest - len(path[:5])) for text, path in zip(found, paths, strict=True)
    ]
    assert padded == texts
    assert len(set(texts)) > 4


def test_a_tflite_model(tmp_path: Path) -> None:
    """A TFLite model of convolutions reads the same; in 8 bits, as far as roundings let it."""
    import tensorflow as tf

    model = made(foreign_models.document_000, keras)
    rows = foreign_models.pictures(24, 40, 3, count=40, seed=2)
    path = tmp_path / "model.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    network = load_foreign(path)
    check(network, answers(keras, model, rows), rows)
    assert network.decoder == "position"
    described = describe_foreign(path)
    assert described is not None
    assert list(described["inputs"].values()) == [[-1, 24, 40, 3, "float32"]]
    assert len(described["outputs"]) == len(model.outputs)

    def converted(**settings: Any) -> ForeignNetwork:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        for name, value in settings.items():
            setattr(converter, name, value)
        path.write_bytes(converter.convert())
        return load_foreign(path)

    converter_of_half = tf.lite.TargetSpec(supported_types=[tf.float16])
    half = converted(target_spec=converter_of_half)
    np.testing.assert_allclose(scores_of(half, rows), half.run(rows), atol=1e-5)
    whole = {"representative_dataset": lambda: ([row[None]] for row in rows)}
    for settings in ({}, whole):  # the weights in 8 bits; all in 8 bits
        small = converted(**settings)
        np.testing.assert_allclose(scores_of(small, rows), small.run(rows), atol=0.1)
        assert small.facts["precision"] == "int8"
        assert small.cut[0].startswith("8 bits: ")
    only = tf.lite.TargetSpec(supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8])
    with pytest.raises(ExportError, match=re.escape('`model.save("model.keras")`')):
        converted(**whole, target_spec=only, inference_input_type=tf.int8)
