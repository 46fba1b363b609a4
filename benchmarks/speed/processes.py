"""What several processes bring: `python -m benchmarks processes`.

`captcha-rt solve` reads a folder of generated pictures of captcha_v2's kind with the embedded
models, with one process, and with more up to the number of usable cores, in alternating rounds.
Each round also reads a small folder, whose time is subtracted: so the start of the processes
doesn't count. Then it lists folders of up to a million files, which hold a byte each, with two
processes, and notes the peak memory of the first process. Writes
`benchmarks/results/processes.json`. It takes half an hour on two cores. A stopped command continues
where it was.

`--cluster` reads 20,000 pictures on a local Dask cluster, of which two processes are killed
meanwhile, and adds its row to the result that is there. It takes a minute.
"""

import json
import logging
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

from benchmarks import markdown
from benchmarks.harness import (
    ROOT,
    Part,
    Result,
    command_parser,
    commit,
    rounded,
    say,
    write_json,
)
from benchmarks.speed.workers import pictures
from captcha_rt.cores import available_cores

SIZES: Final = (2_000, 22_000)
"""The numbers of pictures of the small folder and the large one: 20,000 apart."""

FILES: Final = (10_000, 100_000, 1_000_000)
ROUNDS: Final = 5
LINKS: Final = 30_000  # file systems allow no more names for a file than 32,000 or 65,000

# Runs the command line, and says on a file how much memory this process took at the most.
_PROGRAM: Final = """
import re, sys
from pathlib import Path
from captcha_rt.cli import main
note = sys.argv.pop(1)
if __name__ == "__main__":
    try:
        main()
    finally:
        status = Path("/proc/self/status").read_text()
        Path(note).write_text(re.search(r"VmHWM:\\s*([0-9]+)", status)[1])
"""


def read_folders(folders: Sequence[Path], counts: Sequence[int], rounds: int) -> list[Any]:
    """Measures pictures a second with several numbers of processes.

    Args:
        folders: The small folder and the large one.
        counts: The numbers of processes; the first is 1.
        rounds: How many turns each has.

    Returns:
        A row for each number: the median of the pictures a second, and of the ratio to one process
        in the same round.
    """
    small, large = (sum(1 for _ in folder.iterdir()) for folder in folders)
    rates: list[dict[int, float]] = []
    for _ in range(rounds):
        rates.append({})
        for count in counts:
            times = [_solve(folder, count) for folder in folders]
            rates[-1][count] = (large - small) / (times[1] - times[0])
        say(rates[-1])
    return [
        {
            "processes": count,
            "pictures_a_second": round(statistics.median(rate[count] for rate in rates)),
            "ratio": rounded(statistics.median(rate[count] / rate[1] for rate in rates)),
        }
        for count in counts
    ]


def _solve(folder: Path, count: int) -> float:
    """Reads a folder; returns the seconds that it took."""
    program = [sys.executable, "-m", "captcha_rt", "solve", str(folder), "--device", "cpu"]
    options = ["--workers", str(count), "--quiet"]
    started = time.perf_counter()
    done = subprocess.run([*program, *options], check=False, stdout=subprocess.DEVNULL, cwd=ROOT)
    if done.returncode not in (0, 4):  # what is not sure enough is no failure
        raise SystemExit(f"solve ended with exit code {done.returncode}")
    return time.perf_counter() - started


def list_files(count: int, folder: Path) -> dict[str, Any]:
    """Lists many files with two processes.

    Returns:
        The number, the peak memory of the first process in MB, and the seconds.
    """
    with _links(folder, count, [b"x"]) as files:
        note = folder.with_name("peak")
        program = [sys.executable, "-c", _PROGRAM, str(note), "solve", str(files)]
        started = time.perf_counter()
        rows = folder.with_name("rows")
        with rows.open("w") as out:
            options = ["--workers", "2", "--jsonl", "--device", "cpu", "--quiet"]
            subprocess.run(
                [*program, *options], check=False, stdout=out, stderr=subprocess.DEVNULL, cwd=ROOT
            )
        seconds = time.perf_counter() - started
    with rows.open() as lines:
        found = sum(1 for _ in lines)
    rows.unlink()
    if found != count:
        raise SystemExit(f"{found} rows for {count} files")
    peak = int(note.read_text("ascii")) * 1024 / 1e6
    return {"files": count, "peak_mb": round(peak, 1), "seconds": round(seconds, 1)}


@contextmanager
def _links(folder: Path, count: int, contents: Sequence[bytes]) -> Iterator[Path]:
    """A folder of many names for few files, for a while."""
    shutil.rmtree(folder, ignore_errors=True)
    files = folder / "files"
    files.mkdir(parents=True)
    try:
        for number, data in enumerate(islice(cycle(contents), count)):
            kind = f"{number % len(contents)}-{number // (LINKS * len(contents))}"
            source = folder / kind
            if not source.exists():
                source.write_bytes(data)
            os.link(source, files / f"picture-{number:08}.png")
        yield files
    finally:
        shutil.rmtree(folder)


def read_on_cluster(count: int, folder: Path) -> dict[str, Any]:
    """Reads pictures on a local Dask cluster, of which two processes are killed, one by one.

    Returns:
        The number of pictures, the killed processes, how many rows differ from those of one
        process, and the seconds.
    """
    from distributed import LocalCluster

    with (
        _links(folder, count, pictures(500)) as files,
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
        ) as cluster,
    ):
        program = [sys.executable, "-m", "captcha_rt", "solve", str(files), "--device", "cpu"]
        done = subprocess.run([*program, "--jsonl"], check=False, capture_output=True)
        output = folder / "out.jsonl"
        started = time.perf_counter()
        options = ["--cluster", cluster.scheduler_address, "-o", str(output), "--quiet"]
        killed: set[int] = set()
        with subprocess.Popen([*program, *options]) as process:
            parts = Path(f"{output}.parts")
            for share in (0.2, 0.5):
                while process.poll() is None and len(_names(parts)) < share * count / 256:
                    time.sleep(0.05)
                pid = next(iter(cluster.workers.values())).process.process.pid
                os.kill(pid, 9)
                killed.add(pid)
        seconds = time.perf_counter() - started
        expected, found = done.stdout.splitlines(), output.read_bytes().splitlines()
    wrong = sum(a != b for a, b in zip(expected, found, strict=True))
    return {
        "pictures": count,
        "killed": len(killed),
        "different": wrong,
        "seconds": round(seconds, 1),
    }


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def measure(
    part: Part,
    *,
    sizes: Sequence[int] = SIZES,
    files: Sequence[int] = FILES,
    rounds: int = ROUNDS,
) -> dict[str, Any]:
    """Measures all rows but that of a cluster; those that the part has kept are reused."""
    folder = part.runs / "processes"
    cores = max(2, available_cores())
    counts = [*(2**n for n in range(cores.bit_length()) if 2**n < cores), cores]

    def speed() -> list[Any]:
        small, large = sizes
        with (
            _links(folder / "small", small, pictures(500)) as few,
            _links(folder / "large", large, pictures(500)) as many,
        ):
            return read_folders([few, many], counts, rounds)

    result: dict[str, Any] = {"speed": part.row("speed", speed)}
    say(result["speed"])
    result["memory"] = []
    for count in files:
        row = partial(list_files, count, folder / "names")
        result["memory"].append(part.row(f"memory-{count}", row))
        say(result["memory"][-1])
    return result


def add_cluster(part: Part, count: int) -> None:
    """Measures a cluster, and adds the row, with its commit, to the result that is there."""
    file = part.results / "processes.json"
    row = read_on_cluster(count, part.runs / "processes" / "dask")
    say(row)
    values = json.loads(file.read_text("utf-8"))
    write_json(file, {**values, "cluster": {**row, "commit": commit()}})


def table(result: Result) -> str:
    """The result in tables, in Markdown."""
    speed = [
        (row["processes"], f"{row['pictures_a_second']:,}", f"{row['ratio']:.2f}")
        for row in result["speed"]
    ]
    memory = [(f"{row['files']:,}", f"{row['peak_mb']:.0f} MB") for row in result["memory"]]
    tables = [
        markdown.table(("processes", "pictures a second", "over one"), speed),
        markdown.table(("files", "memory of the first process, peak"), memory),
    ]
    if "cluster" in result:
        names = ("pictures", "killed", "different", "seconds")
        head = ("pictures on a cluster", "killed processes", "other answers", "seconds")
        tables.append(markdown.table(head, [[f"{result['cluster'][name]:,}" for name in names]]))
    return "\n".join(tables)


def main(argv: Sequence[str]) -> None:
    """Measures, and writes the result."""
    parser = command_parser("processes", __doc__)
    parser.add_argument("--cluster", action="store_true", help="measure a local Dask cluster only")
    parser.add_argument("--table", action="store_true", help="print the result's tables only")
    options = parser.parse_args(argv)
    part = Part("processes")
    file = part.results / "processes.json"
    if options.cluster:
        add_cluster(part, SIZES[1] - SIZES[0])
    elif not options.table:
        before = json.loads(file.read_text("utf-8")) if file.exists() else {}
        kept = {name: before[name] for name in ("cluster",) if name in before}
        part.finish({**measure(part), **kept})
    say(table(json.loads(file.read_text("utf-8"))), markup=False)
