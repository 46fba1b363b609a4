"""A quick look at how fast a model is on this machine: what `captcha-rt bench` measures and says.

Nothing is drawn to the terminal while something runs in this process to be timed: a progress bar's
own thread takes 1 ms ten times a second, which the 99th percentile would show.

Half of this module says in words what the numbers are, since people compare them with others'.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from itertools import count
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import cv2
import numpy as np

from captcha_rt.errors import CaptchaRTError, InstallationError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.manifest import Manifest
from captcha_rt.progress import track
from captcha_rt.session import installed
from captcha_rt.solver import Solver

BATCHES: Final = (1, 8, 32)
MAX_PICTURES: Final = 200
"""A quick look needs no more; each is read once before the clocks run."""

_WARM_UP = 5  # with each batch size CUDA first chooses kernels and takes memory
_MIN_ROUNDS = 20
_VERSIONS = (
    "captcha-rt",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "onnxruntime",
    "onnxruntime-gpu",
)

# Linux counts the memory of the process that starts another into that one's peak: 297 MB for an
# empty Python that a process of 300 MB started. So a bare Python stands in between.
_LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
cpu = peak = None
if hasattr(os, "wait4"):
    _, status, used = os.wait4(process.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    cpu = (used.ru_utime + used.ru_stime) * 1000
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
else:
    code = process.wait()
wall = (time.perf_counter() - start) * 1000
print(json.dumps([round(v, 1) if v else v for v in (wall, cpu, peak)]))
sys.exit(code)
"""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How long something took, in milliseconds of the wall clock.

    Attributes:
        p50: The median.
        p90: The 90th percentile.
        p99: The 99th percentile.
        rounds: How often it was measured.
    """

    p50: float
    p90: float
    p99: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Rate:
    """What one `Solver`, called from several threads, reads in a second.

    Attributes:
        batch: The pictures that go through the network at once.
        threads: The threads that call `solve_batch`.
        pictures_per_second: The pictures that all of them read in a second.
    """

    batch: int
    threads: int
    pictures_per_second: float


@dataclass(frozen=True, slots=True)
class Start:
    """What a process took, from its start to its end.

    Attributes:
        wall_ms: Milliseconds of the wall clock.
        cpu_ms: Milliseconds of CPU time, of all its threads; None on Windows.
        peak_mb: Its largest resident memory, in 10^6 bytes; None on Windows.
    """

    wall_ms: float
    cpu_ms: float | None
    peak_mb: float | None


@dataclass(frozen=True, slots=True)
class Report:
    """What `captcha-rt bench` found.

    Attributes:
        model: The model's name.
        provider: The provider that is active, as the session itself says.
        processor: The processor's name, where the system tells.
        cores: The cores that this process may use.
        versions: Those of Python and of the distributions that read a picture.
        pictures: How many pictures were read, in turn.
        drawn: Whether that was a drawn picture, since none was named.
        threads: The threads within one run of the network.
        stages: The stages of one picture on one thread, and `whole`: `Solver.solve` on a file's
            bytes. They are measured in turn, so that no stage finds its data in the cache only
            because it ran just before.
        session: By batch size, one run of the network on a warmed-up, fixed batch. Arrays of
            NumPy go in and come out, so that copies to a GPU and back are counted.
        throughput: By batch size and threads.
        cold_start: A fresh process that reads one picture: of several the one with the median of
            the wall clock.
    """

    model: str
    provider: str
    processor: str
    cores: int
    versions: dict[str, str]
    pictures: int
    drawn: bool
    threads: int
    stages: dict[str, Percentiles]
    session: dict[int, Percentiles]
    throughput: tuple[Rate, ...]
    cold_start: Start


def read_pictures(
    solver: Solver,
    sources: Sequence[tuple[str, Path | bytes | CaptchaRTError]],
    *,
    quiet: bool = False,
) -> tuple[list[bytes], list[tuple[str, CaptchaRTError]]]:
    """Reads the pictures' files, and each picture once; what can't be read is left out.

    Args:
        solver: The model.
        sources: Names, each with its picture or why there is none. Of more than `MAX_PICTURES`
            so many are taken, evenly spread.
        quiet: No progress bar.

    Returns:
        The files' bytes, and by name the errors of those that are left out.
    """
    taken = sources[:: -(-len(sources) // MAX_PICTURES) or 1]
    pictures, problems = [], []
    for name, source in track(taken, len(taken), what="reading", quiet=quiet):
        try:
            if isinstance(source, CaptchaRTError):
                raise source
            solver.solve(source)
            pictures.append(source if isinstance(source, bytes) else source.read_bytes())
        except CaptchaRTError as error:
            problems.append((name, error))
    return pictures, problems


def draw_picture(manifest: Manifest) -> bytes:
    """Draws a picture, always the same, of a size that a model's recipe takes.

    Args:
        manifest: The model.

    Returns:
        A PNG file: dark characters among specks, RGB; 200 x 50 pixels and 5 kB, as real ones
        have, where the recipe takes that size.

    Raises:
        RecipeError: If the recipe wants more of a picture, as glyphs or transparency.
    """
    upright = [side or 1 for side in manifest.input.shape[1:3]]  # only the batch is None
    for height, width in ([50, 200], upright, upright[::-1]):
        specks = np.random.default_rng(0).random((height, width, 1)) < 0.05
        canvas = np.where(specks, 160, 240).astype(np.uint8).repeat(3, axis=2)
        at, size = (width // 10, height * 3 // 4), height / 40
        cv2.putText(canvas, "2p4nx", at, cv2.FONT_HERSHEY_SIMPLEX, size, (60, 40, 20), 2)
        png = bytes(cv2.imencode(".png", canvas)[1])
        try:
            if manifest.recipe.apply(decode_image(png)).shape == manifest.tensor_shape:
                return png
        except RecipeError:
            continue
    raise RecipeError(f"the model {manifest.name} can't read a drawn picture: name pictures for it")


def measure(
    solver: Solver,
    pictures: Sequence[bytes],
    options: Sequence[str],
    *,
    threads: int = 1,
    drawn: bool = False,
    seconds: float = 0.25,
    starts: int = 5,
    quiet: bool = False,
) -> Report:
    """Measures everything, with a small model in seven seconds.

    Args:
        solver: The model.
        pictures: Files that it reads, at least one.
        options: What makes `captcha-rt solve` load the same model in the same way.
        threads: The threads within one run of the network that the model was loaded with.
        drawn: Whether the picture is a drawn one.
        seconds: So long each batch size and each rate is measured, and six times as long the
            stages.
        starts: So many fresh processes are measured.
        quiet: No progress bar.

    Raises:
        InstallationError: If a fresh process can't read a picture that this one has read.
        CaptchaRTError: If the model fails meanwhile.
    """
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "picture"
        picture.write_bytes(pictures[0])
        solve = ("-m", "captcha_rt", "solve", str(picture), "--min-confidence", "0", *options)
        bar = track(range(starts), starts, what="starting", quiet=quiet)
        started = sorted((start_python(*solve) for _ in bar), key=lambda start: start.wall_ms)
    cores = available_cores()
    return Report(
        model=solver.manifest.name,
        provider=solver.session.providers[0],
        processor=processor(),
        cores=cores,
        versions={"python": platform.python_version(), **installed(*_VERSIONS)},
        pictures=len(pictures),
        drawn=drawn,
        threads=threads,
        stages=measure_stages(solver, pictures, seconds=6 * seconds),
        session={n: measure_session(solver, pictures, batch=n, seconds=seconds) for n in BATCHES},
        throughput=tuple(
            measure_rate(solver, pictures, batch=batch, threads=callers, seconds=seconds)
            for callers in sorted({1, 2, cores})
            for batch in BATCHES
        ),
        cold_start=started[len(started) // 2],
    )


def measure_stages(
    solver: Solver, pictures: Sequence[bytes], *, seconds: float
) -> dict[str, Percentiles]:
    """Times what `Solver.solve` does of one picture after the other, and then that itself."""
    manifest, session = solver.manifest, solver.session
    rows = []
    for round_ in _rounds(seconds):
        data = pictures[round_ % len(pictures)]
        start = perf_counter()
        picture = decode_image(data, max_pixels=solver.max_pixels)
        decoded = perf_counter()
        tensor = manifest.recipe.apply(picture)
        prepared = perf_counter()
        scores = session.run(manifest.batch(tensor[None]))
        run = perf_counter()
        manifest.decode(scores)
        read = perf_counter()
        solver.solve(data)
        end = perf_counter()
        rows.append((decoded - start, prepared - decoded, run - prepared, read - run, end - read))
    names = ("decode", "recipe", "session", "decoder", "whole")
    columns = zip(*rows[_WARM_UP:], strict=True)
    return {name: _percentiles(column) for name, column in zip(names, columns, strict=True)}


def measure_session(
    solver: Solver, pictures: Sequence[bytes], *, batch: int, seconds: float
) -> Percentiles:
    """Times runs of the network on one batch of pictures, from NumPy's arrays to NumPy's arrays."""
    manifest = solver.manifest
    images = [decode_image(pictures[i % len(pictures)]) for i in range(batch)]
    inputs = manifest.batch(np.stack([manifest.recipe.apply(image) for image in images]))
    times = []
    for _ in _rounds(seconds):
        start = perf_counter()
        solver.session.run(inputs)
        times.append(perf_counter() - start)
    return _percentiles(times[_WARM_UP:])


def measure_rate(
    solver: Solver, pictures: Sequence[bytes], *, batch: int, threads: int, seconds: float
) -> Rate:
    """Counts what threads that share a solver read, each one whole batch after the other.

    Raises:
        CaptchaRTError: If a picture can't be read: an error would count as a fast answer.
    """
    number = len(pictures)
    batches = [
        [pictures[(start + i) % number] for i in range(batch)] for start in range(0, number, batch)
    ]

    def read_batches(first: int) -> int:
        """Reads batches until the time is over, at least one; counts the pictures."""
        done = 0
        while done == 0 or perf_counter() < end:
            images = batches[(first + done // batch) % len(batches)]
            for answer in solver.solve_batch(images, batch_size=batch):
                if isinstance(answer, CaptchaRTError):
                    raise answer
            done += batch
        return done

    with ThreadPoolExecutor(threads) as pool:
        start = perf_counter()
        end = start + seconds
        read = sum(pool.map(read_batches, range(threads)))
        return Rate(batch, threads, round(read / (perf_counter() - start), 1))


def start_python(*arguments: str) -> Start:
    """Runs a fresh Python from its start to its end.

    Args:
        *arguments: As on Python's command line.

    Raises:
        InstallationError: If it ends with another exit code than 0.
    """
    launched = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCHER, sys.executable, *arguments],
        check=False,
        capture_output=True,
        text=True,
        errors="backslashreplace",
    )
    if launched.returncode:
        said = launched.stderr.strip().splitlines() or ["it said nothing"]
        raise InstallationError(f"a fresh `python {' '.join(arguments)}` failed: {said[-1]}")
    return Start(*json.loads(launched.stdout))


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def describe(report: Report) -> str:
    """The report as text: some lines, then a table of each kind of number."""
    about = [
        f"model: {report.model}",
        f"active provider: {report.provider}",
        f"threads within one run: {report.threads}",
        f"pictures: {report.pictures}{', a drawn one, since none was named' * report.drawn}",
        f"processor: {report.processor}, {report.cores} cores",
        "versions: " + ", ".join(f"{name} {v}" for name, v in report.versions.items()),
        "session: from NumPy to NumPy, so that copies to a GPU and back are counted",
    ]
    titles = ("p50", "p90", "p99", "rounds")
    rates = {
        f"from {n} thread{'s' * (n > 1)}": [
            f"{rate.pictures_per_second:.0f}" for rate in report.throughput if rate.threads == n
        ]
        for n in sorted({rate.threads for rate in report.throughput})
    }
    took = ["-" if value is None else f"{value:.1f}" for value in astuple(report.cold_start)]
    tables: list[dict[str, Sequence[str]]] = [
        {"one picture at a time, ms": titles, **_cells(report.stages)},
        {
            "session, ms a batch": titles,
            **_cells({f"batch {n}": its for n, its in report.session.items()}),
        },
        {"pictures a second": [f"batch {n}" for n in BATCHES], **rates},
        {"cold start": ("wall ms", "CPU ms", "peak MB"), "captcha-rt solve PICTURE": took},
    ]
    texts = [
        "\n".join(f"{name:<26}" + "".join(f"{cell:>10}" for cell in row) for name, row in t.items())
        for t in tables
    ]
    return "\n\n".join(["\n".join(about), *texts])


def _cells(rows: Mapping[str, Percentiles]) -> dict[str, Sequence[str]]:
    return {
        name: [f"{its.p50:.3f}", f"{its.p90:.3f}", f"{its.p99:.3f}", f"{its.rounds}"]
        for name, its in rows.items()
    }


def _rounds(seconds: float) -> Iterator[int]:
    """Counts the rounds: some to warm up, then until the time is over, and at least some."""
    end = inf
    for done in count():
        if done == _WARM_UP:
            end = perf_counter() + seconds
        if done >= _WARM_UP + _MIN_ROUNDS and perf_counter() > end:
            return
        yield done


def _percentiles(seconds: Sequence[float]) -> Percentiles:
    p50, p90, p99 = (np.percentile(seconds, (50, 90, 99)) * 1000).round(4).tolist()
    return Percentiles(p50, p90, p99, len(seconds))
