"""How fast the embedded model is: the times that `default` writes."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import ROOT, machine, program, say
from captcha_rt import Solver
from captcha_rt.diagnostics.machine import start_python
from captcha_rt.diagnostics.stages import STAGES, time_stages
from captcha_rt.model import EMBEDDED

SAMPLE: Final = ROOT / "tests" / "samples" / "dnwnb.png"
TIMED: Final = 300  # pictures of each kind that are read one by one
TURN: Final = 50  # pictures of a kind before the next kind's turn
STARTS: Final = 15


def measure_stages(pictures: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """Times one picture on one thread: each stage, and `Solver.solve` as a whole.

    The kinds take turns of fifty pictures.

    Args:
        pictures: The pictures by kind; the first `TIMED` of each are read.

    Returns:
        For each kind the medians in milliseconds, and `over_decode_and_session`: the time of
        `solve` divided by the sum of these two stages.
    """
    solver = Solver(EMBEDDED, device="cpu")
    times: dict[str, dict[str, list[float]]]
    times = {kind: {stage: [] for stage in STAGES} for kind in pictures}
    for start in [*range(0, TIMED, TURN)] * 4:
        for kind, stages in times.items():
            turn = pictures[kind][:TIMED][start : start + TURN]
            files = [path.read_bytes() for path in turn]
            solver.solve_batch(files[:8])  # another kind was read before: fill the caches
            for stage, milliseconds in time_stages(solver, files).items():
                stages[stage] += milliseconds
    result = {}
    for kind, stages in times.items():
        medians = {stage: statistics.median(values) for stage, values in stages.items()}
        solve = medians["whole"]
        result[kind] = {
            **{name: round(medians[name], 4) for name in ("decode", "recipe", "session")},
            "solve": round(solve, 4),
            "over_decode_and_session": round(solve / (medians["decode"] + medians["session"]), 3),
        }
    return result


def measure_times(pictures: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """All times of the results: by stage, with two threads, and of the start.

    Args:
        pictures: The pictures by kind.
    """
    solver = Solver(EMBEDDED, device="cpu")
    return {
        "milliseconds": measure_stages(pictures),
        "pictures_a_second": measure_threads(solver, list(chain.from_iterable(pictures.values()))),
        "start": measure_start(),
        "provider": solver.providers[0],
        "threads": 1,
        "machine": machine(),
    }


def times_in_a_fresh_process() -> dict[str, Any]:
    """`measure_times` in a process that has not loaded TensorFlow, like a user's."""
    command = program("default", "--speed")
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    for kind, stages in result["milliseconds"].items():
        say(f"{kind}: {stages}")
    return result


def measure_threads(solver: Solver, paths: Sequence[Path]) -> dict[str, float]:
    """Compares one thread with two threads that share a solver, in alternating rounds.

    Returns:
        Pictures a second of `one` and of `two`, and `ratio`: the median over the rounds of two
        threads' speed divided by one thread's.
    """
    files = [path.read_bytes() for path in paths]
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(7):
        for threads, rate in rates.items():
            parts = [files[n::threads] for n in range(threads)]
            with ThreadPoolExecutor(threads) as pool:
                started = time.perf_counter()
                list(pool.map(lambda part: solver.solve_batch(part, batch_size=8), parts))
                rate.append(len(files) / (time.perf_counter() - started))
    medians = {threads: statistics.median(rate) for threads, rate in rates.items()}
    return {
        "one": round(medians[1]),
        "two": round(medians[2]),
        "ratio": round(statistics.median(b / a for a, b in zip(*rates.values(), strict=True)), 3),
    }


def measure_start() -> dict[str, Any]:
    """Measures the start of `captcha-rt solve`.

    Returns:
        Median milliseconds: the CPU time of the whole command, the CPU time of the imports alone,
        the ratio of the two, and the wall time of `Solver()` after the imports.
    """
    ready = (
        "import time, numpy, onnxruntime, cv2; from captcha_rt import Solver; "
        "from captcha_rt.session import import_onnxruntime; import_onnxruntime(); "
        "t = time.perf_counter(); Solver(); print((time.perf_counter() - t) * 1000)"
    )
    times: dict[str, list[float]] = {"solve": [], "imports": [], "ready": []}
    for _ in range(STARTS):
        times["solve"].append(_cpu_milliseconds("-m", "captcha_rt", "solve", str(SAMPLE)))
        times["imports"].append(_cpu_milliseconds("-c", "import numpy, onnxruntime, cv2"))
        command = [sys.executable, "-c", ready]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        times["ready"].append(float(done.stdout))
    medians = {name: round(statistics.median(values), 1) for name, values in times.items()}
    return {
        "command_cpu_ms": medians["solve"],
        "imports_cpu_ms": medians["imports"],
        "ratio": round(medians["solve"] / medians["imports"], 3),
        "solver_ready_ms": medians["ready"],
    }


def _cpu_milliseconds(*arguments: str) -> float:
    """The CPU time of a fresh Python process, in all threads."""
    started = start_python(*arguments)
    if started.cpu_ms is None:
        sys.exit("this system does not tell the CPU time of a process")
    return started.cpu_ms
