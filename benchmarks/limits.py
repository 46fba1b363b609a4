"""How near to the machine's limit the models run: `python benchmarks/limits.py`.

No session is faster than its products and the memory that it touches allow. What one core of this
machine can do is measured: multiply-adds a second of matrix products and convolutions in
onnxruntime, in float32 and in 8 bits, and bytes a second of copies. The limit of a model is the
longer of two times, that of its multiply-adds and that of its bytes, at the best of those rates;
its share is the limit over the session's median, one picture on one thread, the models in turn.
Writes `benchmarks/results/limits.json`. Stopped, it goes on where it was. Takes a minute.

Not in the limit is what isn't a product (activations, pooling, transposes, softmax), that an LSTM's
steps wait for each other, and the call itself: together they are the rest of the time.
"""

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

# NumPy's product beside onnxruntime's runs on one thread, too; it looks when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import onnx
from onnx import helper, numpy_helper
from rich.console import Console

from captcha_rt import Solver
from captcha_rt.manifest import detach
from captcha_rt.session import CPU, Session, import_onnxruntime
from harness import SAMPLES, Part, in_turn, rounded
from models import MODELS, noise, preset_model

SIZES = (512, 768, 1024)  # of square matrices
PICTURE, FILTERS = (1, 128, 34, 66), (128, 128, 3, 3)  # of a convolution
LARGE, SMALL = 256_000_000, 256_000  # bytes to copy: beyond all caches, and in the core's own
ROUNDS = {"rates": 15, "models": 60, "path": 500}
RUNS = 5  # of a model in a turn: the first finds the caches full of another's data

# Operators that multiply, with the places of what they multiply among their inputs.
_PRODUCTS = {
    **dict.fromkeys(("MatMul", "Gemm", "Conv", "ConvTranspose", "LSTM", "GRU", "RNN"), (0, 1)),
    **dict.fromkeys(("MatMulInteger", "ConvInteger"), (0, 1)),
    **dict.fromkeys(("QLinearMatMul", "QLinearConv"), (0, 3)),
}

Call = Callable[[], object]
K = TypeVar("K")

say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Product:
    """A node that multiplies, and what it costs at least.

    Attributes:
        operator: Its type.
        multiply_adds: Their number, for the whole batch.
        kind: `"int8"` or `"float32"`: what it multiplies.
        moved: The bytes of the activations that it reads and writes.
    """

    operator: str
    multiply_adds: int
    kind: str
    moved: int


def multiply_adds(proto: onnx.ModelProto, batch: int = 1) -> int:
    """The multiply-adds of a graph's dense, convolutional and recurrent layers.

    Args:
        proto: A graph whose inputs' first axis is the batch; in float32 or quantised.
        batch: So many rows go in.

    Raises:
        ValueError: If a shape can't be known.
    """
    return sum(product.multiply_adds for product in products(proto, batch))


def products(proto: onnx.ModelProto, batch: int = 1) -> list[Product]:
    """A graph's products, in order; arguments and errors are those of `multiply_adds`.

    What lies between two products counts as written once and read once, in 8 bits where it is
    quantised: activations and rounding can be done on the way.
    """
    shapes = infer_shapes(proto, batch)
    constants = {tensor.name for tensor in proto.graph.initializer}
    maker = {name: node for node in proto.graph.node for name in node.output}

    def dequantised(name: str) -> bool:
        return name in maker and maker[name].op_type == "DequantizeLinear"

    def is_weight(name: str) -> bool:
        return name in constants or (dequantised(name) and maker[name].input[0] in constants)

    def shape(name: str) -> tuple[int, ...]:
        if name not in shapes:
            raise ValueError(f"the shape of {name!r} can't be known")
        return shapes[name]

    found = []
    for node in proto.graph.node:
        if node.op_type not in _PRODUCTS:
            continue
        factors = [node.input[place] for place in _PRODUCTS[node.op_type]]
        linear = node.op_type.startswith("QLinear")
        int8 = linear or "Integer" in node.op_type or all(map(dequantised, factors))
        read = sum(math.prod(shape(name)) for name in factors if not is_weight(name))
        written = sum(math.prod(shape(name)) for name in node.output if name)
        rounds = linear or _is_quantised(proto, node.output[0])
        moved = read * (1 if int8 else 4) + written * (1 if rounds else 4)
        count = _count(node, shape)
        found.append(Product(node.op_type, count, "int8" if int8 else "float32", moved))
    return found


def infer_shapes(proto: onnx.ModelProto, batch: int) -> dict[str, tuple[int, ...]]:
    """The shapes of a graph's values with so many rows; those that can't be known are left out."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(proto)
    for value in fixed.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = batch
    graph = onnx.shape_inference.infer_shapes(fixed, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        axes = value.type.tensor_type.shape.dim
        ranked = value.type.tensor_type.HasField("shape")
        if ranked and all(axis.HasField("dim_value") for axis in axes):
            shapes[value.name] = tuple(axis.dim_value for axis in axes)
    return shapes


def _is_quantised(proto: onnx.ModelProto, name: str) -> bool:
    """Whether all that becomes of a value, maybe after a ReLU, is its quantisation."""
    users = [node for node in proto.graph.node if name in node.input]
    return bool(users) and all(
        node.op_type == "QuantizeLinear"
        or (node.op_type == "Relu" and _is_quantised(proto, node.output[0]))
        for node in users
    )


def _count(node: onnx.NodeProto, shape: Callable[[str], tuple[int, ...]]) -> int:
    """The multiply-adds of one product."""
    left, right = (shape(node.input[place]) for place in _PRODUCTS[node.op_type])
    if node.op_type in ("LSTM", "GRU", "RNN"):  # (T, N, ...); all gates' weights at each step
        return math.prod(left[:2]) * (math.prod(right) + math.prod(shape(node.input[2])))
    if node.op_type == "ConvTranspose":  # each input meets all of its channel's weights
        return math.prod(left) * math.prod(right[1:])
    results = math.prod(shape(node.output[0]))
    if "Conv" in node.op_type:  # each result comes from all of its filter's weights
        return results * math.prod(right[1:])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return results * left[-2 if transposed else -1]


def kernel(operator: str, rows: np.ndarray, weights: np.ndarray) -> tuple[int, Call]:
    """A graph of one product in onnxruntime, on one thread.

    Args:
        operator: Its type: `MatMul` or `Conv`, or a `QLinear` one, with scales of 1.
        rows: What goes in: float32, or uint8 for a quantised one.
        weights: What it is multiplied with, a constant: float32, or int8.

    Returns:
        Its multiply-adds, and what to call.
    """
    constants: dict[str, np.ndarray] = {"w": weights}
    names = ["x", "w"]
    if operator.startswith("QLinear"):
        names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"]
        for value, dtype in (("x", np.uint8), ("w", np.int8), ("y", np.uint8)):
            constants[f"{value}_scale"] = np.ones((), np.float32)
            constants[f"{value}_zero"] = np.zeros((), dtype)
    kind = helper.np_dtype_to_tensor_dtype(rows.dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"])],
        operator,
        [helper.make_tensor_value_info("x", kind, rows.shape)],
        [helper.make_tensor_value_info("y", kind, [None] * rows.ndim)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=[CPU])
    return multiply_adds(proto, len(rows)), partial(session.run, None, {"x": rows})


def measure_rates(
    sizes: Sequence[int] = SIZES, large: int = LARGE, rounds: int = ROUNDS["rates"]
) -> dict[str, list[dict[str, Any]]]:
    """What one core can do: multiply-adds and copied bytes a second, the best of some rounds.

    Args:
        sizes: The square matrices' sizes.
        large: The bytes of a copy through the main memory.
        rounds: So often each has its turn.

    Returns:
        Rows of `products` and of `copies`, which count bytes read and bytes written.
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


def _copy(target: np.ndarray, source: np.ndarray, times: int) -> None:
    for _ in range(times):
        np.copyto(target, source)


def fastest(calls: Mapping[K, Call], rounds: int) -> dict[K, float]:
    """The fewest seconds of each call, in alternating rounds after one that doesn't count."""
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
) -> list[dict[str, Any]]:
    """Each model's work, its limit at the best rates, and how near to it the session is.

    Args:
        rates: What `measure_rates` found.
        models: Their names.
        rounds: So often each has its turn.

    Returns:
        A row a model. Its bytes are divided by the rate of a copy within the core's cache if the
        largest cache holds them all, else by that of the main memory, as `memory` says.
    """
    best = {
        kind: max(r["multiply_adds_a_second"] for r in rates["products"] if r["kind"] == kind)
        for kind in ("float32", "int8")
    }
    cached, main = (copy["bytes_a_second"] for copy in rates["copies"])
    rows: dict[str, dict[str, Any]] = {}
    calls: dict[str, Call] = {}
    for name in models:
        data, trained = preset_model(name)
        manifest = detach(data)
        calls[name] = partial(Session(data, manifest, device="cpu").run, noise(manifest))
        proto = onnx.load_from_string(data)
        found = products(proto, manifest.glyphs or 1)
        weights = sum(numpy_helper.to_array(t).nbytes for t in proto.graph.initializer)
        moved = weights + sum(product.moved for product in found)
        fits = moved <= cache_size()
        arithmetic = rounded(sum(p.multiply_adds / best[p.kind] for p in found) * 1000)
        memory = rounded(moved / (cached if fits else main) * 1000)
        rows[name] = {
            "model": name,
            "trained": trained,
            "multiply_adds": sum(p.multiply_adds for p in found),
            "int8_multiply_adds": sum(p.multiply_adds for p in found if p.kind == "int8"),
            "weight_bytes": weights,
            "activation_bytes": moved - weights,
            "memory": "cache" if fits else "main memory",
            "arithmetic_ms": arithmetic,
            "bytes_ms": memory,
            "limit_ms": max(arithmetic, memory),
        }
    times = in_turn(calls, rounds=rounds, runs=RUNS)
    for name, row in rows.items():
        row["session_ms"] = times[name]["p50"]
        row["share"] = rounded(row["limit_ms"] / row["session_ms"])
    return list(rows.values())


def measure_path(rounds: int = ROUNDS["path"]) -> dict[str, float]:
    """The session's share of `Solver.solve`: the embedded model, one picture's bytes."""
    solver = Solver(device="cpu")
    calls: dict[str, Call] = {
        "session": partial(solver.session.run, noise(solver.manifest)),
        "solve": partial(solver.solve, SAMPLES[0].read_bytes()),
    }
    times = in_turn(calls, rounds=rounds)
    session, solve = times["session"]["p50"], times["solve"]["p50"]
    return {"session_ms": session, "solve_ms": solve, "share": rounded(session / solve)}


def main() -> None:
    """Measures the rates, then the models, and writes both."""
    part = Part("limits")
    rates = part.row("rates", measure_rates)
    models = part.row("models", partial(measure_models, rates))
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


if __name__ == "__main__":
    main()
