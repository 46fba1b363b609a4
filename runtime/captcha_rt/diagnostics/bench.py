"""A quick measurement of how fast a model is on this machine, for `captcha-rt bench`.

No progress bar is shown while this process times itself. The bar's own thread takes 1 ms of CPU ten
times a second, which would show in the 99th percentile.
"""

import platform
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import cv2
import numpy as np

from captcha_rt.cores import available_cores
from captcha_rt.diagnostics.machine import Usage, processor, start_python
from captcha_rt.diagnostics.stages import time_stages
from captcha_rt.errors import CaptchaRTError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.manifest import Manifest
from captcha_rt.progress import track
from captcha_rt.session import installed
from captcha_rt.solver import Solver

BATCHES: Final = (1, 8, 32)
MAX_PICTURES: Final = 200
"""The number of pictures to measure with. Each is read once before anything is timed."""

_WARM_UP: Final = 5  # rounds: for each batch size CUDA first chooses kernels and allocates memory
_MIN_ROUNDS: Final = 20
_VERSIONS: Final = (
    "captcha-rt",
    "numpy",
    "opencv-python-headless",
    "opencv-python",
    "onnxruntime",
    "onnxruntime-gpu",
)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """How long something took, in milliseconds of the wall clock.

    Attributes:
        p50: The median.
        p90: The 90th percentile.
        p99: The 99th percentile.
        rounds: The number of measurements.
    """

    p50: float
    p90: float
    p99: float
    rounds: int


@dataclass(frozen=True, slots=True)
class Rate:
    """How many pictures one `Solver` reads per second when several threads call it.

    Attributes:
        batch: The number of pictures in one run of the network.
        threads: The number of threads that call `solve_batch`.
        pictures_per_second: The number of pictures that all threads together read per second.
    """

    batch: int
    threads: int
    pictures_per_second: float


@dataclass(frozen=True, slots=True)
class Report:
    """What `captcha-rt bench` found.

    Attributes:
        model: The model's name.
        provider: The active provider, as the session itself reports it.
        reason: Why `auto` has chosen it; empty if a device was asked for.
        processor: The processor's name, where the system tells it.
        cores: The number of cores that this process may use.
        versions: The versions of Python and of the distributions that read a picture.
        pictures: The number of pictures, which were read in turn.
        drawn: Whether the picture was drawn, because no path was given.
        threads: The number of threads within one run of the network.
        stages: The time of each stage by name, one picture at a time on one thread; and `whole`,
            the time of `Solver.solve` on a file's bytes.
        session: The time of one run of the network by batch size, after a warm-up. The input and
            output are NumPy arrays, so that copies to a GPU and back are counted.
        throughput: The rates for each number of threads and batch size.
        cold_start: The usage of a fresh process that reads one picture: of several processes, the
            one with the median wall-clock time.
    """

    model: str
    provider: str
    reason: str
    processor: str
    cores: int
    versions: dict[str, str]
    pictures: int
    drawn: bool
    threads: int
    stages: dict[str, Percentiles]
    session: dict[int, Percentiles]
    throughput: tuple[Rate, ...]
    cold_start: Usage


def read_pictures(
    solver: Solver,
    sources: Sequence[tuple[str, Path | bytes | CaptchaRTError]],
    *,
    quiet: bool = False,
) -> tuple[list[bytes], list[tuple[str, CaptchaRTError]]]:
    """Loads files, and skips those whose picture the model can't read.

    Args:
        solver: The model, which reads each picture once.
        sources: Names, each with a picture, or with the error that there is none, as `expand_path`
            returns them. Of more than `MAX_PICTURES`, at most that number are taken, evenly spread.
        quiet: Whether to show no progress bar.

    Returns:
        The files' bytes; and the skipped pictures, each with its name and error.
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
    """Draws a picture of a size that a model's recipe takes, always the same one.

    Args:
        manifest: The description of the model.

    Returns:
        A PNG file: dark characters among specks, RGB. It has 200 x 50 pixels and 5 kB, like real
        pictures, if the recipe takes that size.

    Raises:
        RecipeError: If the recipe needs something else in a picture, such as glyphs or
            transparency.
    """
    # For mypy, which does not know that only the batch is None.
    sides = [side or 1 for side in manifest.input.shape[1:3]]
    for height, width in ([50, 200], sides, sides[::-1]):
        specks = np.random.default_rng(0).random((height, width, 1)) < 0.05
        canvas = np.where(specks, 160, 240).astype(np.uint8).repeat(3, axis=2)
        at, size = (width // 10, height * 3 // 4), height / 40
        cv2.putText(canvas, "2p4nx", at, cv2.FONT_HERSHEY_SIMPLEX, size, (60, 40, 20), 2)
        png = bytes(cv2.imencode(".png", canvas)[1])
        try:
            manifest.prepare(decode_image(png))
        except RecipeError:
            continue
        return png
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
    """Measures stages, session, throughput and cold start: seven seconds with a small model.

    Args:
        solver: The model.
        pictures: The bytes of picture files that the model reads; at least one.
        options: The options with which `captcha-rt solve` loads the same model in the same way.
        threads: The number of threads within one run that the model was loaded with.
        drawn: Whether the picture was drawn.
        seconds: The time in seconds to measure each batch size and each rate. The stages are
            measured six times as long.
        starts: The number of fresh processes to measure.
        quiet: Whether to show no progress bar.

    Returns:
        What was measured, and with which model, machine and versions.

    Raises:
        InstallationError: If a fresh process can't read a picture that this process has read.
        CaptchaRTError: If the model fails.
    """
    with TemporaryDirectory() as folder:
        picture = Path(folder) / "picture"
        picture.write_bytes(pictures[0])
        solve = ("-m", "captcha_rt", "solve", str(picture), "--min-confidence", "0", *options)
        bar = track(range(starts), starts, what="starting", quiet=quiet)
        started = sorted((start_python(*solve) for _ in bar), key=lambda start: start.wall_ms)
    cores = available_cores()
    return Report(
        model=solver.name,
        provider=solver.session.providers[0],
        reason=solver.session.reason,
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
    """Times the stages of `Solver.solve`, by name, for some seconds; see `time_stages`."""
    turns = (pictures[round_ % len(pictures)] for round_ in _rounds(seconds))
    times = time_stages(solver, turns)
    return {stage: _percentiles(values[_WARM_UP:]) for stage, values in times.items()}


def measure_session(
    solver: Solver, pictures: Sequence[bytes], *, batch: int, seconds: float
) -> Percentiles:
    """Times runs of the network on one batch, for some seconds, from NumPy to NumPy arrays."""
    manifest = solver.manifest
    images = [decode_image(pictures[i % len(pictures)]) for i in range(batch)]
    inputs = manifest.batch(np.stack([manifest.prepare(image) for image in images]))
    times = []
    for _ in _rounds(seconds):
        start = perf_counter()
        solver.session.run(inputs)
        times.append((perf_counter() - start) * 1000)
    return _percentiles(times[_WARM_UP:])


def measure_rate(
    solver: Solver, pictures: Sequence[bytes], *, batch: int, threads: int, seconds: float
) -> Rate:
    """Counts the pictures that several threads read with one solver, batch after batch.

    Args:
        solver: The model.
        pictures: The bytes of picture files; at least one.
        batch: The number of pictures in one run of the network.
        threads: The number of threads that call `solve_batch`.
        seconds: The time to measure in seconds; each thread reads at least one batch.

    Raises:
        CaptchaRTError: If a picture can't be read. Otherwise the error would count as an answer.
    """
    number = len(pictures)
    batches = [
        [pictures[(start + i) % number] for i in range(batch)] for start in range(0, number, batch)
    ]

    def read_batches(first: int) -> int:
        """Reads batches, at least one, until the time is over; returns the number of pictures."""
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


def _rounds(seconds: float) -> Iterator[int]:
    """Counts rounds: those of the warm-up, then `_MIN_ROUNDS` or more until the time is over."""
    end = inf
    for done in count():
        if done == _WARM_UP:
            end = perf_counter() + seconds
        if done >= _WARM_UP + _MIN_ROUNDS and perf_counter() > end:
            return
        yield done


def _percentiles(milliseconds: Sequence[float]) -> Percentiles:
    p50, p90, p99 = np.percentile(milliseconds, (50, 90, 99)).round(4).tolist()
    return Percentiles(p50, p90, p99, len(milliseconds))
