"""What a GPU gains: `python benchmarks/gpu.py`, where `captcha-rt[gpu]` works.

Runs the embedded model, the same in float and the `crnn` preset, where their runs lie in
`benchmarks/runs`, on CUDA and on the CPU, at batch sizes from 1 to 1024: from NumPy arrays; with
input and output bound to the GPU's memory, with and without the copies there and back; and as CUDA
graphs, captured once for a batch size and replayed. Float graphs run with and without TF32, and in
half precision; an int8 graph as it is, with TF32, since CUDA may compute it in float. The ways of
the CPU take turns, and so do those of the GPU.

Beside each time stands how many of the generated pictures are read as the same graph in float32 or
int8 reads them on the CPU with one thread, in the same batches, and the largest difference of a
score. A way that fails is in the results with its error. Where onnxruntime put a graph's nodes is
there as well, since it keeps some on the CPU.

Writes `benchmarks/results/gpu.json`. Stopped, it goes on where it was. Where CUDA doesn't work it
says why, and writes nothing: what the CPU does is never called CUDA. A quarter of this module says
what the numbers are, since nobody can ask the machine again.
"""

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distributions
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16
from rich.console import Console

from captcha_rt import InstallationError, ProviderError, Solver
from captcha_rt.manifest import Manifest
from captcha_rt.model import Model, load_model
from captcha_rt.session import _CUDA_OPTIONS, CPU, CUDA, Provider, Session, import_onnxruntime
from captcha_rt_train.kaptcha import draw, random_text
from harness import RUNS, Part, in_turn, rounded

BATCHES = tuple(2**n for n in range(11))
ROUNDS, WARM_UP = 21, 5  # of each way at each batch size, after all pictures were read with it
SEED = 0
GRAPHS = {"default": None, "default, float": "default/float.onnx", "crnn": "crnn/model.onnx"}
"""The models: None is the embedded one, the others lie in `benchmarks/runs`."""

Device = Literal["cpu", "cuda"]
Scores = NDArray[np.float32]

say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Precision:
    """A graph in one precision.

    Attributes:
        name: What its products are computed in, unless TF32 says otherwise.
        tf32: Whether CUDA may round the factors of its float32 products to 10 bits.
        data: The graph.
    """

    name: str
    tf32: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a batch.

    Attributes:
        facts: What tells it from others.
        call: What is timed.
        read: The same for any inputs of the batch size, to look at the scores.
    """

    facts: dict[str, Any]
    call: Callable[[], object]
    read: Callable[[Scores], Scores]


def precisions(model: bytes) -> list[Precision]:
    """A graph in all precisions that it can have."""
    proto = onnx.load_from_string(model)
    if any(node.op_type == "DequantizeLinear" for node in proto.graph.node):
        return [Precision("int8", tf32=True, data=model)]
    half = convert_float_to_float16(proto, keep_io_types=True).SerializeToString()
    return [
        Precision("float32", tf32=False, data=model),
        Precision("float32", tf32=True, data=model),
        Precision("float16", tf32=True, data=half),
    ]


def providers(device: Device, *, tf32: bool, captured: bool = False) -> list[Provider]:
    """What to ask onnxruntime for: the runtime's options of CUDA, and these."""
    if device == "cpu":
        return [CPU]
    ours = {"use_tf32": int(tf32), "enable_cuda_graph": int(captured)}
    return [(CUDA, {**_CUDA_OPTIONS, **ours}), CPU]


def cpu_ways(model: Model, inputs: Scores) -> Iterator[Way]:
    """The runtime's session on the CPU, with one thread and with one a core."""
    for threads in sorted({1, os.cpu_count() or 1}):
        run = Session(model.data, model.manifest, device="cpu", threads=threads).run
        facts = {"provider": CPU, "threads": threads, "how": "numpy", "copies": False}
        yield Way(facts, partial(run, inputs), run)


def device_ways(
    precision: Precision, manifest: Manifest, inputs: Scores, device: Device, how: str
) -> list[Way]:
    """The ways to run a batch on a device.

    Args:
        precision: The graph.
        manifest: Its description.
        inputs: One batch.
        device: Where it runs; a session that took another raises `ProviderError`.
        how: `"numpy"`, `"bound"` or `"captured"`.
    """
    asked = providers(device, tf32=precision.tf32, captured=how == "captured")
    session = Session(precision.data, manifest, providers=asked)
    facts = {
        "provider": session.providers[0],
        "precision": precision.name,
        "tf32": precision.tf32,
        "how": how,
    }
    if how == "numpy":
        return [Way({**facts, "copies": True}, partial(session.run, inputs), session.run)]
    read, replay = bind(session, manifest, len(inputs), device)
    return [
        Way({**facts, "copies": True}, partial(read, inputs), read),
        Way({**facts, "copies": False}, replay, read),
    ]


def bind(
    session: Session, manifest: Manifest, batch: int, device: Device
) -> tuple[Callable[[Scores], Scores], Callable[[], None]]:
    """Gives a session input and output of one batch size in the device's memory.

    Returns:
        What copies inputs there, runs, and copies the scores back; and what only runs.
    """
    make = import_onnxruntime().OrtValue.ortvalue_from_shape_and_type
    given = make((batch, *manifest.input.shape[1:]), np.float32, device)
    scores = make((batch, *manifest.output.shape[1:]), np.float32, device)
    binding = session._session.io_binding()
    binding.bind_ortvalue_input(manifest.input.name, given)
    binding.bind_ortvalue_output(manifest.output.name, scores)

    def replay() -> None:
        session._session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    def read(inputs: Scores) -> Scores:
        given.update_inplace(inputs)
        replay()
        return np.array(scores.numpy())

    return read, replay


def measure(
    model: Model, inputs: Scores, batch: int, *, device: Device = "cuda", rounds: int = ROUNDS
) -> list[dict[str, Any]]:
    """Times all ways to run a batch.

    Args:
        model: The model.
        inputs: All pictures, `(N, ...)`, N a multiple of the batch size.
        batch: The batch size.
        device: What is compared with the CPU.
        rounds: So often each way has its turn.

    Returns:
        A row a way: what it is, percentiles in milliseconds a batch, and how alike its answers are.
    """
    first = inputs[:batch]
    plain = [*cpu_ways(model, first)]
    ways: list[Way] = []
    failed: list[dict[str, Any]] = []
    for precision in precisions(model.data):
        for how in ("numpy", "bound", "captured") if device == "cuda" else ("numpy", "bound"):
            try:
                made = device_ways(precision, model.manifest, first, device, how)
                made[0].read(first)
            except Exception as error:  # noqa: BLE001  (onnxruntime's share no base class)
                which = {"precision": precision.name, "tf32": precision.tf32, "how": how}
                failed.append({**which, "failed": f"{type(error).__name__}: {error!s:.300}"})
            else:
                ways += made
    expected = read_all(plain[0], inputs, batch)
    likenesses = [likeness(way, inputs, batch, expected, model.manifest) for way in plain + ways]
    times: list[dict[str, float]] = []
    for group, runs in ((plain, max(1, 32 // batch)), (ways, 10)):
        calls = {str(n): way.call for n, way in enumerate(group)}
        times += in_turn(calls, rounds=rounds, runs=runs, warm_up=WARM_UP).values()
    rows = [
        {**way.facts, **its, "pictures_a_second": rounded(1000 * batch / its["p50"]), **alike}
        for way, its, alike in zip(plain + ways, times, likenesses, strict=True)
    ]
    return [{"batch": batch, **row} for row in rows + failed]


def read_all(way: Way, inputs: Scores, batch: int) -> Scores:
    """The scores of all pictures, batch by batch."""
    starts = range(0, len(inputs), batch)
    return np.concatenate([way.read(inputs[start : start + batch]) for start in starts])


def likeness(
    way: Way, inputs: Scores, batch: int, expected: Scores, manifest: Manifest
) -> dict[str, float]:
    """The share of the texts that are the expected ones, and the largest difference of a score."""
    scores = read_all(way, inputs, batch)
    difference = float(np.abs(scores - expected).max())
    return {
        "agreement": share_alike(texts(scores, manifest), texts(expected, manifest)),
        "largest_difference": rounded(difference),
    }


def share_alike(some: Sequence[str], others: Sequence[str]) -> float:
    """How many texts are the same, as a share."""
    return sum(a == b for a, b in zip(some, others, strict=True)) / len(some)


def texts(scores: Scores, manifest: Manifest) -> list[str]:
    """What scores say."""
    return [text for text, _ in manifest.decode(scores)]


def generated(model: Model, count: int) -> tuple[Scores, list[str]]:
    """Pictures of captcha_v2's kind as a model takes them, `(N, ...)`, and what they show."""
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


def describe(model: Model, inputs: Scores, shown: Sequence[str], device: Device) -> dict[str, Any]:
    """What a model is, how well the CPU reads the pictures with it, and where its nodes run."""
    way = next(cpu_ways(model, inputs[:1]))
    read = texts(read_all(way, inputs, 1), model.manifest)
    return {
        "name": model.manifest.name,
        "bytes": len(model.data),
        "exact_match_on_cpu": share_alike(read, shown),
        "nodes": [
            {"precision": p.name, "tf32": p.tf32, "nodes": nodes(p, device)}
            for p in precisions(model.data)
        ],
    }


def gpu() -> dict[str, str] | None:
    """The GPU's name, driver and memory, where `nvidia-smi` tells."""
    asked = ("name", "driver_version", "memory.total", "compute_cap")
    try:
        found = subprocess.run(
            ["nvidia-smi", "--id=0", f"--query-gpu={','.join(asked)}", "--format=csv,noheader"],  # noqa: S607  (as the user's PATH has it)
            check=True,
            capture_output=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    values = found.stdout.strip().split(", ")
    return dict(zip(asked, values, strict=True))


def versions() -> dict[str, str]:
    """Those of what runs here: onnxruntime, and CUDA's libraries where pip put them."""
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
    """All models at all batch sizes, on as many pictures as the largest batch has.

    Args:
        part: Keeps the rows.
        device: What is compared with the CPU.
        batches: The batch sizes; each divides the largest.
        rounds: So often each way has its turn at each batch size.

    Returns:
        The result file's values.
    """
    models, rows, left_out = {}, [], []
    for name, run in GRAPHS.items():
        if run is not None and not (RUNS / run).exists():
            left_out.append(f"{name}: there is no benchmarks/runs/{run}")
            say(left_out[-1])
            continue
        model = load_model(run and RUNS / run)
        inputs, shown = generated(model, max(batches))
        models[name] = part.row(name, partial(describe, model, inputs, shown, device))
        for batch in batches:
            say(f"{name}, batch {batch}")
            call = partial(measure, model, inputs, batch, device=device, rounds=rounds)
            rows += [{"model": name, **row} for row in part.row(f"{name} {batch}", call)]
    probe = Solver(device=device).session
    return {
        "gpu": gpu(),
        "provider_options": probe._session.get_provider_options()[probe.providers[0]],
        "versions": versions(),
        "pictures": max(batches),
        "rounds": rounds,
        "warm_up": WARM_UP,
        "models": models,
        "left_out": left_out,
        "rows": rows,
    }


def main() -> None:
    """Measures and writes the result file, or says why not."""
    try:
        Solver(device="cuda")
    except (ProviderError, InstallationError) as error:
        say(f"not measured yet: {error}", markup=False)  # "captcha-rt[gpu]" is no style
        return
    part = Part("gpu")
    part.finish(measure_all(part))


if __name__ == "__main__":
    main()
