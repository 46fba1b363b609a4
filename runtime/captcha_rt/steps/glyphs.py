"""The segmentation of document 002: cuts a noisy picture of digits into one picture per digit.

There are three steps: `RemoveArtifacts`, `Clip` and `Glyphs`. They follow the document's rules, but
without loops over pixels: a picture takes 0.3 ms instead of tens of milliseconds.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import SegmentationError
from captcha_rt.image import MAX_SIDE
from captcha_rt.steps.step import Picture, check

INK: Final = 155
"""Grey levels below this one are ink."""


@dataclass(frozen=True, slots=True)
class RemoveArtifacts:
    """Erases specks and thin lines, and fills holes, by the amount of ink around each pixel.

    The decision about a pixel only depends on the original picture. Outside of the picture there is
    no ink. The defaults are those of document 002: 33 % and 66 % of a 5x5 neighbourhood are 8.25
    and 16.5 pixels. A neighbourhood includes the pixel itself.

    The document erases to white, and fills with the mean level of the ink around a pixel. Then a
    stroke that was erased by mistake is lost, and a light pixel that was filled by mistake looks
    like a stroke. With `erased` and `filled` such pixels can have levels of their own, `erased` not
    below `ink` and `filled` below it. The next steps find the same ink, and the network can tell
    these pixels from others: of 2,400 of METU's pictures 6 were misread instead of 11 (two folds of
    four, the same network and training).

    Attributes:
        ink: Grey levels below this one are ink, in 0..256.
        erase_3x3: An ink pixel is erased if at most this number of pixels in its 3x3 neighbourhood
            are ink, in 1..9.
        erase_5x5: An ink pixel is also erased if at most this number of pixels in its 5x5
            neighbourhood are ink, in 1..25.
        fill_3x3: A light pixel is filled if at least this number of pixels in its 3x3 neighbourhood
            are ink, in 1..9.
        fill_5x5: A light pixel is also filled if at least this number of pixels in its 5x5
            neighbourhood are ink, in 1..25.
        erased: The new level of erased pixels, in 0..255.
        filled: The new level of filled pixels, in 0..255; None is the mean level of the ink in the
            5x5 neighbourhood, rounded down.
    """

    name: ClassVar[str] = "remove_artifacts"

    ink: int = INK
    erase_3x3: int = 3
    erase_5x5: int = 8
    fill_3x3: int = 7
    fill_5x5: int = 17
    erased: int = 255
    filled: int | None = None

    def __post_init__(self) -> None:
        check("ink", self.ink, 0, 256)
        # At least 1: without ink around a pixel there is no mean level to fill the pixel with.
        check("erase_3x3", self.erase_3x3, 1, 9)
        check("erase_5x5", self.erase_5x5, 1, 25)
        check("fill_3x3", self.fill_3x3, 1, 9)
        check("fill_5x5", self.fill_5x5, 1, 25)
        check("erased", self.erased, 0, 255)
        if self.filled is not None:
            check("filled", self.filled, 0, 255)

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
    """Cuts out the part of the picture that holds the digits.

    As in document 002, the bounds are the first and last row and column with at least half of the
    mean ink. This step adds two conditions. The mean over the nearest 3 rows or 9 columns must be
    as high, too. And only the ink between the first and the last row counts for columns. Without
    these conditions, single specks that `RemoveArtifacts` left moved the bounds in 16 % of METU's
    6,000 pictures by more than 2 columns, to widths of up to 146. With them, all pictures are 69 to
    89 columns wide, which is the width of six digits.

    Attributes:
        ink: Grey levels below this one are ink, in 0..256.
        margin: The number of rows and columns to keep on each side, where the picture has them.
    """

    name: ClassVar[str] = "clip"

    ink: int = INK
    margin: int = 2

    def __post_init__(self) -> None:
        check("ink", self.ink, 0, 256)
        check("margin", self.margin, 0, MAX_SIDE)

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
    """Finds the digits' centres along the width, and cuts out one picture around each.

    The centres come from a weighted k-means over the columns, as in document 002. The weight of a
    column is the number of its ink pixels plus the square root of the ink's vertical extent. The
    centres start evenly spread.

    The document accepts every result of k-means. Here a picture is refused if it can't hold `count`
    glyphs. In METU's 6,000 pictures of six digits:

    - the ink is 15 to 22 rows high;
    - neighbouring centres are 10.2 to 18.5 columns apart, on average 0.65 to 0.88 times the ink's
      height, and the largest distance is at most 1.52 times the smallest;
    - a glyph has at least 19 pixels of ink, over at least 10 rows;
    - the columns at the borders between glyphs hold at most 0.86 of the mean column's ink.

    The limits are a little wider, and all of these pictures are accepted. Of other pictures the
    limits refuse all with one to four digits, 99 % with five digits, 91 % with seven digits, and
    all of 5,200 pictures of salt-and-pepper noise.

    Attributes:
        count: The number of glyphs to find, in 2..99.
        height: The height of a glyph's picture in pixels.
        width: The width of a glyph's picture in pixels.
        ink: Grey levels below this one are ink, in 0..256.
    """

    name: ClassVar[str] = "glyphs"

    count: int = 6
    height: int = 23
    width: int = 15
    ink: int = INK

    def __post_init__(self) -> None:
        check("count", self.count, 2, 99)
        check("height", self.height, 1, MAX_SIDE)
        check("width", self.width, 1, MAX_SIDE)
        check("ink", self.ink, 0, 256)

    def __call__(self, picture: Picture) -> Picture:
        """`(h, w, 1)` uint8 → `(count, height, width, 1)` uint8, from left to right.

        The picture's middle row becomes the middle row of all glyphs. Parts of neighbouring glyphs
        are not erased. Pixels outside of the picture are white (255).

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
        """Finds the columns of the glyphs' centres.

        Args:
            picture: `(h, w, 1)` uint8, as `Clip` returns it.

        Returns:
            `(count,)`, ascending; the middle of column n is n.

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
        """Raises SegmentationError for the first measure that is out of range.

        Args:
            ink: `(h, w)`, whether a pixel is ink.
            height: The height of the ink in rows.
            counts: The ink of each column, `(w,)`.
            centres: The centres that k-means found, `(count,)`.
            borders: The clusters' borders, `(count + 1,)`.
        """
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
    """One-dimensional k-means over the positions 0, 1, ..., n - 1 with weights (document 002).

    This is Lloyd's algorithm. The centres start evenly spread. In each round a centre moves to the
    weighted mean of the positions nearest to it, until no centre moves. A position in the middle
    between two centres belongs to the higher one. The positions of a cluster are a range, so that
    two cumulative sums give all means, in 10 µs a round.

    Args:
        weights: `(n,)` at least 0, n >= 1.
        count: The number of centres.

    Returns:
        The centres, `(count,)` ascending; and the borders, `(count + 1,)`: cluster k holds the
        positions in `borders[k]..borders[k + 1] - 1`. A cluster without weight keeps its centre.
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
    """Finds the first line (row or column) that belongs to the digits, and the line after the last.

    A line belongs to them if it has at least half of the mean ink, and so has the mean of the lines
    around it.

    Args:
        counts: The ink of each line.
        window: The number of lines around a line, itself included.

    Raises:
        SegmentationError: If there is no such line.
    """
    least = counts.mean() / 2
    around = np.convolve(np.pad(counts, window // 2), np.ones(window), "valid")
    lines = np.flatnonzero((counts >= least) & (around >= window * least))
    if not counts.any() or not lines.size:
        raise SegmentationError("no ink: hardly a pixel is darker than the level of ink")
    return int(lines[0]), int(lines[-1]) + 1


def _extents(ink: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Counts the rows from the first to the last ink of each column, `(w,)`; 0 without ink."""
    rows = len(ink)
    extents = rows - ink[::-1].argmax(axis=0) - ink.argmax(axis=0)
    return np.where(ink.any(axis=0), extents, 0)


def _box(values: NDArray[np.uint8], side: int, depth: int) -> Picture:
    """Sums over each pixel's square; outside of the picture all is 0. `depth` is OpenCV's dtype."""
    sums = cv2.boxFilter(
        values, depth, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    return np.asarray(sums)


def _grey(picture: Picture) -> NDArray[np.uint8]:
    """Returns the only channel, `(H, W)`, of a grey uint8 picture."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 1:
        raise ValueError("the step takes one grey channel of uint8; put the step 'grey' before it")
    return picture[:, :, 0]
