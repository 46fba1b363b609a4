"""Pictures a second with several threads and processes: rows of `scale`."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from benchmarks.harness import RUNS, rounded
from captcha_rt import Solver
from captcha_rt.model import EMBEDDED

BATCH_SIZE: Final = 8  # pictures that a thread or a process reads at a time
DISTINCT: Final = 500  # pictures that differ
FOLDER: Final = RUNS / "data" / "generated"


def pictures(count: int) -> list[bytes]:
    """The bytes of generated PNG files: `DISTINCT` different ones, repeated in order."""
    return list(islice(cycle(_distinct(FOLDER)), count))


@cache
def _distinct(folder: Path) -> list[bytes]:
    paths = sorted(folder.glob("*.png"))
    if len(paths) != DISTINCT:
        # Imported here, since a process that only reads should not take the memory for drawing.
        from captcha_rt_train.generators.kaptcha import write_samples

        paths = write_samples(folder, DISTINCT, seed=0)
    return [path.read_bytes() for path in paths]


def read_by_workers(max_workers: int, rounds: int) -> list[dict[str, Any]]:
    """Measures threads that share a solver, and processes that have a solver each.

    Args:
        max_workers: The largest number of workers; all smaller powers of two are measured too.
        rounds: How many turns each number of workers has.

    Returns:
        A row for each kind and number of workers. `ratio` is the median over the rounds of the
        workers' speed divided by one thread's.
    """
    counts = [*(2**n for n in range(max_workers.bit_length()) if 2**n < max_workers), max_workers]
    files = pictures(DISTINCT)
    calls: dict[tuple[str, int], Callable[[], Iterable[int]]] = {}
    rates: list[dict[tuple[str, int], float]] = []
    with (
        ThreadPoolExecutor(max_workers) as threads,
        get_context("spawn").Pool(
            max_workers, _read_part, [(0, 1)]
        ) as processes,  # each process reads one picture first
    ):
        for count in counts:
            parts = [files[first::count] for first in range(count)]
            calls["threads", count] = partial(threads.map, _read, parts)
        for count in counts:
            numbers = [(first, count) for first in range(count)]
            calls["processes", count] = partial(processes.map, _read_part, numbers, 1)
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


def _read_part(part: tuple[int, int]) -> int:
    """Reads every `count`-th picture from the `first` on, in a process of the pool."""
    first, count = part
    return _read(pictures(DISTINCT)[first::count])


def _read(files: Sequence[bytes]) -> int:
    return len(_solver().solve_batch(files, batch_size=BATCH_SIZE))


@cache
def _solver() -> Solver:
    """The solver of a process, which all threads share."""
    return Solver(EMBEDDED, device="cpu")
