"""How near to the machine's limit the models run: `python -m benchmarks limits`.

No session can be faster than its multiply-adds and its memory traffic allow. First the command
measures what one core of this machine can do: multiply-adds a second of matrix products and
convolutions in onnxruntime, in float32 and in 8 bits, and bytes a second of copies. At the best of
these rates, a model needs one time for its multiply-adds and one for its bytes; the longer is its
limit. The command compares the limit with the session's median time for one picture on one thread;
the models take turns. Writes `benchmarks/results/limits.json`. A stopped command continues where it
was. It takes a minute.

The limit leaves out the layers that are not products (activations, pooling, transposes, softmax),
the waiting of an LSTM's time steps for each other, and the call itself. They are the rest of the
session's time.
"""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

# NumPy's product, which is compared with onnxruntime's, runs on one thread as well. OpenBLAS reads
# the variable when NumPy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from benchmarks import markdown
from benchmarks.harness import (
    RESULTS,
    RUNS,
    SAMPLES,
    Part,
    Result,
    command_parser,
    in_turn,
    rounded,
    say,
)
from benchmarks.models import MODELS, noise, preset_model
from benchmarks.plots import Plot
from benchmarks.sessions import bare_session
from benchmarks.speed.multiply_adds import multiply_adds, products
from captcha_rt import Solver
from captcha_rt.device import CPU
from captcha_rt.model import EMBEDDED, detach
from captcha_rt.session import Session

SIZES: Final = (512, 768, 1024)  # rows and columns of square matrices
PICTURE, FILTERS = (1, 128, 34, 66), (128, 128, 3, 3)  # the shapes of a convolution's factors
# Bytes to copy: LARGE is more than all caches hold, SMALL fits into the core's own cache.
LARGE, SMALL = 256_000_000, 256_000
ROUNDS: Final = {"rates": 15, "models": 60, "path": 500}
TURN: Final = 5  # runs of a model in a turn: at the first the caches hold another model's data
PLOTS: Final[tuple[Plot, ...]] = ()

Call = Callable[[], object]
K = TypeVar("K")


def kernel(operator: str, rows: NDArray[Any], weights: NDArray[Any]) -> tuple[int, Call]:
    """A graph of one product in onnxruntime, on one thread.

    Args:
        operator: `MatMul` or `Conv`, or `QLinearMatMul` or `QLinearConv` with scales of 1.
        rows: The input: float32, or uint8 for a quantised operator.
        weights: The constant factor: float32, or int8.

    Returns:
        The number of multiply-adds, and a function that runs the graph.
    """
    constants: dict[str, NDArray[Any]] = {"w": weights}
    names = ["x", "w"]
    if operator.startswith("QLinear"):
        names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"]
        for value, dtype in (("x", np.uint8), ("w", np.int8), ("y", np.uint8)):
            constants[f"{value}_scale"] = np.ones((), np.float32)
            constants[f"{value}_zero"] = np.zeros((), dtype)
    element_type = helper.np_dtype_to_tensor_dtype(rows.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"])],
        operator,
        [helper.make_tensor_value_info("x", element_type, rows.shape)],
        [helper.make_tensor_value_info("y", element_type, [None] * rows.ndim)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = bare_session(proto.SerializeToString())
    return multiply_adds(proto, len(rows)), partial(session.run, None, {"x": rows})


def measure_rates(
    sizes: Sequence[int] = SIZES, large: int = LARGE, rounds: int = ROUNDS["rates"]
) -> dict[str, list[dict[str, Any]]]:
    """What one core can do: multiply-adds and copied bytes a second, in the best round.

    Args:
        sizes: The sizes of the square matrices.
        large: How many bytes a copy through the main memory has.
        rounds: How many turns each product and each copy has.

    Returns:
        Rows of `products` and of `copies`; bytes read and bytes written both count.
    """
    rng = np.random.default_rng(0)
    factors: dict[str, tuple[str, tuple[int, ...], tuple[int, ...]]]
    factors = {f"matrix {n}": ("MatMul", (n, n), (n, n)) for n in sizes}
    factors["convolution"] = ("Conv", PICTURE, FILTERS)
    work: dict[tuple[str, str, str], tuple[float, Call]] = {}
    for what, (operator, left, right) in factors.items():
        x, w = rng.random(left, np.float32), rng.random(right, np.float32)
        count, call = kernel(operator, x, w)
        work["onnxruntime", "float32", what] = count, call
        if operator == "MatMul":
            work["numpy", "float32", what] = count, partial(np.matmul, x, w)
        x8, w8 = (255 * x).astype(np.uint8), (127 * w - 64).astype(np.int8)
        work["onnxruntime", "int8", what] = kernel(f"QLinear{operator}", x8, w8)
    copies = {SMALL: 1000, large: 1}
    for size, times in copies.items():
        source, target = np.ones(size, np.uint8), np.zeros(size, np.uint8)
        work["numpy", "copy", f"{size}"] = 2 * size * times, partial(_copy, target, source, times)
    seconds = fastest({key: call for key, (_, call) in work.items()}, rounds)
    rates = {key: rounded(work[key][0] / seconds[key]) for key in work}
    return {
        "products": [
            {"library": library, "kind": kind, "product": what, "multiply_adds_a_second": rate}
            for (library, kind, what), rate in rates.items()
            if kind != "copy"
        ],
        "copies": [
            {"bytes": size, "bytes_a_second": rates["numpy", "copy", f"{size}"]} for size in copies
        ],
    }


def _copy(target: NDArray[np.uint8], source: NDArray[np.uint8], times: int) -> None:
    for _ in range(times):
        np.copyto(target, source)


def fastest(calls: Mapping[K, Call], rounds: int) -> dict[K, float]:
    """The shortest time of each call in seconds, in alternating rounds after a warm-up round."""
    seconds = dict.fromkeys(calls, math.inf)
    for number in range(rounds + 1):
        for key, call in calls.items():
            started = time.perf_counter()
            call()
            if number:
                seconds[key] = min(seconds[key], time.perf_counter() - started)
    return seconds


def cache_size() -> int:
    """The bytes of the core's largest cache; 0 if the system doesn't tell."""
    files = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    return max((int(file.read_text("utf-8").strip("K\n")) * 1024 for file in files), default=0)


def measure_models(
    rates: Mapping[str, Sequence[Mapping[str, Any]]],
    models: Sequence[str] = MODELS,
    rounds: int = ROUNDS["models"],
    runs: Path = RUNS,
) -> list[dict[str, Any]]:
    """The work of each model, its limit, and how near the session comes to the limit.

    Args:
        rates: What `measure_rates` returned.
        models: The models' names.
        rounds: How many turns each model has.
        runs: The folder of the runs.

    Returns:
        A row for each model.
    """
    rows: dict[str, dict[str, Any]] = {}
    calls: dict[str, Call] = {}
    for name in models:
        data, trained = preset_model(name, runs)
        manifest = detach(data)
        calls[name] = partial(Session(data, manifest, device="cpu").run, noise(manifest))
        work = limit(onnx.load_from_string(data), manifest.glyphs or 1, rates)
        rows[name] = {"model": name, "trained": trained, **work}
    times = in_turn(calls, rounds=rounds, runs=TURN)
    for name, row in rows.items():
        row["session_ms"] = times[name]["p50"]
        row["share"] = rounded(row["limit_ms"] / row["session_ms"])
    return list(rows.values())


def limit(
    proto: onnx.ModelProto, batch: int, rates: Mapping[str, Sequence[Mapping[str, Any]]]
) -> dict[str, Any]:
    """The work of a graph, and the shortest time that it can take at the best rates.

    Args:
        proto: The graph.
        batch: The number of rows that one picture becomes: 1, or its glyphs.
        rates: What `measure_rates` returned.

    Returns:
        The counts, and the times in milliseconds. `memory` says which rate of copies applies: that
        within the core's cache if the largest cache holds all bytes of the model, else that
        through the main memory.
    """
    best = {
        kind: max(r["multiply_adds_a_second"] for r in rates["products"] if r["kind"] == kind)
        for kind in ("float32", "int8")
    }
    cached, main = (copy["bytes_a_second"] for copy in rates["copies"])
    found = products(proto, batch)
    weights = sum(numpy_helper.to_array(t).nbytes for t in proto.graph.initializer)
    moved = weights + sum(product.moved for product in found)
    fits = moved <= cache_size()
    arithmetic_ms = rounded(sum(p.multiply_adds / best[p.kind] for p in found) * 1000)
    bytes_ms = rounded(moved / (cached if fits else main) * 1000)
    return {
        "multiply_adds": sum(p.multiply_adds for p in found),
        "int8_multiply_adds": sum(p.multiply_adds for p in found if p.kind == "int8"),
        "weight_bytes": weights,
        "activation_bytes": moved - weights,
        "memory": "cache" if fits else "main memory",
        "arithmetic_ms": arithmetic_ms,
        "bytes_ms": bytes_ms,
        "limit_ms": max(arithmetic_ms, bytes_ms),
    }


def measure_path(rounds: int = ROUNDS["path"]) -> dict[str, float]:
    """The times of the session and of `Solver.solve`, with the embedded model.

    Returns:
        Median milliseconds of both, and `share`: the session's time divided by that of `solve`.
    """
    solver = Solver(EMBEDDED, device="cpu")
    calls: dict[str, Call] = {
        "session": partial(solver.session.run, noise(solver.manifest)),
        "solve": partial(solver.solve, SAMPLES[0].read_bytes()),
    }
    times = in_turn(calls, rounds=rounds)
    session, solve = times["session"]["p50"], times["solve"]["p50"]
    return {"session_ms": session, "solve_ms": solve, "share": rounded(session / solve)}


def table(result: Result) -> str:
    """The result as a table in Markdown: each model's limit beside its session."""
    columns = ("model", "million multiply-adds", "limit", "session", "share of the limit")
    rows = []
    for row in result["models"]:
        adds = f"{row['multiply_adds'] / 1e6:.1f}"
        times = (f"{row[key]:.3f} ms" for key in ("limit_ms", "session_ms"))
        rows.append((f"`{row['model']}`", adds, *times, f"{row['share']:.0%}"))
    return markdown.table(columns, rows)


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Measures the rates, then the models, and writes the result file."""
    command_parser("limits", __doc__).parse_args(argv)
    part = Part("limits", runs, results)
    rates = part.row("rates", measure_rates)
    models = part.row("models", partial(measure_models, rates, runs=runs))
    path = part.row("path", measure_path)
    for row in (*rates["products"], *rates["copies"], *models, path):
        say(row)
    part.finish(
        {
            **rates,
            "cache_bytes": cache_size(),
            "models": models,
            "path": path,
            "provider": CPU,
            "threads": 1,
            "rounds": ROUNDS,
        }
    )
