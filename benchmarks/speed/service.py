"""What the service costs beside a solve: `python -m benchmarks service`.

wrk (Debian's package `wrk`), a public load generator, posts a picture in a closed loop on loopback:
each of its connections asks again when it is answered. Its CPU time stands beside the service's, as
it takes some of the same cores. Two processes are compared with one that has as many clients for
each process: where there are fewer, batches are smaller. `Solver.solve` and the loads take turns,
so that a disturbance affects all of them alike. Every answer is compared with the text. Needs
Linux, on a machine that does nothing else; takes two minutes, and with `--soak 200000` some more.
Writes `benchmarks/results/service.json`.
"""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks import markdown
from benchmarks.harness import RESULTS, ROOT, RUNS, Part, Result, command_parser, rounded, say
from benchmarks.plots import Plot
from captcha_rt import Solver

PICTURE: Final = ROOT / "tests" / "samples" / "dnwnb.png"
ROUNDS, SOLVES, SECONDS = 5, 1000, 4  # rounds, solves and seconds of each load in a round
OVERLOAD: Final = 2_000
"""Connections, for a queue of 256 places in each process."""
PLOTS: Final[tuple[Plot, ...]] = ()

_SCRIPT: Final = Path(__file__).with_suffix(".lua")
_TICKS: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True, slots=True)
class Service:
    """A running service.

    Attributes:
        address: Where it listens.
        processes: Those that answer.
    """

    address: str
    processes: tuple[int, ...]

    def cpu(self) -> float:
        """The seconds of CPU that its processes have taken."""
        return sum(sum(map(int, _stat(process)[11:13])) for process in self.processes) / _TICKS

    def memory(self) -> float:
        """The resident memory of its processes in 10^6 bytes."""
        return sum(int(_stat(process)[21]) for process in self.processes) * 4096 / 1e6


def _stat(process: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on."""
    return Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()


@contextmanager
def service(workers: int) -> Iterator[Service]:
    """Runs the service, without a log of requests."""
    line = [sys.executable, "-m", "captcha_rt", "serve", "--port", "0", "--no-access-log"]
    line += ["--workers", str(workers)]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None  # noqa: S101  (for mypy)
        try:
            address = ""
            ready: list[int] = []
            while len(ready) < workers:
                values = json.loads(process.stderr.readline())
                address = values.get("address", address)
                ready += [values["process"]] if values["message"] == "ready" else []
            yield Service(address, tuple(ready))
        finally:
            process.send_signal(signal.SIGTERM)
            process.stderr.read()


def load(running: Service, connections: int, seconds: int = SECONDS) -> dict[str, Any]:
    """Loads a service.

    Returns:
        wrk's counts, and for an answer `cpu_ms` of the service and `wrk_cpu_ms` of wrk.
    """
    before, wrk_before = running.cpu(), _children_cpu()
    limits = ["--timeout", "30s", "--latency"]
    line = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", *limits, "-s", str(_SCRIPT)]
    environment = os.environ | {"PICTURE": str(PICTURE), "TEXT": PICTURE.stem}
    done = subprocess.run(
        [*line, running.address], check=True, capture_output=True, text=True, env=environment
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["cpu_ms"] = (running.cpu() - before) * 1000 / max(found["right"], 1)
    found["wrk_cpu_ms"] = (_children_cpu() - wrk_before) * 1000 / max(found["right"], 1)
    found["a_second"] = found["right"] / found["seconds"]
    return found


def _children_cpu() -> float:
    """The seconds of CPU of the processes that have been waited for."""
    times = os.times()
    return times.children_user + times.children_system


def solve_cpu_ms(solver: Solver, picture: bytes) -> float:
    """The CPU milliseconds of `Solver.solve` in this process."""
    for _ in range(50):
        solver.solve(picture)
    started = time.process_time()
    for _ in range(SOLVES):
        solver.solve(picture)
    return (time.process_time() - started) * 1000 / SOLVES


def measure() -> dict[str, Any]:
    """Measures one process with 1, 16 and 32 clients, and two with 64, beside `Solver.solve`."""
    solver, picture = Solver(device="cpu"), PICTURE.read_bytes()
    with service(1) as one, service(2) as two:
        for running in (one, two):
            load(running, 16, 1)
        rounds: list[dict[str, Any]] = [
            {
                "solve": solve_cpu_ms(solver, picture),
                "one process, 1 client": load(one, 1),
                "one process, 16 clients": load(one, 16),
                "one process, 32 clients": load(one, 32),
                "two processes, 64 clients": load(two, 64),
            }
            for _ in range(ROUNDS)
        ]
        overload = load(two, OVERLOAD)
        after = load(two, 16)
    rows = []
    for name in list(rounds[0])[1:]:
        loads = [found[name] for found in rounds]
        rows.append(
            {
                "load": name,
                "answers_a_second": round(statistics.median(x["a_second"] for x in loads)),
                "cpu_ms": rounded(statistics.median(x["cpu_ms"] for x in loads)),
                "wrk_cpu_ms": rounded(statistics.median(x["wrk_cpu_ms"] for x in loads)),
                "times_solve": rounded(
                    statistics.median(found[name]["cpu_ms"] / found["solve"] for found in rounds)
                ),
                "ms_50": rounded(statistics.median(x["ms_50"] for x in loads)),
                "ms_99": rounded(statistics.median(x["ms_99"] for x in loads)),
                "wrong": sum(x["wrong"] + x["busy"] + x["lost"] for x in loads),
            }
        )
    compared = ("two processes, 64 clients", "one process, 32 clients")
    speeds = [[found[name]["a_second"] for name in compared] for found in rounds]
    return {
        "solve_cpu_ms": rounded(statistics.median(found["solve"] for found in rounds)),
        "loads": rows,
        "two_to_one": rounded(statistics.median(two / one for two, one in speeds)),
        "overload": {name: overload[name] for name in ("right", "busy", "wrong", "lost")},
        "after_overload": {name: after[name] for name in ("right", "busy", "wrong", "lost")},
    }


def soak(requests: int) -> dict[str, Any]:
    """Asks so many times, and looks at the memory after a tenth and at the end."""
    with service(2) as running:
        right = wrong = 0
        memory: list[tuple[int, float]] = []
        while right < requests:
            found = load(running, 16, 10)
            right += found["right"]
            wrong += found["wrong"] + found["busy"] + found["lost"]
            memory.append((right, running.memory()))
            say(f"{right} of {requests}, {memory[-1][1]:.0f} MB")
        early = next(size for count, size in memory if count >= requests / 10)
        last = memory[-1][1]
    return {
        "answers": right,
        "wrong": wrong,
        "mb_after_a_tenth": rounded(early),
        "mb_at_the_end": rounded(last),
        "growth": rounded(last / early - 1),
    }


def table(result: Result) -> str:
    """The result as a table in Markdown."""
    rows = [
        (
            row["load"],
            row["answers_a_second"],
            f"{row['cpu_ms']:.3f} ms",
            f"{row['wrk_cpu_ms']:.3f} ms",
            f"{row['times_solve']:.2f}",
            f"{row['ms_50']:.2f} / {row['ms_99']:.2f} ms",
        )
        for row in result["loads"]
    ]
    columns = (
        "load",
        "answers a second",
        "CPU an answer",
        "wrk's own",
        "times `solve`",
        "median / 99 %",
    )
    return markdown.table(columns, rows)


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Measures, and writes the result file."""
    parser = command_parser("service", __doc__)
    parser.add_argument("--soak", type=int, metavar="N", help="also ask N times, for the memory")
    options = parser.parse_args(argv)
    if shutil.which("wrk") is None:
        say("wrk is not installed: apt-get install wrk")
        sys.exit(2)
    values = measure() | {"rounds": ROUNDS, "seconds_a_load": SECONDS}
    if options.soak:
        values["soak"] = soak(options.soak)
    Part("service", runs, results).finish(values)
