"""Draws pictures of document 002's kind, as METU's student portal does.

The pictures show six digits of a face like Arial, in one of three sizes, on a grid of dashes or
under salt and pepper. They are drawn as PHP's GD draws with a palette, and saved as JPEG. Grids,
places, numbers of dots, greys, mixing and JPEG were measured on 6,000 real pictures; where there is
no digit, the grids equal the real ones to the byte. Only the face differs: strokes of one pen along
curves, fitted to the digits' mean shapes. The strokes are closer to the real digits than
matplotlib's faces squeezed to the same ink: the squared error of a digit with 85 pixels of ink is
0.3 to 1.8, against 0.4 to 7.
"""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt_train.generators.digits import check_text, random_text

WIDTH, HEIGHT = 150, 50
# The rows that a text is moved down from the highest one, and their probabilities.
_DOWN, _DOWN_PROBABILITIES = (0, 3, 5, 9, 10, 12), np.array([2, 2, 1, 2, 2, 2]) / 11
_PERIODS = (4, 5, 6)  # pixels between a grid's lines
_DASH = 3  # pixels of a dash, and of the gap after it
_GRID, _GRID_TEXT, _SALT_TEXT = 100, 91, 0  # grey levels of grid, text on it, text under dots
_DOTS = 1125  # white dots, then as many black ones; each 15 % of the pixels
_TOP = 6  # the first row of a digit's place in the highest text
_KERN = 2  # pixels that a 1 after a 1, and all that follows it, moves to the left
_MIXES = 8  # GD mixes a palette's colours in eighths
_QUALITY = 75
_CELL, _ROWS = 18, 26  # columns and rows of a digit's place
_ZOOM = np.array([16, 18])  # digits are drawn this many times larger: the pen is wider than high
_SMOOTH = 8  # straight lines of the curve between two points
_CATMULL_ROM = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2


class _Size(NamedTuple):
    """The measures of one size of digits, in pixels. A digit's box holds the pen's middle line."""

    places: tuple[int, ...]  # columns where the digits' places begin
    left: float  # from the place's left edge to the digit's box
    top: float  # from the place's top edge to the digit's box
    width: float  # of the digit's box
    height: float
    pen: int  # the thickness, in 1 / _ZOOM of a pixel


_SIZES = (
    _Size((29, 42, 55, 69, 82, 96), 3.09, 5.09, 9.15, 14.88, 34),
    _Size((29, 43, 57, 71, 85, 99), 3.15, 4.15, 9.59, 15.82, 34),
    _Size((29, 43, 58, 73, 87, 102), 3.27, 2.17, 10.42, 17.76, 36),
)

# The strokes of each digit: points of curves, or the two ends of a line, in percent of its box.
# fmt: off
_STROKES: tuple[tuple[tuple[tuple[int, int], ...], ...], ...] = (
    (
        ((1, 51), (5, 23), (26, 3), (58, 0), (70, 3), (89, 15), (99, 50), (89, 85), (71, 97),
         (57, 100), (25, 97), (5, 77), (1, 51)),
    ),
    (
        ((15, 27), (44, 15), (66, 0)),
        ((64, 9), (63, 102)),
    ),
    (
        ((3, 19), (8, 12), (27, 2), (55, 0), (81, 5), (97, 23), (84, 46), (43, 70), (12, 88),
         (-1, 100)),
        ((-20, 101), (99, 101)),
    ),
    (
        ((1, 81), (10, 90), (26, 98), (43, 101), (80, 95), (99, 72), (81, 50), (51, 45),
         (37, 47)),
        ((37, 47), (65, 42), (88, 29), (88, 17), (78, 6), (47, 0), (18, 6), (4, 18)),
    ),
    (
        ((74, 102), (74, -2)),
        ((75, -3), (-13, 72)),
        ((-11, 74), (101, 74)),
    ),
    (
        ((94, 0), (18, 0)),
        ((17, 9), (8, 38)),
        ((5, 46), (22, 40), (52, 34), (85, 42), (100, 65), (85, 92), (43, 101), (12, 92),
         (1, 81)),
    ),
    (
        ((95, 18), (87, 9), (73, 2), (43, 0), (14, 12), (3, 29), (-2, 46), (5, 79), (23, 95),
         (50, 100), (85, 93), (99, 65), (79, 43), (53, 39), (21, 46), (-1, 66)),
    ),
    (
        ((-1, 0), (102, 0)),
        ((101, 0), (66, 31), (39, 70), (28, 102)),
    ),
    (
        ((51, 45), (26, 40), (7, 24), (21, 5), (50, 0), (78, 5), (92, 23), (76, 40), (51, 45)),
        ((50, 44), (15, 53), (0, 73), (15, 94), (50, 100), (84, 94), (100, 72), (84, 53),
         (50, 44)),
    ),
    (
        ((5, 83), (11, 91), (25, 98), (57, 100), (86, 88), (97, 70), (100, 54), (95, 22), (76, 5),
         (49, 0), (16, 7), (0, 34), (20, 57), (49, 61), (81, 54), (99, 37)),
    ),
)
# fmt: on


def generate(rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]]:
    """Draws a text and its picture, `(50, 150, 1)` uint8."""
    text = random_text(rng)
    return text, draw(text, rng)


def draw(text: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws one picture; the same for the same state of `rng` and the same library versions.

    Args:
        text: Six digits.
        rng: Chooses size and height of the text, and the noise.

    Returns:
        The picture, `(50, 150, 1)` uint8, grey, after JPEG.

    Raises:
        CharsetError: If the text is not six digits.
    """
    check_text(text)
    ink = _word(text, int(rng.integers(len(_SIZES))), int(rng.choice(_DOWN, p=_DOWN_PROBABILITIES)))
    if rng.random() < 0.5:
        page = np.where(ink > 0, _mix(ink, _GRID_TEXT), _grid(int(rng.choice(_PERIODS))))
    else:
        page = _mix(ink, _SALT_TEXT)
        dots = rng.integers(page.size, size=(2, _DOTS))  # some hit the same pixel
        page.flat[dots[0]] = 255
        page.flat[dots[1]] = 0
    _, file = cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE), np.uint8)[:, :, None]


def _mix(ink: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    """Ink of `level` on white, not on the grid: the grid's dashes end at a digit's edge."""
    return np.asarray(255 - ink * ((255 - level) / _MIXES), np.uint8)


def _word(text: str, size: int, down: int) -> NDArray[np.uint8]:
    """The digits' ink, `(50, 150)` in 0.._MIXES."""
    page = np.zeros((HEIGHT, WIDTH), np.uint8)
    back = 0
    for i, (char, place) in enumerate(zip(text, _SIZES[size].places, strict=True)):
        back += _KERN * (text[max(i - 1, 0) : i + 1] == "11")
        cell = page[_TOP + down :, place - back :][:_ROWS, :_CELL]
        np.maximum(cell, _ink(char, size)[: len(cell)], out=cell)
    return page


@cache
def _ink(char: str, size: int) -> NDArray[np.uint8]:
    """A digit's ink, `(26, 18)` in 0.._MIXES."""
    _, left, top, width, height, pen = _SIZES[size]
    fine = np.zeros(np.array([_ROWS, _CELL]) * _ZOOM[::-1], np.uint8)
    for stroke in _STROKES[int(char)]:
        points = _curve(np.array(stroke, np.float64)) / 100 * (width, height) + (left, top)
        line = np.rint((points * _ZOOM - 0.5) * 16).astype(np.int32)  # from the pixels' middles
        # The last argument: 4 bits of the coordinates are sixteenths.
        cv2.polylines(fine, [line], False, 255, pen, cv2.LINE_8, 4)
    ink = cv2.resize(fine, (_CELL, _ROWS), interpolation=cv2.INTER_AREA)
    return np.asarray(np.rint(ink * (_MIXES / 255)), np.uint8)


def _curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Catmull-Rom curve through points, `(N, 2)`; closed if the last point is the first."""
    if len(points) == 2:
        return points
    before, after = points[[-2, 1]]
    if (points[0] != points[-1]).any():
        before, after = 2 * points[[0, -1]] - points[[1, -2]]
    four = np.stack(
        [np.vstack([before, points[:-2]]), points[:-1], points[1:], np.vstack([points[2:], after])]
    )
    powers = np.vander(np.arange(_SMOOTH) / _SMOOTH, 4, increasing=True)
    curve = np.einsum("tp,pk,kns->nts", powers, _CATMULL_ROM, four)
    return np.vstack([curve.reshape(-1, 2), points[-1]])


@cache
def _grid(period: int) -> NDArray[np.uint8]:
    """Dashed lines across, and dashed lines down over them; a dash continues in the next line."""
    page = np.full((HEIGHT, WIDTH), 255, np.uint8)
    across, down = page[::period], page.T[::period]
    dashes = np.where(np.arange(page.size) // _DASH % 2, 255, _GRID)
    across[:] = dashes[: across.size].reshape(across.shape)
    down[:] = dashes[across.size :][: down.size].reshape(down.shape)
    return page
