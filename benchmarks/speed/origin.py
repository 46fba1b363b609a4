"""The same weights in eight ways, from Keras to the runtime: `python -m benchmarks origin`.

Runs each document's network and the embedded model's in eight ways: Keras's `predict`, `model(x)`,
a `tf.function`, TFLite in float and with dynamic 8-bit weights, the plain export of tf2onnx, and
our export in float and in the form that `captcha-rt export --int8` takes. All end in a softmax, as
the documents' networks do. Each way runs batches of 1 and 32 on one core; the ways take turns. The
results also hold how many test pictures each way reads right, what each of our forms takes, and the
times of `Solver.solve` and of its stages on encoded pictures. Writes
`benchmarks/results/origin.json`. A stopped command continues where it was. `CAPTCHA_DATA` names the
folder of real labelled pictures.

The networks are those of the runs in `benchmarks/runs`. Where there is no run, the network is not
trained, and `trained` is false: its texts are wrong, but its times are the same.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import markdown
from benchmarks.accuracy.documents import PLANS
from benchmarks.harness import (
    OURS,
    RESULTS,
    RUNS,
    Part,
    Result,
    captcha_data,
    command_parser,
    in_turn,
    rounded,
    say,
    unseen_pictures,
)
from benchmarks.models import DEFAULT, best_form, exported, keras_model
from benchmarks.plots import Plot
from benchmarks.sessions import bare_session
from captcha_rt import Solver, decode_image
from captcha_rt.device import CPU
from captcha_rt.diagnostics.stages import time_stages
from captcha_rt.manifest import Manifest
from captcha_rt.model import detach
from captcha_rt.tiles import suit_processor

MODELS: Final = {
    DEFAULT: "captcha_v2",
    **{name: plan.data for name, plan in PLANS.items()},
}
"""The networks, each with the set of pictures that it reads."""

BATCHES: Final = (1, 32)
READ: Final = 100  # pictures that each way reads
SECONDS: Final = 8.0  # time to measure one network at one batch size
TURN: Final = 0.02  # seconds of a turn: at its first run the caches hold another way's data
RUNS_IN_TURN: Final = 3, 20  # at least and at most
PLOTS: Final[tuple[Plot, ...]] = ()

Array = NDArray[np.float32]
Way = Callable[[Array], Array]
"""A way to run a network: from inputs `(N, ...)` to scores `(N, ...)`."""


def ways(
    model: Any,  # noqa: ANN401
    manifest: Manifest,
    in_float: bytes,
    in_best: bytes,
) -> dict[str, Way]:
    """The ways to run a network, by name.

    Args:
        model: The Keras model, which ends in a softmax.
        manifest: The model's manifest.
        in_float: The bytes of our float export.
        in_best: The bytes of our export in its best form.
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
        "captcha-rt, best form": onnx(in_best),
    }


def with_probabilities(model: Any) -> Any:  # noqa: ANN401
    """A network with a softmax at its end, as our exports have one."""
    import keras

    return keras.Model(model.inputs, keras.layers.Softmax()(model.outputs[0]))


def tflite(model: Any, shape: Sequence[int | None], optimizations: list[Any]) -> Way:  # noqa: ANN401
    """The network in TFLite, on one thread.

    Each batch size has its own graph: LSTMs can't be converted with a symbolic batch.

    Args:
        model: The Keras model.
        shape: The shape of the model's input, `(N, ...)`.
        optimizations: TFLite's optimisations; none keeps float32.
    """
    import keras
    import tensorflow as tf

    @cache
    def interpreter(batch: int) -> tuple[Any, int, int]:
        image = keras.Input(batch_shape=(batch, *shape[1:]))
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(image, model(image)))
        converter.optimizations = optimizations
        network = tf.lite.Interpreter(model_content=converter.convert(), num_threads=1)
        network.allocate_tensors()
        ends = network.get_input_details(), network.get_output_details()
        return network, *(details[0]["index"] for details in ends)

    def run(x: Array) -> Array:
        network, source, result = interpreter(len(x))
        network.set_tensor(source, x)
        network.invoke()
        return np.asarray(network.get_tensor(result))

    return run


def onnx(graph: bytes) -> Way:
    """A graph in onnxruntime, on one thread, as a `Session` loads it."""
    session = bare_session(suit_processor(graph))
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0])


def compare(name: str, pictures: list[tuple[Path, str]], runs: Path = RUNS) -> dict[str, Any]:
    """Measures one network in all ways.

    Args:
        name: One of `MODELS`.
        pictures: Pictures with their labels. The first `READ` are read; by the others our export
            chooses its form.
        runs: The folder of the runs.

    Returns:
        Milliseconds a picture by batch size and way, how many pictures each way reads right, and
        what `measure_stages` returns.
    """
    model, manifest, trained = keras_model(name, runs)
    in_float = exported(model, manifest)
    in_best, report = best_form(model, manifest, pictures[READ:])
    pictures = pictures[:READ]
    tensors = np.stack([manifest.recipe.apply(decode_image(path)) for path, _ in pictures])
    running = ways(with_probabilities(model), manifest, in_float, in_best)
    described = detach(in_float)
    right = {}
    for way, run in running.items():
        texts = [described.decode(run(manifest.batch(tensor[None])))[0][0] for tensor in tensors]
        right[way] = sum(text == label for text, (_, label) in zip(texts, pictures, strict=True))
    batches = {}
    for batch in BATCHES:
        rows = manifest.batch(tensors[np.arange(batch) % len(tensors)])
        batches[str(batch)] = time_batch(running, rows, batch)
    files = [path.read_bytes() for path, _ in pictures]
    return {
        "trained": trained,
        "pictures": len(pictures),
        "right": right,
        "forms": asdict(report),
        "milliseconds_a_picture": batches,
        "stages": measure_stages(in_best, files),
    }


def time_batch(running: Mapping[str, Way], rows: Array, batch: int) -> dict[str, dict[str, float]]:
    """Times all ways on a batch, in turn.

    Args:
        running: The ways by name.
        rows: The inputs `(N, ...)`.
        batch: The number of pictures. There are more rows than pictures if a picture becomes
            several glyphs.

    Returns:
        For each way what `in_turn` returns, in milliseconds a picture.
    """
    calls = {way: partial(run, rows) for way, run in running.items()}
    times: dict[str, dict[str, float]] = {}
    for keras in (True, False):  # Keras's own ways take much longer, and so have turns of their own
        group = {way: call for way, call in calls.items() if way.startswith("model") == keras}
        seconds = _seconds(group)
        least, most = RUNS_IN_TURN
        runs = max(least, min(most, round(TURN / max(seconds))))
        rounds = max(7, min(100, round(SECONDS / 2 / runs / sum(seconds))))
        times |= in_turn(group, rounds=rounds, runs=runs)
    return {
        way: {key: rounded(value / batch) for key, value in times[way].items()} for way in calls
    }


def _seconds(calls: Mapping[str, Callable[[], Any]]) -> list[float]:
    """The seconds that a run of each takes, after one that isn't timed."""
    found = []
    for call in calls.values():
        call()
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return found


def measure_stages(model: bytes, files: Sequence[bytes]) -> dict[str, float]:
    """Times `Solver.solve`, decoding and the session, in turn.

    Args:
        model: The `.onnx` file.
        files: Encoded pictures.

    Returns:
        Median milliseconds of the three, and `overhead`: the time of `solve` divided by the sum of
        the other two, minus 1.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model)
        solver = Solver(path, device="cpu")
    times = time_stages(solver, [files[0], *_repeated(solver, files)])
    medians = {stage: statistics.median(values[1:]) for stage, values in times.items()}
    decode, session, solve = (medians[stage] for stage in ("decode", "session", "whole"))
    overhead = solve / (decode + session) - 1
    found = {"decode": decode, "session": session, "solve": solve, "overhead": overhead}
    return {name: rounded(value) for name, value in found.items()}


def _repeated(solver: Solver, files: Sequence[bytes]) -> Iterator[bytes]:
    """Repeats the files for a few seconds; at least once, at most eight times."""
    started = time.perf_counter()
    for file in files[:5]:
        solver.solve(file)
    seconds = (time.perf_counter() - started) / 5
    rounds = max(1, round(SECONDS / 6 / len(files) / seconds))
    for _ in range(min(rounds, 8)):
        yield from files


def table(result: Result) -> str:
    """The result in words and tables, in Markdown."""
    return (
        "One core. A picture at batch 1:\n\n"
        + times_table(result)
        + "\nA picture at batch 32:\n\n"
        + times_table(result, 32)
        + "\nFaster than ours, one at a time:\n\n"
        + markdown.bullets(where_other_ways_win(result))
        + "\nPictures read right, and what `Solver.solve` takes beyond decoding the "
        "picture and running the network:\n\n" + reading_table(result)
    )


def times_table(result: Result, batch: int = 1) -> str:
    """Milliseconds a picture, by network and way."""
    models = result["models"]
    ways = list(next(iter(models.values()))["right"])
    rows = []
    for name, entry in models.items():
        times = entry["milliseconds_a_picture"][str(batch)]
        rows.append((f"`{name}`", *(markdown.milliseconds(times[way]["p50"]) for way in ways)))
    code = (f"`{way}`" if "(" in way or "." in way else way for way in ways)
    return markdown.table(("network", *code), rows)


def where_other_ways_win(result: Result) -> Iterator[str]:
    """The networks that another way runs faster than both of ours, one picture at a time."""
    for name, entry in result["models"].items():
        times = {way: row["p50"] for way, row in entry["milliseconds_a_picture"]["1"].items()}
        own = min(value for way, value in times.items() if way.startswith(OURS))
        for way, value in times.items():
            if value < own:
                yield f"{way} runs `{name}` in {value:.3f} ms, ours in {own:.3f} ms"


def reading_table(result: Result) -> str:
    """How many pictures each way reads right, our best form, and what `Solver.solve` adds."""
    models = result["models"]
    ways = list(next(iter(models.values()))["right"])
    rows, form = [], []
    for name, entry in models.items():
        right = entry["right"] if entry["trained"] else dict.fromkeys(ways, "not trained")
        overhead = f"{entry['stages']['overhead']:+.1%}"
        form = [entry["forms"]["chosen"]["form"]] if "forms" in entry else []
        counts = (right[way] for way in ways)
        rows.append((f"`{name}`", *counts, entry["pictures"], *form, overhead))
    chosen = ["best form"] if form else []
    columns = ("network", *ways, "pictures", *chosen, "solve over decode and session")
    return markdown.table(columns, rows)


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Measures all networks on one core, and writes the result file."""
    command_parser("origin", __doc__).parse_args(argv)
    data = captcha_data()
    if hasattr(os, "sched_setaffinity"):  # before TensorFlow starts its threads
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    part = Part("origin", runs, results)
    pictures = unseen_pictures(data)
    rows = {}
    for name, kind in MODELS.items():
        say(f"[bold]{name}[/bold]")
        rows[name] = part.row(name, partial(compare, name, pictures[kind][: 2 * READ], runs))
        say(rows[name]["milliseconds_a_picture"]["1"], rows[name]["stages"])
    part.finish(
        {
            "provider": CPU,
            "threads": 1,
            "versions": {name: version(name) for name in ("tensorflow", "keras", "tf2onnx")},
            "models": rows,
        }
    )
