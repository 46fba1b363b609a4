"""The models that the benchmarks measure: the embedded default and the documents' presets.

A preset's model is that of its finished run in `benchmarks/runs`, which the commands `documents`
and `default` make. Where there is none, an untrained network of the same shapes takes its place:
time, memory and load do not depend on the weights.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import RUNS, code_state
from captcha_rt.charset import Charset
from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.model import attach, load_model
from captcha_rt_export.run import Run

if TYPE_CHECKING:
    import keras

    from captcha_rt_train.presets import Preset

DEFAULT: Final = "default"
SEED: Final = 0


@dataclass(frozen=True, slots=True)
class Data:
    """What determines a network's shapes.

    Attributes:
        tensor_shape: The shape of a picture after the preset's recipe.
        charset: The characters of the pictures.
        length: How many characters a picture shows.
    """

    tensor_shape: tuple[int, ...]
    charset: Charset
    length: int


_CAPTCHA_V2, _DIGITS = "2345678bcdefgmnpwxy", "0123456789"
DATA: Final = {
    "multihead": Data((48, 140, 3), Charset("234579ACFHKMNPQRTYZ", 0), 4),
    "ensemble": Data((40, 120, 1), Charset(_DIGITS), 6),
    "glyph": Data((6, 23, 15, 1), Charset(_DIGITS), 6),
    "steps": Data((200, 50, 1), Charset(_CAPTCHA_V2), 5),
    "crnn": Data((200, 50, 1), Charset(_CAPTCHA_V2, 0), 5),
    "crnn-conv1d": Data((200, 50, 1), Charset(_CAPTCHA_V2, 0), 5),
}
"""The pictures of each document, by the name of its preset."""

MODELS: Final = (DEFAULT, *DATA)


def preset_model(name: str, runs: Path = RUNS) -> tuple[bytes, bool]:
    """A model file as the runtime loads it.

    Args:
        name: One of `MODELS`.
        runs: The folder of the runs.

    Returns:
        The bytes of the model file, and whether the model was trained. The default is the embedded
        model; any other is the float export of the preset's run or of a new network.
    """
    if name == DEFAULT:
        return load_model().data, True
    trained = Run(runs / name).finished
    kept = runs / "suite" / "models" / f"{name}-{trained}-{code_state()[:12]}.onnx"
    if not kept.exists():
        model, manifest, _ = keras_model(name, runs)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with write_atomically(kept) as path:
            path.write_bytes(exported(model, manifest))
    return kept.read_bytes(), trained


def keras_model(name: str, runs: Path = RUNS) -> tuple["keras.Model", Manifest, bool]:
    """A model in Keras: up to the logits, in float.

    Args:
        name: One of `MODELS`.
        runs: The folder of the runs.

    Returns:
        The network, its manifest, and whether it was trained.
    """
    _hide_gpus()
    from captcha_rt_export.export import load_keras
    from captcha_rt_train.presets import load_preset

    run = Run(runs / name)
    if run.finished:
        return load_keras(run), run.manifest, True
    if name == DEFAULT:
        return *new_model(load_preset("compact"), default_data()), False
    return *new_model(load_preset(name), DATA[name]), False


def new_model(preset: "Preset", data: Data) -> tuple["keras.Model", Manifest]:
    """An untrained network of a preset, the same each time, with its manifest."""
    _hide_gpus()
    import keras

    from captcha_rt_train.data.samples import Dataset, Sample
    from captcha_rt_train.networks import merge
    from captcha_rt_train.training.ensemble import ENSEMBLE
    from captcha_rt_train.training.planning import plan

    label = (data.charset.characters * data.length)[: data.length]
    blank = np.zeros(data.tensor_shape, np.float32)
    sample = Sample(None, "", label, blank.astype(np.uint8), blank)
    dataset = Dataset((sample,), data.tensor_shape, data.charset, (), "", "")
    keras.utils.set_random_seed(SEED)
    planned = plan(dataset, preset)
    if preset.network == ENSEMBLE:
        return merge([planned.build(1) for _ in range(data.length)]), planned.manifest
    return planned.build(data.length), planned.manifest


def exported(
    model: "keras.Model", manifest: Manifest, rows: NDArray[np.float32] | None = None
) -> bytes:
    """The model file that `captcha-rt export` makes of a network, without the checks on pictures.

    Args:
        model: The network.
        manifest: Its manifest.
        rows: Inputs `(N, ...)` that set the ranges of the 8 bits, as with `--int8`; None exports
            in float.
    """
    from captcha_rt_export.convert import convert, with_softmax
    from captcha_rt_export.int8 import quantize

    logits = convert(model)
    graph = logits if rows is None else quantize(logits, rows)
    proto = with_softmax(graph, manifest.temperature)
    output = Tensor("probabilities", manifest.output.shape)
    return attach(
        proto.SerializeToString(), replace(manifest, scores="probabilities", output=output)
    )


def default_data() -> Data:
    """The data of the embedded model."""
    manifest = load_model().manifest
    return Data(tuple(filter(None, manifest.tensor_shape)), manifest.charset, 6)


def noise(manifest: Manifest) -> NDArray[np.float32]:
    """Random inputs of the shape of one picture: `(1, ...)`, or a row for each glyph."""
    rows = manifest.glyphs or 1
    shape = [rows, *filter(None, manifest.input.shape[1:])]
    return np.random.default_rng(SEED).random(shape, np.float32)


def _hide_gpus() -> None:
    """Hides GPUs from TensorFlow: with one, tf2onnx writes LSTMs that no ONNX runtime knows."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
