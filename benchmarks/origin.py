"""Against where a user comes from, with the same weights: `python benchmarks/origin.py`.

Runs each document's network and the embedded one as Keras's `predict`, as `model(x)`, as a
`tf.function`, as TFLite (float, and with dynamic 8-bit weights), as the plain export of tf2onnx,
and as our export, in float and in 8 bits: at batch 1 and 32, in alternating rounds, on one core.
Beside each time stands how many texts of test pictures it reads right. Then `Solver.solve` on
encoded pictures against its image decoding and a bare `session.run`. Writes
`benchmarks/results/origin.json`.

Networks come from their runs in `benchmarks/runs` where these lie there; others are not trained
(`trained` says so): that changes the texts, and not the times.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from captcha_rt import Solver, decode_image
from captcha_rt.manifest import Manifest, detach
from captcha_rt.session import CPU, import_onnxruntime
from documents import PLANS
from harness import Part, clock, in_turn, rounded, unseen_pictures
from models import DEFAULT, exported, keras_model, preset_model

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

MODELS: Final = {
    DEFAULT: "captcha_v2",
    **{name: plan.data for name, plan in PLANS.items()},
}
"""The networks, each with the set of pictures that it reads."""

BATCHES: Final = (1, 32)
READ: Final = 100  # pictures that each way reads
SECONDS: Final = 8.0  # a network and batch
RUNS: Final = 5  # in a turn: the first finds the caches full of another way's data

Inputs = NDArray[np.float32]
Way = Callable[[Inputs], Inputs]

say = Console(stderr=True).print


def ways(
    model: Any,  # noqa: ANN401
    manifest: Manifest,
    in_float: bytes,
    in_int8: bytes,
) -> dict[str, Way]:
    """The ways to run a network: each from `(N, ...)` inputs to scores.

    Args:
        model: The Keras model.
        manifest: Its description.
        in_float: What our export makes of it.
        in_int8: The same with `--int8`.
    """
    import tensorflow as tf
    import tf2onnx

    shape = (None, *manifest.input.shape[1:])
    signature = [tf.TensorSpec(shape, tf.float32, name=manifest.input.name)]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    plain, _ = tf2onnx.convert.from_keras(model, input_signature=signature)
    return {
        "model.predict": lambda x: np.asarray(model.predict(x, batch_size=len(x), verbose=0)),
        "model(x)": lambda x: np.asarray(model(x, training=False)),
        "tf.function": lambda x: np.asarray(function(tf.constant(x))),
        "TFLite": tflite(model, shape, []),
        "TFLite, dynamic int8": tflite(model, shape, [tf.lite.Optimize.DEFAULT]),
        "tf2onnx, plain": onnx(plain.SerializeToString()),
        "captcha-rt": onnx(in_float),
        "captcha-rt, int8": onnx(in_int8),
    }


def tflite(model: Any, shape: Sequence[int | None], optimizations: list[Any]) -> Way:  # noqa: ANN401
    """The network in TensorFlow's runtime for small devices, on one thread of its XNNPACK.

    Each batch has a graph of its own: with a free one LSTMs can't be converted.
    """
    import keras
    import tensorflow as tf

    @cache
    def interpreter(batch: int) -> Any:  # noqa: ANN401
        image = keras.Input(batch_shape=(batch, *shape[1:]))
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(image, model(image)))
        converter.optimizations = optimizations
        made = tf.lite.Interpreter(model_content=converter.convert(), num_threads=1)
        made.allocate_tensors()
        return made

    def run(x: Inputs) -> Inputs:
        its = interpreter(len(x))
        its.set_tensor(its.get_input_details()[0]["index"], x)
        its.invoke()
        return np.asarray(its.get_tensor(its.get_output_details()[0]["index"]))

    return run


def onnx(graph: bytes) -> Way:
    """A graph in onnxruntime, on one thread: it counts the machine's cores, not the process's."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(graph, options, providers=[CPU])
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0])


def compare(name: str, pictures: list[tuple[Path, str]]) -> dict[str, Any]:
    """One network, all ways: times by batch, and how many of the first pictures are read right.

    Args:
        name: One of `MODELS`.
        pictures: Its pictures; those after the first `READ` find the ranges of 8 bits.
    """
    model, manifest, trained = keras_model(name)
    tensors = np.stack([manifest.recipe.apply(decode_image(path)) for path, _ in pictures])
    in_float = exported(model, manifest)
    if name == DEFAULT:
        in_int8, _ = preset_model(name)
    else:
        in_int8 = exported(model, manifest, manifest.batch(tensors[READ:]))
    pictures, tensors = pictures[:READ], tensors[:READ]
    running = ways(model, manifest, in_float, in_int8)
    right, batches = {}, {}
    for way, run in running.items():
        described = detach(in_float) if way.startswith("captcha-rt") else manifest
        texts = [described.decode(run(manifest.batch(tensor[None])))[0][0] for tensor in tensors]
        right[way] = sum(text == label for text, (_, label) in zip(texts, pictures, strict=True))
    for batch in BATCHES:
        rows = manifest.batch(tensors[np.arange(batch) % len(tensors)])
        calls = {way: partial(run, rows) for way, run in running.items()}
        times = in_turn(calls, rounds=_rounds(calls), runs=RUNS)
        batches[str(batch)] = {
            way: {key: rounded(value / batch) for key, value in its.items()}
            for way, its in times.items()
        }
    return {
        "trained": trained,
        "pictures": len(pictures),
        "right": right,
        "milliseconds_a_picture": batches,
        "stages": stages(
            in_int8 if name == DEFAULT else in_float, [path.read_bytes() for path, _ in pictures]
        ),
    }


def _rounds(calls: Mapping[str, Callable[[], Any]]) -> int:
    """So many that they take `SECONDS`, within reason."""
    for call in calls.values():
        call()
    started = time.perf_counter()
    for call in calls.values():
        call()
    return max(7, min(100, round(SECONDS / RUNS / (time.perf_counter() - started))))


def stages(model: bytes, files: list[bytes]) -> dict[str, float]:
    """Median milliseconds of `Solver.solve`, of decoding and of a bare `session.run`, in turn.

    Args:
        model: The `.onnx` file.
        files: Encoded pictures.

    Returns:
        The three, and `overhead`: the share that `solve` takes beyond the sum of the two.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        solver = Solver(path, device="cpu")
    manifest = solver.manifest
    bare = onnx(model)
    walls: dict[str, list[float]] = {"decode": [], "session": [], "solve": []}
    solver.solve(files[0])
    rounds = max(1, round(SECONDS / 6 / len(files) / _seconds(solver, files)))
    for file in files * min(rounds, 8):
        picture = clock(walls["decode"], decode_image, file)
        clock(walls["session"], bare, manifest.batch(manifest.recipe.apply(picture)[None]))
        clock(walls["solve"], solver.solve, file)
    medians = {stage: statistics.median(its) for stage, its in walls.items()}
    overhead = medians["solve"] / (medians["decode"] + medians["session"]) - 1
    return {name: rounded(value) for name, value in {**medians, "overhead": overhead}.items()}


def _seconds(solver: Solver, files: list[bytes]) -> float:
    started = time.perf_counter()
    for file in files[:5]:
        solver.solve(file)
    return (time.perf_counter() - started) / 5


def main() -> None:
    """Measures all networks, on one core."""
    if "CAPTCHA_DATA" not in os.environ:
        raise SystemExit("CAPTCHA_DATA does not name the folder of real labelled pictures")
    if hasattr(os, "sched_setaffinity"):  # before TensorFlow starts its threads
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    part = Part("origin")
    pictures = unseen_pictures(Path(os.environ["CAPTCHA_DATA"]))
    rows = {}
    for name, kind in MODELS.items():
        say(f"[bold]{name}[/bold]")
        rows[name] = part.row(name, partial(compare, name, pictures[kind][: 2 * READ]))
        say(rows[name]["milliseconds_a_picture"]["1"], rows[name]["stages"])
    part.finish(
        {
            "provider": CPU,
            "threads": 1,
            "versions": {name: version(name) for name in ("tensorflow", "keras", "tf2onnx")},
            "models": rows,
        }
    )


if __name__ == "__main__":
    main()
