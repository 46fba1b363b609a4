"""The models that the benchmarks measure: the embedded default and the documents' presets.

A preset's model is that of its finished run in `benchmarks/runs`, which `documents.py` and
`default.py` make. Where there is none, it is a new network of the same shapes: time, memory and
load don't depend on what the weights are.
"""

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest, Tensor, attach
from captcha_rt.model import load_model
from harness import RUNS, state

if TYPE_CHECKING:
    import keras

    from captcha_rt_train.presets import Preset

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

DEFAULT = "default"
SEED = 0


@dataclass(frozen=True, slots=True)
class Data:
    """What a network's shapes follow from.

    Attributes:
        tensor_shape: What the preset's recipe makes of a picture.
        charset: The characters of the pictures.
        length: How many of them a picture shows.
    """

    tensor_shape: tuple[int, ...]
    charset: Charset
    length: int


_CAPTCHA_V2, _DIGITS = "2345678bcdefgmnpwxy", "0123456789"
DATA = {
    "multihead": Data((48, 140, 3), Charset("234579ACFHKMNPQRTYZ", 0), 4),
    "ensemble": Data((40, 120, 1), Charset(_DIGITS), 6),
    "glyph": Data((6, 23, 15, 1), Charset(_DIGITS), 6),
    "steps": Data((200, 50, 1), Charset(_CAPTCHA_V2), 5),
    "crnn": Data((200, 50, 1), Charset(_CAPTCHA_V2, 0), 5),
    "crnn-conv1d": Data((200, 50, 1), Charset(_CAPTCHA_V2, 0), 5),
}
"""Each document's pictures."""

MODELS = DEFAULT, *DATA


def preset_model(name: str) -> tuple[bytes, bool]:
    """A model file as the runtime loads it.

    Args:
        name: One of `MODELS`.

    Returns:
        The bytes of the embedded model, or else what the export makes of the preset's run or of a
        new network, in float; and whether it was trained.
    """
    if name == DEFAULT:
        return load_model().data, True
    trained = (RUNS / name / "manifest.json").exists()
    kept = RUNS / "suite" / "models" / f"{name}-{trained}-{state()[:12]}.onnx"
    if not kept.exists():
        model, manifest, _ = keras_model(name)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(kept) as path:
            path.write_bytes(exported(model, manifest))
    return kept.read_bytes(), trained


def keras_model(name: str) -> tuple["keras.Model", Manifest, bool]:
    """A model as Keras has it: to logits, in float.

    Args:
        name: One of `MODELS`.

    Returns:
        The network, its description, and whether it was trained.
    """
    _keep_off_gpus()
    import keras

    from captcha_rt_train.presets import load_preset

    run = RUNS / name
    if (run / "manifest.json").exists():  # written when all else is
        manifest = Manifest.from_json((run / "manifest.json").read_bytes())
        return keras.models.load_model(run / "model.keras", compile=False), manifest, True
    if name == DEFAULT:
        return *new_model(load_preset("compact"), default_data()), False
    return *new_model(load_preset(name), DATA[name]), False


def new_model(preset: "Preset", data: Data) -> tuple["keras.Model", Manifest]:
    """An untrained network of a preset, the same each time, with its description."""
    _keep_off_gpus()
    import keras

    from captcha_rt_train.data import Dataset, Item
    from captcha_rt_train.networks import merge
    from captcha_rt_train.training import plan

    label = (data.charset.characters * data.length)[: data.length]
    nothing = np.zeros(data.tensor_shape, np.float32)
    item = Item(None, "", label, nothing.astype(np.uint8), nothing)
    dataset = Dataset((item,), data.tensor_shape, data.charset, (), "", "")
    keras.utils.set_random_seed(SEED)
    _, build, manifest = plan(dataset, preset)
    if preset.network == "ensemble":
        return merge([build(1) for _ in range(data.length)]), manifest
    return build(data.length), manifest


def exported(model: "keras.Model", manifest: Manifest, rows: np.ndarray | None = None) -> bytes:
    """The model file that `captcha-rt export` makes of a network, without its checks on pictures.

    Args:
        model: The network.
        manifest: Its description.
        rows: Inputs to find the ranges of 8 bits with, as `--int8` does; None stays in float.
    """
    from captcha_rt_export.convert import convert, with_softmax
    from captcha_rt_export.quantize import quantize

    logits = convert(model)
    graph = logits if rows is None else quantize(logits, rows)
    proto = with_softmax(graph, manifest.temperature)
    output = Tensor("probabilities", manifest.output.shape)
    return attach(
        proto.SerializeToString(), replace(manifest, scores="probabilities", output=output)
    )


def default_data() -> Data:
    """The shapes of the embedded model's data."""
    manifest = load_model().manifest
    return Data(tuple(filter(None, manifest.tensor_shape)), manifest.charset, 6)


def noise(manifest: Manifest) -> NDArray[np.float32]:
    """Noise of the shape that one picture becomes: `(1, ...)`, or a row a glyph."""
    rows = manifest.glyphs or 1
    shape = [rows, *filter(None, manifest.input.shape[1:])]
    return np.random.default_rng(SEED).random(shape, np.float32)


def _keep_off_gpus() -> None:
    """Where TensorFlow sees a GPU, tf2onnx writes LSTMs that no ONNX runtime knows."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
