"""What a picture costs as the work grows: `python benchmarks/scale.py`.

Reads generated pictures of captcha_v2's kind with the embedded model: 1 to 100,000 of them, in
batches of 1 to 256, by 1 to as many threads and processes as there are cores; and runs untrained
networks of 0.5 to 4 times the width of `compact`. Writes `benchmarks/results/scale.json` with the
growth of each: the slope of the logarithm of the CPU time over that of the work, 1 if it is linear.
Stopped, it goes on where it was. Takes two minutes on two cores.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from captcha_rt import CaptchaRTError, Solver
from captcha_rt.session import Session
from harness import RUNS, Part, in_turn, rounded

PICTURES = (1, 10, 100, 1_000, 10_000, 100_000)
CHUNK = 1_000  # pictures that a caller hands over at once
REPEATED = 1_000  # few pictures are read again until they are as many; the median counts
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WIDTHS = (0.5, 1.0, 2.0, 4.0)
BATCH_SIZE = 8  # of threads and processes
ROUNDS = {"batches": 15, "workers": 9, "widths": 60}
DISTINCT = 500
FOLDER = RUNS / "data" / "generated"

say = Console(stderr=True).print


def pictures(count: int) -> list[bytes]:
    """PNG files of so many pictures: some hundred distinct ones, over and over."""
    return list(islice(cycle(_distinct(FOLDER)), count))


@cache
def _distinct(folder: Path) -> list[bytes]:
    paths = sorted(folder.glob("*.png"))
    if len(paths) != DISTINCT:
        # Not at the top: what draws takes memory that a process that only reads has no need of.
        from captcha_rt_train.kaptcha import write_samples

        paths = write_samples(folder, DISTINCT, seed=0)
    return [path.read_bytes() for path in paths]


def read_many(count: int) -> dict[str, Any]:
    """Reads so many pictures in chunks, as a caller would, and keeps only how many were read.

    Returns:
        CPU and wall milliseconds a picture, and this process's memory in MB: before the first
        picture, at its peak and at the end; None where the system doesn't tell.
    """
    files = pictures(min(count, CHUNK))
    solver = Solver(device="cpu")
    solver.solve_batch(pictures(BATCH_SIZE))
    before = memory()["VmRSS"]

    def read_all() -> None:
        texts = 0
        for start in range(0, count, CHUNK):
            answers = solver.solve_batch(files[: count - start])
            texts += sum(not isinstance(answer, CaptchaRTError) for answer in answers)
        if texts != count:
            raise SystemExit(f"of {count} pictures {count - texts} could not be read")

    rounds = max(1, REPEATED // count)
    times = in_turn({"all": read_all}, rounds=rounds, warm_up=0)["all"]
    after = memory()
    return {
        "pictures": count,
        "rounds": rounds,
        "cpu_ms": rounded(times["cpu"] / count),
        "wall_ms": rounded(times["p50"] / count),
        "ready_mb": before,
        "peak_mb": after["VmHWM"],
        "end_mb": after["VmRSS"],
    }


def memory() -> dict[str, float | None]:
    """This process's peak (`VmHWM`) and current (`VmRSS`) memory in MB; None if not told."""
    found: dict[str, float | None] = {"VmHWM": None, "VmRSS": None}
    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    except OSError:
        return found
    for name, _, value in (line.partition(":") for line in lines):
        if name in found:
            found[name] = round(int(value.split()[0]) * 1024 / 1e6, 1)  # of KiB
    return found


def read_in_a_fresh_process(count: int) -> dict[str, Any]:
    """`read_many` in a process that did nothing before."""
    program = [sys.executable, __file__, "--pictures", str(count)]
    done = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def read_in_batches(batches: Sequence[int], rounds: int) -> list[dict[str, float]]:
    """Milliseconds a picture by the batch size; each turn reads as many pictures."""
    solver = Solver(device="cpu")
    files = pictures(max(batches))
    calls = {str(b): partial(solver.solve_batch, files, batch_size=b) for b in batches}
    times = in_turn(calls, rounds=rounds)
    return [
        {
            "batch": batch,
            "cpu_ms": rounded(its["cpu"] / len(files)),
            "wall_ms": rounded(its["p50"] / len(files)),
        }
        for batch, its in zip(batches, times.values(), strict=True)
    ]


def read_by_workers(most: int, rounds: int) -> list[dict[str, Any]]:
    """Pictures a second of threads that share a solver and of processes with one each.

    Args:
        most: The largest number of workers; tried are the powers of two below it, too.
        rounds: So often each has its turn.

    Returns:
        A row a kind and number; `ratio` is the median over the rounds of its speed to that of one
        thread.
    """
    counts = [*(2**n for n in range(most.bit_length()) if 2**n < most), most]
    files = pictures(DISTINCT)
    calls: dict[tuple[str, int], Callable[[], Iterable[int]]] = {}
    rates: list[dict[tuple[str, int], float]] = []
    with (
        ThreadPoolExecutor(most) as threads,
        get_context("spawn").Pool(most, _read_share, [(0, 1)]) as processes,  # each reads once
    ):
        for count in counts:
            parts = [files[first::count] for first in range(count)]
            calls["threads", count] = partial(threads.map, _read, parts)
        for count in counts:
            shares = [(first, count) for first in range(count)]
            calls["processes", count] = partial(processes.map, _read_share, shares, 1)
        for number in range(rounds + 1):
            rates.append({})
            for key, call in calls.items():
                started = time.perf_counter()
                read = sum(call())
                rates[number][key] = read / (time.perf_counter() - started)
    rates = rates[1:]  # the first is a warm-up
    return [
        {
            "workers": kind,
            "count": count,
            "pictures_a_second": round(statistics.median(r[kind, count] for r in rates)),
            "ratio": rounded(statistics.median(r[kind, count] / r["threads", 1] for r in rates)),
        }
        for kind, count in calls
    ]


def _read_share(share: tuple[int, int]) -> int:
    """In a process of the pool: reads one worker's share of the pictures."""
    first, count = share
    return _read(pictures(DISTINCT)[first::count])


def _read(files: Sequence[bytes]) -> int:
    return len(_solver().solve_batch(files, batch_size=BATCH_SIZE))


@cache
def _solver() -> Solver:
    """A process's own, which its threads share."""
    return Solver(device="cpu")


def run_widths(widths: Sequence[float], rounds: int) -> list[dict[str, float]]:
    """Untrained networks like `compact`, all of whose filters are so many times as many.

    Returns:
        For each width the bytes, the multiply-adds of a picture and the session's milliseconds.
    """
    import onnx

    from captcha_rt.manifest import detach
    from captcha_rt_train.presets import load_preset
    from limits import multiply_adds
    from models import default_data, exported, new_model, noise

    preset = load_preset("compact")
    graphs = {}
    for width in widths:
        say(f"width {width}: exporting")
        wide = replace(preset, layers=widened(preset.layers, width))
        graphs[width] = exported(*new_model(wide, default_data()))
    calls = {}
    for width, data in graphs.items():
        manifest = detach(data)
        session = Session(data, manifest, device="cpu")
        calls[str(width)] = partial(session.run, noise(manifest))
    times = in_turn(calls, rounds=rounds, runs=5)
    return [
        {
            "width": width,
            "bytes": len(graphs[width]),
            "multiply_adds": multiply_adds(onnx.load_from_string(graphs[width])),
            "cpu_ms": its["cpu"],
            "wall_ms": its["p50"],
        }
        for width, its in zip(widths, times.values(), strict=True)
    ]


def widened(layers: Mapping[str, Any], width: float) -> dict[str, Any]:
    """A preset's layers with so many times the filters, which stand first for each convolution."""
    return {
        name: [[round(filters * width), *others] for filters, *others in convolutions]
        for name, convolutions in layers.items()
    }


def growth(work: Sequence[float], times: Sequence[float]) -> dict[str, float | None]:
    """How a time grows with the work: fits a line to the logarithms of both.

    Args:
        work: How much was done, each above 0.
        times: How long it took, each above 0.

    Returns:
        The line's `slope`, its `standard_error` (None with fewer than three points), and `r2`, the
        share of the variance that the line explains.
    """
    x, y = [math.log(n) for n in work], [math.log(time) for time in times]
    slope, intercept = statistics.linear_regression(x, y)
    left = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    free = len(x) - 2
    spread = statistics.pvariance(x) * len(x)
    error = rounded(math.sqrt(left / free / spread)) if free else None
    r2 = rounded(statistics.correlation(x, y) ** 2)
    return {"slope": rounded(slope), "standard_error": error, "r2": r2}


def measure(
    part: Part,
    *,
    sizes: Sequence[int] = PICTURES,
    batches: Sequence[int] = BATCHES,
    widths: Sequence[float] = WIDTHS,
    rounds: Mapping[str, int] = ROUNDS,
) -> dict[str, Any]:
    """All rows, and how the CPU time grows; what lies in the part is not measured again."""
    pictures(1)  # drawn here, so that no process that is measured does it
    many = []
    for count in sizes:
        many.append(part.row(f"pictures-{count}", partial(read_in_a_fresh_process, count)))
        say(many[-1])
    by_batch = part.row("batches", partial(read_in_batches, batches, rounds["batches"]))
    say(by_batch)
    cores = max(2, os.cpu_count() or 2)
    by_worker = part.row("workers", partial(read_by_workers, cores, rounds["workers"]))
    say(by_worker)
    by_width = part.row("widths", partial(run_widths, widths, rounds["widths"]))
    say(by_width)
    result = {
        "pictures": many,
        "batches": by_batch,
        "workers": by_worker,
        "widths": by_width,
        "growth": {
            "pictures": growth(sizes, [row["pictures"] * row["cpu_ms"] for row in many]),
            "batches": growth(batches, [row["batch"] * row["cpu_ms"] for row in by_batch]),
            "widths": growth(
                [row["multiply_adds"] for row in by_width], [row["cpu_ms"] for row in by_width]
            ),
        },
    }
    for what, fit in result["growth"].items():
        say(f"{what}: CPU time grows with work to the power {fit['slope']} (R² {fit['r2']})")
    return result


def main() -> None:
    """Measures all of it; with `--pictures` only reads so many, in this process, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--pictures", type=int, help="only read so many, and print the row")
    arguments = parser.parse_args()
    if arguments.pictures is not None:
        print(json.dumps(read_many(arguments.pictures)))  # noqa: T201
        return
    part = Part("scale")
    rows = measure(part)
    part.finish(
        {
            **rows,
            "model": "the embedded default",
            "provider": "CPUExecutionProvider",
            "threads": 1,
            "distinct_pictures": DISTINCT,
            "chunk": CHUNK,
            "batch_size": BATCH_SIZE,
            "rounds": ROUNDS,
        }
    )


if __name__ == "__main__":
    main()
