"""A pool: pictures of the mixture, drawn once by all cores, and kept in files for the trainings."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.cores import available_cores
from captcha_rt.files import write_atomically
from captcha_rt.manifest import Manifest
from captcha_rt.progress import Watch, unwatched
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.generators.mixture.batch import (
    LENGTH,
    DrawnBatch,
    draw_batch,
    start_worker,
    without_scale,
)
from captcha_rt_train.generators.mixture.faces import load_faces
from captcha_rt_train.lock import alone_in

BATCH: Final = 128
"""The pictures that a process draws at once. A part of a batch counts as a whole one."""

_SETTINGS: Final = "pool.json"
_FILES: Final = "labels.npy", "columns.npy", "pictures.npy"  # the pictures are written last
_AHEAD: Final = 4  # batches that wait for each process
ACROSS: Final = 0.7, 1.35  # the scales of a changed picture
DOWN: Final = 0.75, 1.2
TURN: Final = 3.0  # degrees
SHEAR: Final = 0.08  # columns a row
OVER: Final = 3.0  # pixels by which a picture may be moved out of its frame
EDGE: Final = 0.05  # of the width: what is kept beside the middle of a character
SIGMA: Final = 0.3, 1.0  # pixels: a blur's standard deviations
SHRUNK: Final = 0.5, 0.9  # the scales of a picture that is made smaller for a while
SOFTENED: Final = 0.2  # probabilities
PERMUTED: Final = 0.5
INVERTED: Final = 0.1
NOISY: Final = 0.3
CONTRAST: Final = 0.25
BRIGHTNESS: Final = 0.1  # of white
NOISE: Final = 0.04  # of white: the largest standard deviation


@dataclass(frozen=True, slots=True)
class Pool:
    """Pictures that were drawn in advance, mapped into memory.

    Attributes:
        pictures: `(N, H, W, 3)` uint8, as in a `DrawnBatch`.
        labels: `(N, LENGTH)` int32 class ids, padded with the blank.
        columns: `(N, LENGTH)` float32: where each character stands, as a fraction of the width.
    """

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int32]
    columns: NDArray[np.float32]

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.labels)

    def choose(self, seed: int, first: int, size: int) -> DrawnBatch:
        """Takes the next pictures of an endless sequence, each changed anew.

        The sequence goes through the whole pool in an order of its own, then again in another one.

        Args:
            seed: Chooses the orders and the changes.
            first: The number of the first picture in the sequence.
            size: The number of pictures.

        Returns:
            The pictures, uint8; the same for the same arguments.
        """
        numbers = range(first, first + size)
        places = [order(len(self), seed, n // len(self))[n % len(self)] for n in numbers]
        pictures, columns = [], self.columns[places]
        rng = np.random.default_rng((seed, first))
        for row, place in zip(columns, places, strict=True):
            changed, row[:] = change(self.pictures[place], row, rng)
            pictures.append(changed)
        return DrawnBatch(np.stack(pictures), self.labels[places], columns)


def draw_pool(
    folder: Path,
    faces: Path,
    manifest: Manifest,
    *,
    seed: int,
    drawn: int,
    watch: Watch = unwatched,
) -> Pool:
    """Draws a pool with all cores, or goes on with one that was not finished.

    Args:
        folder: The pool's folder. A finished pool is only opened.
        faces: The file with the faces.
        manifest: Recipe and charset, as `draw_batch` takes them.
        seed: Chooses the pictures.
        drawn: The number of pictures, at least 1.
        watch: Shows the progress; it gets an iterator and the number of batches.

    Raises:
        TrainingError: If the faces can't be read, the recipe has another end than `draw_batch`
            needs, the folder holds pictures of other settings or of another version of the
            mixture, or another process draws in it.
        OSError: If the folder can't be written.
    """
    _, fit = without_scale(manifest.recipe)
    batches = -(-drawn // BATCH)
    settings = {
        "recipe": manifest.recipe.to_json(),
        "characters": manifest.charset.characters,
        "faces": load_faces(faces).names,
        "seed": seed,
        "pictures": batches * BATCH,
    }
    with alone_in(folder, "drawn", "--pool"):
        _check_settings(folder, json.loads(json.dumps(settings)))
        rows: tuple[tuple[tuple[int, ...], Any], ...] = (
            ((LENGTH,), np.int32),
            ((LENGTH,), np.float32),
            ((fit.height, fit.width, 3), np.uint8),
        )
        tables = [
            _Table(folder / name, (batches * BATCH, *shape), np.dtype(dtype))
            for name, (shape, dtype) in zip(_FILES, rows, strict=True)
        ]
        done = min(table.rows for table in tables) // BATCH
        if done:
            first = draw_batch(faces, manifest, (seed, 0), BATCH)
            if (tables[-1].first(BATCH) != first.pictures.ravel()).any():
                raise TrainingError(
                    f"{folder} holds pictures that another version of the mixture has drawn: name "
                    "another folder with --pool, or delete this one"
                )
        numbers = range(done, batches)
        for number, batch in watch(_draw(faces, manifest, seed, numbers), len(numbers)):
            parts = batch.labels, batch.columns, batch.pictures
            for table, part in zip(tables, parts, strict=True):
                table.write(number * BATCH, part)
    labels, columns, pictures = (np.load(folder / name, mmap_mode="r") for name in _FILES)
    return Pool(pictures, labels, columns)


def change(
    picture: NDArray[np.uint8], columns: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Changes a drawn picture: its place, size, shape, colours, and noise.

    Args:
        picture: `(H, W, 3)` uint8.
        columns: Where its characters stand, as fractions of the width, float32 of any shape.
        rng: The source of randomness.

    Returns:
        The picture, and where its characters stand in it.
    """
    height, width, _ = picture.shape
    across, down = _scales(columns, rng)
    turn, shear = np.deg2rad(rng.uniform(-TURN, TURN)), rng.uniform(-SHEAR, SHEAR)
    # From the middle of the picture to that of the changed one.
    matrix = np.array(
        [
            [across * np.cos(turn), across * shear - down * np.sin(turn), 0],
            [across * np.sin(turn), down * np.cos(turn), 0],
        ]
    )
    room = np.array([width * (1 - across), height * (1 - down)]).clip(0) / 2 + OVER
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] = middle - matrix[:, :2] @ middle + rng.uniform(-room, room)
    changed = cv2.warpAffine(
        picture,
        matrix,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=picture[0, 0].tolist(),  # mostly the frame that `fit` has put around it
    )
    places = (matrix[0, 0] * columns * width + matrix[0, 1] * middle[1] + matrix[0, 2]) / width
    if rng.random() < SOFTENED:
        changed = _soften(changed, rng)
    return _recolour(np.asarray(changed, np.uint8), rng), places.clip(0, 1).astype(np.float32)


def _scales(columns: NDArray[np.float32], rng: np.random.Generator) -> tuple[float, float]:
    """The scales across and down; a picture isn't widened so far that a character leaves it."""
    across, down = np.exp([rng.uniform(*np.log(limits)) for limits in (ACROSS, DOWN)])
    standing = columns[columns > 0]
    if standing.size:
        across = min(across, max(0.5 / (np.abs(standing - 0.5).max() + EDGE), 1))
    return float(across), float(down)


def _soften(picture: cv2.typing.MatLike, rng: np.random.Generator) -> cv2.typing.MatLike:
    """A blur, the loss of a smaller picture, or a median filter."""
    match rng.integers(3):
        case 0:
            return cv2.GaussianBlur(picture, (0, 0), rng.uniform(*SIGMA))
        case 1:
            factor = rng.uniform(*SHRUNK)
            small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
            how = cv2.INTER_LINEAR if rng.random() < 0.5 else cv2.INTER_CUBIC
            return cv2.resize(small, picture.shape[1::-1], interpolation=how)
        case _:
            return cv2.medianBlur(picture, 3)


def _recolour(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exchanges channels, inverts, changes contrast and brightness, adds noise."""
    if rng.random() < PERMUTED:
        picture = picture[:, :, rng.permutation(3)]
    levels = np.arange(256, dtype=np.float32) / 255
    if rng.random() < INVERTED:
        levels = 1 - levels
    contrast, brightness = rng.uniform(-1, 1, 2)
    levels = (levels - 0.5) * (1 + contrast * CONTRAST) + 0.5 + brightness * BRIGHTNESS
    table = (levels.clip(0, 1) * 255).round().astype(np.uint8)
    picture = np.asarray(cv2.LUT(np.ascontiguousarray(picture), table), np.uint8)
    if rng.random() < NOISY:
        deviation = 255 * rng.uniform(0, NOISE)
        noise = deviation * rng.standard_normal(picture.shape, np.float32)
        picture = (picture + noise).clip(0, 255).astype(np.uint8)
    return picture


@lru_cache(maxsize=2)  # a batch may end one turn and begin the next
def order(size: int, seed: int, turn: int) -> NDArray[np.int64]:
    """The order of the pictures in one turn through a pool of a size; turns count from 0."""
    return np.random.default_rng((seed, turn)).permutation(size)


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Writes the settings of a new pool; refuses one of others."""
    file = folder / _SETTINGS
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        with write_atomically(file) as path:
            path.write_text(json.dumps(settings, indent=2) + "\n", "utf-8")
        return
    except ValueError:
        found = {}
    other = sorted(name for name in settings if found.get(name) != settings[name])
    if other:
        raise TrainingError(
            f"{folder} holds pictures that were drawn with other settings ({', '.join(other)}): "
            "name another folder with --pool, or delete this one"
        )


class _Table:
    """An array in an `.npy` file that grows row by row.

    Written as a file and not through memory: a full disk is an error there, and not a crash.
    """

    def __init__(self, file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Writes the head of a new file, or finds how many rows a file has."""
        self._file = file
        self._dtype = dtype
        self._row = int(np.prod(shape[1:])) * dtype.itemsize
        if not file.exists():
            with write_atomically(file) as path, path.open("wb") as out:
                np.lib.format.write_array_header_1_0(
                    out, {"descr": dtype.str, "fortran_order": False, "shape": shape}
                )
        with file.open("rb") as head:
            np.lib.format.read_magic(head)
            np.lib.format.read_array_header_1_0(head)
            self._start = head.tell()

    @property
    def rows(self) -> int:
        """The number of rows that the file has."""
        return (self._file.stat().st_size - self._start) // self._row

    def write(self, first: int, rows: NDArray[Any]) -> None:
        """Writes rows at a place."""
        try:
            with self._file.open("r+b") as out:
                out.seek(self._start + first * self._row)
                out.write(np.ascontiguousarray(rows).data)
        except OSError as error:  # a full disk: Python doesn't name the file
            raise OSError(error.errno, error.strerror, str(self._file)) from error

    def first(self, count: int) -> NDArray[Any]:
        """Reads the first rows, one after the other in one axis."""
        with self._file.open("rb") as file:
            file.seek(self._start)
            return np.frombuffer(file.read(count * self._row), self._dtype)


def _draw(
    faces: Path, manifest: Manifest, seed: int, numbers: range
) -> Iterator[tuple[int, DrawnBatch]]:
    """Draws batches in their order, with a process for each core."""
    if not numbers:
        return
    cores = available_cores()
    # Processes that are spawned share no locks with TensorFlow's threads.
    context = get_context("spawn")
    with ProcessPoolExecutor(cores, mp_context=context, initializer=start_worker) as processes:
        waiting: dict[int, Future[DrawnBatch]] = {}
        try:
            for number in numbers:
                for ahead in range(number, min(number + _AHEAD * cores, numbers.stop)):
                    if ahead not in waiting:
                        waiting[ahead] = processes.submit(
                            draw_batch, faces, manifest, (seed, ahead), BATCH
                        )
                yield number, waiting.pop(number).result()
        finally:
            processes.shutdown(cancel_futures=True)
