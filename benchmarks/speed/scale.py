"""What a picture costs as the work grows: `python -m benchmarks scale`.

Reads generated pictures of captcha_v2's kind with the embedded model: 1 to 100,000 pictures, in
batches of 1 to 256, with threads and processes from 1 to the number of cores. Also runs untrained
networks of 0.5 to 4 times the width of `compact`. Writes `benchmarks/results/scale.json`. The
results hold the growth with pictures, batch size and width: the slope of a line through the
logarithms of work and CPU time, which is 1 if the CPU time grows linearly. A stopped command
continues where it was. It takes two minutes on two cores.
"""

import json
import math
import os
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import markdown
from benchmarks.harness import (
    RESULTS,
    ROOT,
    RUNS,
    Part,
    Result,
    command_parser,
    in_turn,
    program,
    rounded,
    say,
)
from benchmarks.plots import Plot
from benchmarks.speed.workers import BATCH_SIZE, DISTINCT, pictures, read_by_workers
from captcha_rt import CaptchaRTError, Solver
from captcha_rt.device import CPU
from captcha_rt.model import EMBEDDED
from captcha_rt.session import Session

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES: Final = (1, 10, 100, 1_000, 10_000, 100_000)
CHUNK: Final = 1_000  # pictures that a caller passes at once
REPEATED: Final = 1_000  # pictures that are read at least, in several rounds if there are fewer
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
WIDTHS: Final = (0.5, 1.0, 2.0, 4.0)
ROUNDS: Final = {"batches": 15, "workers": 9, "widths": 60}


def read_many(count: int) -> dict[str, Any]:
    """Reads pictures in chunks, as a caller would, and keeps no answers.

    Args:
        count: The number of pictures.

    Returns:
        CPU and wall milliseconds a picture, and this process's memory in MB before the first
        picture, at the peak and at the end; None where the system doesn't tell the memory.

    Raises:
        SystemExit: If a picture can't be read.
    """
    files = pictures(min(count, CHUNK))
    solver = Solver(EMBEDDED, device="cpu")
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
    """This process's peak (`VmHWM`) and current (`VmRSS`) memory in MB; None if not known."""
    found: dict[str, float | None] = {"VmHWM": None, "VmRSS": None}
    try:
        lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    except OSError:
        return found
    for name, _, value in (line.partition(":") for line in lines):
        if name in found:
            found[name] = round(int(value.split()[0]) * 1024 / 1e6, 1)  # the file has KiB
    return found


def read_in_a_fresh_process(count: int) -> dict[str, Any]:
    """Calls `read_many` in a fresh process."""
    command = program("scale", "--pictures", str(count))
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def read_in_batches(batches: Sequence[int], rounds: int) -> list[dict[str, float]]:
    """Milliseconds a picture by the batch size; every turn reads the same number of pictures.

    Args:
        batches: The batch sizes.
        rounds: How many turns each batch size has.
    """
    solver = Solver(EMBEDDED, device="cpu")
    files = pictures(max(batches))
    calls = {str(b): partial(solver.solve_batch, files, batch_size=b) for b in batches}
    times = in_turn(calls, rounds=rounds)
    return [
        {
            "batch": batch,
            "cpu_ms": rounded(row["cpu"] / len(files)),
            "wall_ms": rounded(row["p50"] / len(files)),
        }
        for batch, row in zip(batches, times.values(), strict=True)
    ]


def run_widths(widths: Sequence[float], rounds: int) -> list[dict[str, float]]:
    """Times untrained networks of the preset `compact` with other numbers of filters.

    Args:
        widths: The factors that multiply the preset's numbers of filters.
        rounds: How many turns each width has.

    Returns:
        For each width the bytes, the multiply-adds of a picture and the session's milliseconds.
    """
    import onnx

    from benchmarks.models import embedded_spec, exported, new_model, noise
    from benchmarks.speed.multiply_adds import multiply_adds
    from captcha_rt.model import detach
    from captcha_rt_train.presets import load_preset

    preset = load_preset("compact")
    graphs = {}
    for width in widths:
        say(f"width {width}: exporting")
        wide = replace(preset, layers=widened(preset.layers, width))
        graphs[width] = exported(*new_model(wide, embedded_spec()))
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
            "cpu_ms": row["cpu"],
            "wall_ms": row["p50"],
        }
        for width, row in zip(widths, times.values(), strict=True)
    ]


def widened(layers: Mapping[str, Any], width: float) -> dict[str, Any]:
    """A preset's layers with `width` times the filters.

    The number of filters is the first value of each convolution.
    """
    return {
        name: [[round(filters * width), *others] for filters, *others in convolutions]
        for name, convolutions in layers.items()
    }


def growth(work: Sequence[float], times: Sequence[float]) -> dict[str, float | None]:
    """How a time grows with the work: fits a line to the logarithms of work and time.

    Args:
        work: The amounts of work, each above 0.
        times: The time of each, above 0.

    Returns:
        The line's `slope`, the slope's `standard_error` (None with fewer than three points), and
        `r2`, the fraction of the variance that the line explains, in 0..1.
    """
    x, y = [math.log(n) for n in work], [math.log(time) for time in times]
    slope, intercept = statistics.linear_regression(x, y)
    residual = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y, strict=True))
    degrees_of_freedom = len(x) - 2
    spread = statistics.pvariance(x) * len(x)
    error = None
    if degrees_of_freedom:
        error = rounded(math.sqrt(residual / degrees_of_freedom / spread))
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
    """Measures all rows and the growth of the CPU time; rows that the part has kept are reused.

    Args:
        part: Keeps the rows.
        sizes: The numbers of pictures.
        batches: The batch sizes.
        widths: The widths of the networks, as `run_widths` takes them.
        rounds: How many turns each row of `batches`, `workers` and `widths` has.

    Returns:
        The rows, and `growth`: what `growth` returns for `pictures`, `batches` and `widths`.
    """
    pictures(1)  # draws the pictures, so that no measured process does
    by_count = []
    for count in sizes:
        by_count.append(part.row(f"pictures-{count}", partial(read_in_a_fresh_process, count)))
        say(by_count[-1])
    by_batch = part.row("batches", partial(read_in_batches, batches, rounds["batches"]))
    say(by_batch)
    cores = max(2, os.cpu_count() or 2)
    by_worker = part.row("workers", partial(read_by_workers, cores, rounds["workers"]))
    say(by_worker)
    by_width = part.row("widths", partial(run_widths, widths, rounds["widths"]))
    say(by_width)
    result = {
        "pictures": by_count,
        "batches": by_batch,
        "workers": by_worker,
        "widths": by_width,
        "growth": {
            "pictures": growth(sizes, [row["pictures"] * row["cpu_ms"] for row in by_count]),
            "batches": growth(batches, [row["batch"] * row["cpu_ms"] for row in by_batch]),
            "widths": growth(
                [row["multiply_adds"] for row in by_width], [row["cpu_ms"] for row in by_width]
            ),
        },
    }
    for what, fit in result["growth"].items():
        say(f"{what}: CPU time grows with work to the power {fit['slope']} (R² {fit['r2']})")
    return result


def table(result: Result) -> str:
    """The result in tables and words, in Markdown."""
    parts = [_pictures_table(result), _batches_table(result)]
    parts += [_workers_table(result), _widths_table(result)]
    fits = [
        f"- {what}: {fit['slope']:.3f} (R² {fit['r2']:.4f})\n"
        for what, fit in result["growth"].items()
    ]
    parts.append("CPU time grows with the work to a power (1 is linear):\n\n" + "".join(fits))
    return "\n".join(parts)


def _batches_table(result: Result) -> str:
    """The cost of a picture by the batch size."""
    batches = result["batches"]
    times = (markdown.milliseconds(row["cpu_ms"]) for row in batches)
    header = ("batch", *(row["batch"] for row in batches))
    return markdown.table(header, [("CPU a picture", *times)])


def _pictures_table(result: Result) -> str:
    rows = []
    for row in result["pictures"]:
        memory = (f"{row[key]:.0f} MB" for key in ("ready_mb", "peak_mb", "end_mb"))
        rows.append((f"{row['pictures']:,}", markdown.milliseconds(row["cpu_ms"]), *memory))
    columns = ("pictures", "CPU a picture", "memory, ready", "at its peak", "at the end")
    return markdown.table(columns, rows)


def _workers_table(result: Result) -> str:
    rows = []
    for row in result["workers"]:
        workers = f"{row['count']} {row['workers']}"
        if row["count"] == 1:
            workers = {"threads": "1 thread", "processes": "1 process"}[row["workers"]]
        rows.append((workers, f"{row['pictures_a_second']:,}", f"{row['ratio']:.2f}"))
    return markdown.table(("workers", "pictures a second", "over one thread"), rows)


def _widths_table(result: Result) -> str:
    rows = []
    for row in result["widths"]:
        adds = f"{row['multiply_adds'] / 1e6:.1f}"
        rows.append((f"{row['width']:g}", adds, markdown.milliseconds(row["cpu_ms"])))
    return markdown.table(("width", "million multiply-adds", "session, CPU"), rows)


def draw_throughput(result: Result, figure: "Figure") -> None:
    """Pictures a second on one thread by the batch size."""
    axes = figure.subplots()
    batches = [row["batch"] for row in result["batches"]]
    rates = [1000 / row["wall_ms"] for row in result["batches"]]
    axes.plot(batches, rates, "o-", color="C3")
    axes.set(xscale="log", xlabel="batch", ylabel="pictures a second, one thread")
    axes.set_xticks(batches, list(map(str, batches)))
    axes.minorticks_off()
    axes.set_ylim(0, 1.1 * max(rates))
    axes.set_title("Throughput of the embedded model")
    axes.grid(alpha=0.3)


PLOTS: Final = (Plot("throughput", "Pictures a second by the batch", (8, 3.5), draw_throughput),)


def main(argv: Sequence[str], runs: Path = RUNS, results: Path = RESULTS) -> None:
    """Measures everything, or with `--pictures` only reads pictures in this process."""
    parser = command_parser("scale", __doc__)
    parser.add_argument(
        "--pictures", type=int, metavar="N", help="only read N pictures, and print the row as JSON"
    )
    options = parser.parse_args(argv)
    if options.pictures is not None:
        print(json.dumps(read_many(options.pictures)))  # noqa: T201
        return
    part = Part("scale", runs, results)
    rows = measure(part)
    part.finish(
        {
            **rows,
            "model": "the embedded default",
            "provider": CPU,
            "threads": 1,
            "distinct_pictures": DISTINCT,
            "chunk": CHUNK,
            "batch_size": BATCH_SIZE,
            "rounds": ROUNDS,
        }
    )
