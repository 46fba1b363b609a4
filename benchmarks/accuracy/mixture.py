"""Draws what the general model learns from: `python -m benchmarks mixture`.

The command writes `benchmarks/results/mixture.png`, a row for each style of
`captcha_rt_train.generators.mixture.styles`. The faces are those of the file that `CAPTCHA_FACES`
names, or else matplotlib's few. `python -m benchmarks general` writes `misread.png` with
`draw_misread`.
"""

from collections.abc import Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import RESULTS, command_parser
from captcha_rt import Solver
from captcha_rt.files import write_atomically

Pixels = NDArray[np.uint8]
"""A picture, `(H, W, 3)`, RGB."""

WIDTH, HEIGHT, GAP = 1400, 56, 6
"""The sheets' width, the pictures' height, and the gap between pictures, in pixels."""

_NAMES: Final = 90  # pixels of the column with the styles' names
_CAPTION: Final = 16  # pixels of the line under a picture
_MISREAD_ROWS: Final = 8


def draw_sheet() -> Pixels:
    """Draws a row of pictures for each style."""
    from captcha_rt_train.generators.mixture import chosen_faces, draw
    from captcha_rt_train.generators.mixture.styles import STYLES

    faces = chosen_faces()
    rows = []
    for number, (name, (_, style)) in enumerate(STYLES.items()):
        row = np.full((HEIGHT + GAP, WIDTH, 3), 128, np.uint8)
        _write(row, name, (4, HEIGHT // 2 + 5))
        seeds = ([number, seed] for seed in count())
        drawn = (draw(np.random.default_rng(seed), faces, style) for seed in seeds)
        _fill(row, _NAMES, (_scale(d.picture) for d in drawn))
        rows.append(row)
    return np.concatenate(rows)


def draw_misread(solver: Solver) -> Pixels:
    """Draws pictures of the mixture until many were misread; shows those, and what was read.

    Case is ignored. Under each picture stand its label and the answer.
    """
    from captcha_rt_train.generators.mixture import chosen_faces, draw

    faces = chosen_faces()
    drawn = (draw(np.random.default_rng(seed), faces) for seed in count())
    read = ((d, solver.solve(d.picture).text) for d in drawn)
    tiles = (
        _caption(_scale(d.picture), f"{d.label} > {text or 'nothing'}")
        for d, text in read
        if text.casefold() != d.label.casefold()
    )
    rows = []
    for _ in range(_MISREAD_ROWS):
        row = np.full((GAP + HEIGHT + _CAPTION, WIDTH, 3), 128, np.uint8)
        _fill(row, GAP, tiles)
        rows.append(row)
    return np.concatenate(rows)


def write_sheet(file: Path, sheet: Pixels) -> None:
    """Writes a sheet as PNG."""
    png = cv2.imencode(".png", sheet[:, :, ::-1])[1]
    with write_atomically(file) as path:
        path.write_bytes(png.tobytes())


def _scale(picture: Pixels) -> Pixels:
    """Scales a picture to the height of all."""
    width = round(picture.shape[1] * HEIGHT / picture.shape[0])
    return np.asarray(cv2.resize(picture, (width, HEIGHT)), np.uint8)


def _caption(picture: Pixels, text: str) -> Pixels:
    """Writes a line under a picture, which may make it wider."""
    (needed, _), _ = cv2.getTextSize(text, 0, 0.45, 1)
    tile = np.full((HEIGHT + _CAPTION, max(picture.shape[1], needed), 3), 128, np.uint8)
    tile[:HEIGHT, : picture.shape[1]] = picture
    _write(tile, text, (0, HEIGHT + _CAPTION - 4))
    return tile


def _write(sheet: Pixels, text: str, place: tuple[int, int]) -> None:
    cv2.putText(sheet, text, place, 0, 0.45, (255, 255, 255), 1, cv2.LINE_AA)


def _fill(row: Pixels, left: int, tiles: Iterable[Pixels]) -> None:
    """Puts tiles side by side into a row, from the column `left`, until one doesn't fit."""
    for tile in tiles:
        width = tile.shape[1]
        if left + width > WIDTH:
            return
        row[GAP:, left : left + width] = tile
        left += width + GAP


def main(argv: Sequence[str], results: Path = RESULTS) -> None:
    """Writes the sheet of the styles."""
    command_parser("mixture", __doc__).parse_args(argv)
    write_sheet(results / "mixture.png", draw_sheet())
