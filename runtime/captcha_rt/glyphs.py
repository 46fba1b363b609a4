"""From a noisy picture of digits to one small picture a digit: document 002's segmentation.

Three steps, each to be looked at alone: `RemoveArtifacts`, `Clip`, `Glyphs`. They keep the
original's rules, but without loops over pixels: 0.3 ms a picture instead of tens.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import SegmentationError
from captcha_rt.image import MAX_SIDE
from captcha_rt.steps import Picture

INK = 155  # grey levels below are ink


@dataclass(frozen=True, slots=True)
class RemoveArtifacts:
    """Erases specks and thin lines, and fills holes, by how much ink surrounds a pixel.

    All pixels are judged by the picture as it came; beyond its border there is no ink. The
    defaults are document 002's, whose 33 % and 66 % of a 5x5 neighbourhood are 8.25 and 16.5 of
    its pixels. Every neighbourhood includes the pixel itself.

    The document erases to white and fills to the ink around, so that a stroke that was erased is
    lost, and a speck that was filled looks like a stroke. With levels of their own, on the right
    side of `ink`, the next steps see the same and the network sees more: of 2,400 of METU's
    pictures 6 were misread instead of 11 (two folds of four, the same network and training).

    Attributes:
        ink: Grey levels below count as ink.
        erase_3x3: An ink pixel is erased with at most so much ink of 9 around it.
        erase_5x5: The same, of 25.
        fill_3x3: A light pixel is filled with at least so much ink of 9 around it.
        fill_5x5: The same, of 25.
        erased: The level of what was erased.
        filled: The level of what was filled; None for the mean level of the ink among the 25,
            rounded down.
    """

    ink: int = INK
    erase_3x3: int = 3
    erase_5x5: int = 8
    fill_3x3: int = 7
    fill_5x5: int = 17
    erased: int = 255
    filled: int | None = None

    def __post_init__(self) -> None:
        _check("a grey level", self.ink, 0, 256)
        # At least 1: a pixel that is filled without ink around it would have no level.
        for count in (self.erase_3x3, self.fill_3x3):
            _check("a 3x3 neighbourhood's ink", count, 1, 9)
        for count in (self.erase_5x5, self.fill_5x5):
            _check("a 5x5 neighbourhood's ink", count, 1, 25)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, 1)` uint8 → the same shape, uint8.

        Raises:
            ValueError: If the picture is not grey, or not uint8.
        """
        grey = _grey(picture)
        ink = (grey < self.ink).view(np.uint8)
        in_3x3 = _box(ink, 3, cv2.CV_8U)
        in_5x5 = _box(ink, 5, cv2.CV_8U)
        erased = (in_3x3 <= self.erase_3x3) | (in_5x5 <= self.erase_5x5)
        filled = (in_3x3 >= self.fill_3x3) | (in_5x5 >= self.fill_5x5)
        result = np.where(erased & (ink == 1), np.uint8(self.erased), grey)
        filled &= ink == 0
        if self.filled is None:
            result[filled] = _box(grey * ink, 5, cv2.CV_16U)[filled] // in_5x5[filled]
        else:
            result[filled] = self.filled
        return result[:, :, None]


@dataclass(frozen=True, slots=True)
class Clip:
    """Cuts out the part that bounds the digits.

    As in document 002 a row or column bounds them if it holds at least half of the mean ink. Two
    things are ours, because single specks that outlive `RemoveArtifacts` moved the bounds of 16 %
    of METU's 6,000 pictures by more than 2 columns, to widths of up to 146: the mean over a row's
    3 and a column's 9 nearest has to hold as much too, and the columns count only the ink of the
    rows found. Now all are 69 to 89 columns wide, as six digits are.

    Attributes:
        ink: Grey levels below count as ink.
        margin: So many rows and columns stay on each side, as far as there are any.
    """

    ink: int = INK
    margin: int = 2

    def __post_init__(self) -> None:
        _check("a grey level", self.ink, 0, 256)
        _check("a margin", self.margin, 0, MAX_SIDE)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, 1)` uint8 → `(h, w, 1)` uint8, a view.

        Raises:
            SegmentationError: If there is no ink.
            ValueError: If the picture is not grey, or not uint8.
        """
        ink = _grey(picture) < self.ink
        top, bottom = _bounds(np.count_nonzero(ink, axis=1), window=3)
        left, right = _bounds(np.count_nonzero(ink[top:bottom], axis=0), window=9)
        rows = slice(max(top - self.margin, 0), bottom + self.margin)
        return picture[rows, max(left - self.margin, 0) : right + self.margin]


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Finds the digits' centres along the width, and cuts one picture around each.

    The centres come from document 002's weighted k-means over the columns. A column weighs its
    ink plus the square root of the ink's vertical extent; the centres start evenly spread.

    The original takes whatever k-means leaves. Here what can't be `count` glyphs is refused. Over
    METU's 6,000 pictures of six digits the ink is 15 to 22 rows high; neighbouring centres lie
    10.2 to 18.5 columns apart, the farthest two at most 1.52 times as far as the nearest, on
    average 0.65 to 0.88 times the ink's height; a glyph has 19 pixels of ink or more, over 10 rows
    or more; and the columns at the borders between glyphs hold at most 0.86 of the mean column's
    ink. The limits, a little wider, refuse none of these, all of one to four digits, 99 % of five
    and 91 % of seven, and all of 5,200 pictures of salt-and-pepper noise.

    Attributes:
        count: The number of glyphs to find.
        height: The rows of a glyph's picture.
        width: Its columns.
        ink: Grey levels below count as ink.
    """

    count: int = 6
    height: int = 23
    width: int = 15
    ink: int = INK

    def __post_init__(self) -> None:
        _check("a number of glyphs", self.count, 2, 99)
        for side in (self.height, self.width):
            _check("a side", side, 1, MAX_SIDE)
        _check("a grey level", self.ink, 0, 256)

    def __call__(self, picture: Picture) -> Picture:
        """`(h, w, 1)` uint8 → `(count, height, width, 1)` uint8, from left to right.

        The picture's middle row becomes the glyphs' middle row. What a glyph holds of its
        neighbours stays; what lies beyond the picture is white (255).

        Raises:
            SegmentationError: If the ink can't be `count` glyphs.
            ValueError: If the picture is not grey, or not uint8.
        """
        grey = _grey(picture)
        rows, columns = grey.shape
        lefts = np.floor(self.centres(picture) - (self.width - 1) / 2 + 0.5).astype(int)
        top = (rows - self.height) // 2
        band = np.full((self.height, columns + 2 * self.width), 255, np.uint8)
        inner = grey[max(top, 0) : top + self.height]
        band[max(-top, 0) :][: len(inner), self.width : -self.width] = inner
        places = (lefts + self.width)[:, None] + np.arange(self.width)
        return band[:, places].transpose(1, 0, 2)[:, :, :, None]

    def centres(self, picture: Picture) -> NDArray[np.float64]:
        """The columns of the glyphs' centres, `(count,)`, ascending; a column's middle is whole.

        Args:
            picture: `(h, w, 1)` uint8, as `Clip` leaves it.

        Raises:
            SegmentationError: If the ink can't be `count` glyphs.
            ValueError: If the picture is not grey, or not uint8.
        """
        ink = _grey(picture) < self.ink
        if ink.shape[1] < self.count:
            raise SegmentationError(
                f"found no {self.count} glyphs: the picture has {ink.shape[1]} columns"
            )
        top, bottom = _bounds(np.count_nonzero(ink, axis=1), window=3)
        counts = np.count_nonzero(ink, axis=0)
        weights = counts + np.sqrt(_extents(ink))
        centres, borders = weighted_k_means(weights, self.count)
        self._check_plausible(ink, bottom - top, counts, centres, borders)
        return centres

    def show(self, picture: Picture) -> NDArray[np.uint8]:
        """Draws the centres: `(h, w, 1)` uint8 → `(h, w, 3)` uint8 RGB with red lines.

        Raises:
            SegmentationError: If the ink can't be `count` glyphs.
            ValueError: If the picture is not grey, or not uint8.
        """
        drawn = np.repeat(_grey(picture)[:, :, None], 3, axis=2)
        drawn[:, np.rint(self.centres(picture)).astype(int)] = (255, 0, 0)
        return drawn

    def _check_plausible(
        self,
        ink: NDArray[np.bool_],
        height: int,
        counts: NDArray[np.intp],
        centres: NDArray[np.float64],
        borders: NDArray[np.intp],
    ) -> None:
        """Raises SegmentationError at the first measure that is out of its range."""
        gaps = np.diff(centres)
        masses = np.diff(np.cumsum(np.append(0, counts))[borders])
        parts = [ink[:, a:b].any(axis=1) for a, b in pairwise(borders.tolist())]
        spans = _extents(np.stack(parts, axis=1))
        valleys = (counts[borders[1:-1] - 1] + counts[borders[1:-1]]).mean() / 2
        for what, value, least, most in (
            ("the ink's height", height, 0.6 * self.height, self.height),
            ("the narrowest distance of centres", gaps.min(), 0.65 * self.width, np.inf),
            ("the widest distance of centres", gaps.max(), 0, 1.25 * self.width),
            ("the widest by the narrowest distance", gaps.max() / gaps.min(), 1, 1.55),
            ("the mean distance by the ink's height", gaps.mean() / height, 0.63, 0.9),
            ("the least ink of a glyph", masses.min(), 0.8 * height, np.inf),
            ("the least height of a glyph's ink", spans.min(), 0.4 * height, np.inf),
            ("the ink at borders by that of all columns", valleys / counts.mean(), 0, 0.9),
        ):
            if not least <= value <= most:
                wanted = f"at least {least:.3g}" if value < least else f"at most {most:.3g}"
                raise SegmentationError(
                    f"found no {self.count} glyphs: {what} is {value:.3g}, wanted is {wanted}"
                )


def weighted_k_means(
    weights: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """One-dimensional k-means over the positions 0, 1, ..., each with a weight (document 002).

    The centres start evenly spread and move to the weighted means of the positions nearest to
    them until they stay; a position midway belongs to the higher one. Clusters of positions in a
    row are ranges, so that two cumulative sums give all means: Lloyd's algorithm at 10 µs a round.

    Args:
        weights: `(n,)` at least 0, n >= 1.
        count: The number of centres.

    Returns:
        The centres, `(count,)` ascending, and the borders, `(count + 1,)`: cluster k holds the
        positions from `borders[k]` up to `borders[k + 1]`, without that. A cluster without
        weight keeps its centre.
    """
    n = len(weights)
    mass = np.concatenate([[0.0], np.cumsum(weights)])
    moment = np.concatenate([[0.0], np.cumsum(weights * np.arange(n))])
    centres = (np.arange(count) + 0.5) * n / count - 0.5
    borders = np.zeros(count + 1, np.intp)
    while True:
        middles = np.ceil((centres[1:] + centres[:-1]) / 2).astype(np.intp)
        previous, borders = borders, np.concatenate([[0], middles, [n]])
        if np.array_equal(borders, previous):
            return centres, borders
        masses = np.diff(mass[borders])
        np.divide(np.diff(moment[borders]), masses, out=centres, where=masses > 0)


def _bounds(counts: NDArray[np.intp], *, window: int) -> tuple[int, int]:
    """The first line and the one after the last with half of the mean ink, also around it."""
    least = counts.mean() / 2
    around = np.convolve(np.pad(counts, window // 2), np.ones(window), "valid")
    lines = np.flatnonzero((counts >= least) & (around >= window * least))
    if not counts.any() or not lines.size:
        raise SegmentationError("no ink: hardly a pixel is darker than the level of ink")
    return int(lines[0]), int(lines[-1]) + 1


def _extents(ink: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The rows from each column's first to its last ink, `(w,)`; 0 without ink."""
    rows = len(ink)
    extents = rows - ink[::-1].argmax(axis=0) - ink.argmax(axis=0)
    return np.where(ink.any(axis=0), extents, 0)


def _box(values: NDArray[np.uint8], side: int, depth: int) -> Picture:
    """Sums over each pixel's neighbourhood; beyond the border there is nothing."""
    sums = cv2.boxFilter(
        values, depth, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(sums)


def _grey(picture: Picture) -> NDArray[np.uint8]:
    """The only channel, `(H, W)`, of a grey uint8 picture."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 1:
        raise ValueError("it takes one grey channel of uint8; put the step 'grey' before it")
    return picture[:, :, 0]


def _check(what: str, value: int, least: int, most: int) -> None:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{what} is {least} to {most}, not {value!r}")
