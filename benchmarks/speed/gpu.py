"""What a GPU gains: `python -m benchmarks gpu`, where `captcha-rt[gpu]` works.

Runs three models on CUDA and on the CPU, at batch sizes from 1 to 1024: the embedded model, its
float export and the `crnn` preset, the last two if their runs are in `benchmarks/runs`. On CUDA a
model runs

- from NumPy arrays,
- with input and output bound to the GPU's memory, with and without the copies there and back,
- as a CUDA graph, which is captured once for a batch size and replayed.

Float graphs run with and without TF32, and in half precision. An int8 graph runs unchanged, with
TF32, since CUDA may compute it in float. The ways to run a batch on the CPU take turns, and so do
the ways on the GPU.

Beside each time stands how similar the answers are to the CPU's: the fraction of the generated
pictures with the same text, and the largest difference of a score. The CPU runs the same graph, in
float32 or int8, with one thread and in the same batches. If a way fails, its row holds the error.
The results also say which provider runs each graph's nodes, since onnxruntime keeps some on the
CPU; such a graph can't be captured.

Slow ways have fewer rounds, and 128 pictures are compared, or one larger batch: with 21 rounds and
all pictures for each way, `crnn` came to batch 8 in 230 s.

Writes `benchmarks/results/gpu.json`. A stopped command continues where it was. Where CUDA doesn't
work, the command says why and writes nothing: times of the CPU never appear under CUDA's name.
`--table` prints the README's table.
"""

import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.harness import (
    RESULTS,
    RUNS,
    Part,
    command_parser,
    in_turn,
    read_json,
    rounded,
    say,
)
from benchmarks.plots import Plot
from benchmarks.speed.gpu_tables import short_table, table
from benchmarks.speed.gpu_ways import (
    Array,
    Device,
    Precision,
    Way,
    cpu_ways,
    device_ways,
    precisions,
    providers,
)
from captcha_rt import InstallationError, ProviderError, Solver
from captcha_rt.device import CPU
from captcha_rt.manifest import Manifest
from captcha_rt.model import Model, load_model
from captcha_rt.session import import_onnxruntime
from captcha_rt_train.generators.kaptcha import draw, random_text

BATCHES: Final = tuple(2**n for n in range(11))
ROUNDS, WARM_UP = 21, 5  # turns of each way at each batch size, and runs before them
GROUP_SECONDS: Final = 5.0
"""About the longest time of all turns on the CPU, or on the GPU, at one batch size."""

SIMILAR: Final = 128
"""The pictures whose answers are compared, or those of one batch if that holds more."""

SEED: Final = 0
MODELS: Final = {
    "default": None,
    "default, float": "default/float.onnx",
    "crnn": "crnn/model.onnx",
}
"""The models by name: a file in `benchmarks/runs`, or None for the embedded model."""

__all__ = ["PLOTS", "main", "table"]

PLOTS: Final[tuple[Plot, ...]] = ()


def measure(
    model: Model, inputs: Array, batch: int, *, device: Device = "cuda", rounds: int = ROUNDS
) -> list[dict[str, Any]]:
    """Times all ways to run a batch.

    Args:
        model: The model.
        inputs: The inputs of all pictures, `(N, ...)`; N is a multiple of the batch size.
        batch: The batch size.
        device: The device that is compared with the CPU.
        rounds: How many turns each way has.

    Returns:
        A row for each way: its facts, percentiles in milliseconds a batch, pictures a second, and
        what `similarity` returns.
    """
    inputs = inputs[: max(batch, SIMILAR)]
    on_cpu = [*cpu_ways(model, inputs[:batch])]
    on_device, failed = ways_that_work(model, inputs[:batch], device)
    expected = read_all(on_cpu[0], inputs, batch)
    ways = on_cpu + on_device
    similarities = [similarity(way, inputs, batch, expected, model.manifest) for way in ways]
    times: list[dict[str, float]] = []
    for group, runs in ((on_cpu, max(1, 32 // batch)), (on_device, 10)):
        calls = {str(n): way.call for n, way in enumerate(group)}
        turns = fitting(group, runs, rounds)
        timed = in_turn(calls, rounds=turns, runs=runs, warm_up=min(WARM_UP, turns))
        times += [{**row, "rounds": turns} for row in timed.values()]
    rows = [
        {**way.facts, **row, "pictures_a_second": rounded(1000 * batch / row["p50"]), **similar}
        for way, row, similar in zip(ways, times, similarities, strict=True)
    ]
    return [{"batch": batch, **row} for row in rows + failed]


def fitting(ways: Sequence[Way], runs: int, rounds: int) -> int:
    """The number of rounds that fit into `GROUP_SECONDS`: at least three, at most `rounds`."""
    start = time.perf_counter()
    for way in ways:
        way.call()
    round_ = runs * (time.perf_counter() - start)
    return max(min(3, rounds), min(rounds, int(GROUP_SECONDS / max(round_, 1e-9))))


def ways_that_work(
    model: Model, batch: Array, device: Device
) -> tuple[list[Way], list[dict[str, Any]]]:
    """Tries all ways to run a batch on a device.

    Args:
        model: The model.
        batch: The inputs `(N, ...)`.
        device: The device.

    Returns:
        The ways that work, and a row with the error for each that fails.
    """
    ways: list[Way] = []
    failed: list[dict[str, Any]] = []
    for precision in precisions(model.data):
        for how in ("numpy", "bound", "captured") if device == "cuda" else ("numpy", "bound"):
            try:
                if how == "captured":
                    refuse_capture(nodes(precision, device))
                made = device_ways(precision, model.manifest, batch, device, how)
                made[0].read(batch)
            except Exception as error:  # noqa: BLE001  (onnxruntime's share no base class)
                which = {"precision": precision.name, "tf32": precision.tf32, "how": how}
                failed.append({**which, "failed": f"{type(error).__name__}: {error!s:.300}"})
            else:
                ways += made
    return ways, failed


def refuse_capture(placed: Mapping[str, int]) -> None:
    """Raises an error if nodes of a graph stay on the CPU: onnxruntime can't capture it then.

    Args:
        placed: How many nodes each provider runs.
    """
    if left := placed.get(CPU, 0):
        raise ProviderError(
            f"{left} of {sum(placed.values())} nodes stay on the CPU, so there is no CUDA graph"
        )


def read_all(way: Way, inputs: Array, batch: int) -> Array:
    """Reads all pictures batch by batch; returns their scores `(N, ...)`."""
    starts = range(0, len(inputs), batch)
    return np.concatenate([way.read(inputs[start : start + batch]) for start in starts])


def similarity(
    way: Way, inputs: Array, batch: int, expected: Array, manifest: Manifest
) -> dict[str, float]:
    """How similar a way's answers are to the expected ones.

    Args:
        way: The way.
        inputs: The inputs of all pictures, `(N, ...)`.
        batch: The batch size.
        expected: The expected scores `(N, ...)`.
        manifest: The model's manifest.

    Returns:
        `agreement`, the fraction of the texts that are the same, and the largest difference of a
        score.
    """
    scores = read_all(way, inputs, batch)
    difference = float(np.abs(scores - expected).max())
    return {
        "agreement": agreement(texts(scores, manifest), texts(expected, manifest)),
        "largest_difference": rounded(difference),
    }


def agreement(some: Sequence[str], others: Sequence[str]) -> float:
    """The fraction of the texts that are the same, in 0..1."""
    return sum(a == b for a, b in zip(some, others, strict=True)) / len(some)


def texts(scores: Array, manifest: Manifest) -> list[str]:
    """The texts that the model's decoder reads from scores."""
    return [text for text, _ in manifest.decode(scores)]


def generated(model: Model, count: int) -> tuple[Array, list[str]]:
    """Draws pictures of captcha_v2's kind.

    Returns:
        The model's inputs `(count, ...)`, and the texts of the pictures.
    """
    rng = np.random.default_rng(SEED)
    shown = [random_text(rng) for _ in range(count)]
    pictures = [draw(text, rng)[..., np.newaxis] for text in shown]
    return np.stack([model.manifest.recipe.apply(picture) for picture in pictures]), shown


def nodes(precision: Precision, device: Device) -> dict[str, int]:
    """How many nodes of a graph each provider runs."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    asked = providers(device, tf32=precision.tf32)
    session = ort.InferenceSession(precision.data, options, providers=asked)
    parts = session.get_provider_graph_assignment_info()
    return dict(Counter(part.ep_name for part in parts for _ in part.get_nodes()))


def describe(model: Model, inputs: Array, shown: Sequence[str], device: Device) -> dict[str, Any]:
    """The model's name, bytes and exact match on the CPU, and the providers of its nodes."""
    way = next(cpu_ways(model, inputs[:1]))
    read = texts(read_all(way, inputs, 1), model.manifest)
    return {
        "name": model.manifest.name,
        "bytes": len(model.data),
        "exact_match_on_cpu": agreement(read, shown),
        "nodes": [
            {"precision": p.name, "tf32": p.tf32, "nodes": nodes(p, device)}
            for p in precisions(model.data)
        ],
    }


def gpu() -> dict[str, str] | None:
    """The first GPU's name, driver, memory and compute capability; None without `nvidia-smi`."""
    asked = ("name", "driver_version", "memory.total", "compute_cap")
    query = f"--query-gpu={','.join(asked)}"
    try:
        found = subprocess.run(
            ["nvidia-smi", "--id=0", query, "--format=csv,noheader"],  # noqa: S607  (on the PATH)
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    values = found.stdout.strip().split(", ")
    return dict(zip(asked, values, strict=True))


def versions() -> dict[str, str]:
    """The versions of onnxruntime, and of CUDA's libraries where pip installed them."""
    found = {d.metadata["Name"].lower(): d.version for d in distributions()}
    return {
        name: found[name] for name in sorted(found) if name.startswith(("nvidia-", "onnx", "numpy"))
    }


def measure_all(
    part: Part,
    *,
    device: Device = "cuda",
    batches: Sequence[int] = BATCHES,
    rounds: int = ROUNDS,
) -> dict[str, Any]:
    """Measures all models at all batch sizes; the number of pictures is the largest batch size.

    Args:
        part: Keeps the rows; the models lie in its folder of runs.
        device: The device that is compared with the CPU.
        batches: The batch sizes; each divides the largest.
        rounds: How many turns each way has at each batch size.

    Returns:
        The content of the result file.
    """
    models, rows, skipped = {}, [], []
    for name, file in MODELS.items():
        if file is not None and not (part.runs / file).exists():
            skipped.append(f"{name}: there is no benchmarks/runs/{file}")
            say(skipped[-1])
            continue
        model = load_model(file and part.runs / file)
        inputs, shown = generated(model, max(batches))
        models[name] = part.row(name, partial(describe, model, inputs, shown, device))
        for batch in batches:
            say(f"{name}, batch {batch}")
            call = partial(measure, model, inputs, batch, device=device, rounds=rounds)
            rows += [{"model": name, **row} for row in part.row(f"{name} {batch}", call)]
    probe = Solver(device=device).session
    return {
        "about": "Measured where this command ran, on the trained models named here.",
        "gpu": gpu(),
        "provider_options": probe.onnx.get_provider_options()[probe.providers[0]],
        "versions": versions(),
        "pictures": max(batches),
        "rounds": rounds,
        "warm_up": WARM_UP,
        "models": models,
        "skipped": skipped,
        "rows": rows,
    }


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Measures all models and writes the result file; without CUDA, only says why it doesn't."""
    parser = command_parser("gpu", __doc__)
    parser.add_argument("--table", action="store_true", help="print the README's table")
    if parser.parse_args(argv).table:
        print(short_table(read_json(results / "gpu.json")), end="")  # noqa: T201
        return
    try:
        Solver(device="cuda")
    except (ProviderError, InstallationError) as error:
        say(f"not measured yet: {error}", markup=False)  # "captcha-rt[gpu]" is no style
        return
    part = Part("gpu", runs, results)
    part.finish(measure_all(part))
