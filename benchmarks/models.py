"""The models that the benchmarks measure: the embedded default and the documents' presets.

The model of a preset comes from the preset's finished run in `benchmarks/runs`, which the commands
`documents` and `default` make. Without a run, an untrained network of the same shapes is measured:
its weights do not change time, memory or loading.
"""

from collections.abc import Sequence
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

    from captcha_rt_export.int8 import Int8Report
    from captcha_rt_train.presets import Preset

DEFAULT: Final = "default"
SEED: Final = 0


@dataclass(frozen=True, slots=True)
class PictureSpec:
    """What a network's shapes depend on.

    Attributes:
        tensor_shape: The shape of one picture after the preset's recipe, without the batch.
        charset: The characters of the pictures.
        length: How many characters a picture shows.
    """

    tensor_shape: tuple[int, ...]
    charset: Charset
    length: int


_CAPTCHA_V2, _DIGITS = "2345678bcdefgmnpwxy", "0123456789"
SPECS: Final = {
    "multihead": PictureSpec((48, 140, 3), Charset("234579ACFHKMNPQRTYZ", 0), 4),
    "ensemble": PictureSpec((40, 120, 1), Charset(_DIGITS), 6),
    "glyph": PictureSpec((6, 23, 15, 1), Charset(_DIGITS), 6),
    "steps": PictureSpec((200, 50, 1), Charset(_CAPTCHA_V2), 5),
    "crnn": PictureSpec((200, 50, 1), Charset(_CAPTCHA_V2, 0), 5),
    "crnn-conv1d": PictureSpec((200, 50, 1), Charset(_CAPTCHA_V2, 0), 5),
}
"""The pictures of each document, by the name of its preset."""

MODELS: Final = (DEFAULT, *SPECS)


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
    """A model as a float Keras network, whose output is the logits.

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
        return *new_model(load_preset("compact"), embedded_spec()), False
    return *new_model(load_preset(name), SPECS[name]), False


def new_model(preset: "Preset", spec: PictureSpec) -> tuple["keras.Model", Manifest]:
    """An untrained network of a preset, and its manifest; the weights are seeded."""
    _hide_gpus()
    import keras

    from captcha_rt_train.data.samples import Dataset, Sample
    from captcha_rt_train.networks import merge
    from captcha_rt_train.training.ensemble import ENSEMBLE
    from captcha_rt_train.training.planning import plan

    label = (spec.charset.characters * spec.length)[: spec.length]
    tensor = np.zeros(spec.tensor_shape, np.float32)
    sample = Sample(None, "", label, tensor.astype(np.uint8), tensor)
    dataset = Dataset((sample,), spec.tensor_shape, spec.charset, (), "", "")
    keras.utils.set_random_seed(SEED)
    planned = plan(dataset, preset)
    if preset.network == ENSEMBLE:
        return merge([planned.build(1) for _ in range(spec.length)]), planned.manifest
    return planned.build(spec.length), planned.manifest


def exported(
    model: "keras.Model", manifest: Manifest, calibration: NDArray[np.float32] | None = None
) -> bytes:
    """The model file that `captcha-rt export` makes of a network, without the checks on pictures.

    Args:
        model: The network.
        manifest: Its manifest.
        calibration: Inputs `(N, ...)` that set the ranges of an export in 8 bits; None exports in
            float.

    Returns:
        The bytes of the model file.
    """
    from captcha_rt_export.convert import convert, with_softmax
    from captcha_rt_export.forms import PRODUCTS, measure_ranges, quantize

    proto = with_softmax(convert(model), manifest.temperature)
    if calibration is not None:
        proto = quantize(proto, measure_ranges(proto, calibration), PRODUCTS)
    return attach(proto.SerializeToString(), _with_probabilities(manifest))


def best_form(
    model: "keras.Model", manifest: Manifest, pictures: Sequence[tuple[Path, str]]
) -> tuple[bytes, "Int8Report"]:
    """The model file that `captcha-rt export --int8` makes of a network.

    Args:
        model: The network.
        manifest: Its manifest.
        pictures: Pictures with their labels, to choose the form by.

    Returns:
        The bytes of the model file, and the comparison of the forms.
    """
    from captcha_rt_export.convert import convert, with_softmax
    from captcha_rt_export.int8 import Int8Samples, choose_form
    from captcha_rt_export.run import SampleFile

    samples = [SampleFile(path, label, "", "") for path, label in pictures]
    proto, described, report = choose_form(
        with_softmax(convert(model), manifest.temperature),
        _with_probabilities(manifest),
        Int8Samples([path for path, _ in pictures], samples),
    )
    return attach(proto.SerializeToString(), described), report


def _with_probabilities(manifest: Manifest) -> Manifest:
    output = Tensor("probabilities", manifest.output.shape)
    return replace(manifest, scores="probabilities", output=output)


def embedded_spec() -> PictureSpec:
    """The pictures of the embedded model."""
    manifest = load_model().manifest
    return PictureSpec(tuple(filter(None, manifest.tensor_shape)), manifest.charset, 6)


def noise(manifest: Manifest) -> NDArray[np.float32]:
    """Random float32 inputs in 0..1 for one picture: `(1, ...)`, or `(glyphs, ...)`."""
    rows = manifest.glyphs or 1
    shape = [rows, *filter(None, manifest.input.shape[1:])]
    return np.random.default_rng(SEED).random(shape, np.float32)


def _hide_gpus() -> None:
    """Hides GPUs from TensorFlow: with one, tf2onnx writes LSTMs that no ONNX runtime knows."""
    import tensorflow as tf

    tf.config.set_visible_devices([], "GPU")
