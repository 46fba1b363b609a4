"""Finds and removes the curve that is drawn across a captcha (document 000).

THSRC's pictures have a band that begins at the left edge, rises, and flattens to the right. The
band *inverts* the pixels that it crosses. So inverting the band again makes the characters whole.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt.image import MAX_SIDE
from captcha_rt.steps.step import Picture, check

WHITE: Final = 127
"""Pixels above this level are white, as in document 000's threshold."""

MIN_SCORE: Final = 0.3
"""There is a curve if at least this fraction of the band's two edges lies on changes between black
and white. In 900 of THSRC's pictures it was 0.37 or more. After the curve was removed, it was below
0.3 in 96 of 100 pictures."""


def fit_parabola(
    rows: NDArray[np.intp], columns: NDArray[np.intp], width: int
) -> NDArray[np.float64] | None:
    """Fits a parabola to some pixels by least squares.

    The result equals that of scikit-learn's `LinearRegression` on `PolynomialFeatures(degree=2)`,
    which document 000 uses.

    Args:
        rows: The pixels' rows, `(n,)`.
        columns: The pixels' columns, `(n,)`, in `0..width - 1`.
        width: The picture's width in pixels.

    Returns:
        The parabola's row in each column, `(width,)`; None if the pixels lie in fewer than three
        columns, so that the parabola is not unique.
    """
    if len(np.unique(columns)) < 3:
        return None
    powers = np.vander(np.linspace(-1, 1, width), 3)  # -1..1 keeps the equations well conditioned
    coefficients = np.linalg.lstsq(powers[columns], rows.astype(np.float64), rcond=None)[0]
    return np.asarray(powers @ coefficients)


@dataclass(frozen=True, slots=True)
class RemoveCurve:
    """Removes the curve from a thresholded picture, white on black (document 000).

    Document 000 fits a parabola to the white pixels of the top rows and the outer columns. The
    document inverts the six rows around the parabola, or makes them black where four of them are
    white. But some of the white pixels belong to the tops of characters. In 48 pictures the fit is
    2.1 rows on average away from the curve that is found here, in one picture 4.4. Then much of the
    curve stays, and the characters are cut.

    This step differs in two ways. First, the fit is only the start of a search, which also finds
    the thickness of the band. The curve is the parabola along whose two edges most columns change
    between black and white: a band that inverts makes such edges both on paper and on ink. Second,
    the band becomes black in each column where all, or all but one, of its pixels are white.

    If no curve is found, the picture stays as it is, since a model may still read it.

    Attributes:
        top: The fit uses this number of rows at the top, over the whole width.
        edge: The fit also uses this number of columns at each side, over the whole height.
        thickness: The band's thickness in rows, in 2..99. One row less and one row more are tried
            as well.
    """

    name: ClassVar[str] = "remove_curve"

    top: int = 15
    edge: int = 2
    thickness: int = 5

    def __post_init__(self) -> None:
        check("top", self.top, 0, MAX_SIDE)
        check("edge", self.edge, 0, MAX_SIDE)
        check("thickness", self.thickness, 2, 99)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8, white on black → the same shape, C equal channels of 0 and 255.

        Raises:
            ValueError: If the picture is not uint8.
        """
        white = _white(picture)
        found = self.find(picture)
        if found is None:
            return picture
        band = _band(*found, white.shape)
        all_white = (white & band).sum(axis=0) >= band.sum(axis=0) - 1  # all, or all but one
        clean = np.where(band, ~white & ~all_white, white)
        return np.repeat(clean[:, :, None] * np.uint8(255), picture.shape[2], axis=2)

    def find(self, picture: Picture) -> tuple[NDArray[np.float64], int] | None:
        """Finds the curve.

        Args:
            picture: `(H, W, C)` uint8, white on black; only the first channel is used.

        Returns:
            The middle of the curve in each column, `(W,)`, in rows from the picture's upper edge
            (row 0 covers 0..1); and the curve's thickness in rows. None if there is no curve.

        Raises:
            ValueError: If the picture is not uint8.
        """
        white = _white(picture)
        height, width = white.shape
        used = white.copy()
        used[self.top :, self.edge : width - self.edge] = False
        rows, columns = np.nonzero(used)
        start = fit_parabola(rows, columns, width)
        if start is None:
            return None
        margin = height + self.thickness + 1
        changes = np.zeros((height + 2 * margin, width), np.float32)
        changes[margin + 1 : margin + height] = white[1:] != white[:-1]
        near = np.maximum(changes, np.maximum(np.roll(changes, 1, 0), np.roll(changes, -1, 0)))
        around = (self.thickness, self.thickness - 1, self.thickness + 1)
        anchors = start[[0, width // 2, -1]] + 0.5  # from a pixel's upper edge to its middle
        anchors, thickness, score = _search(near, margin, anchors, around[:1], (14, 6, 6), 2)
        for step in (1, 0.5, 0.25):
            anchors, thickness, score = _search(
                changes, margin, anchors, around, (2 * step,) * 3, step
            )
        return (_through(anchors[None], width)[0], thickness) if score >= MIN_SCORE else None

    def show(self, picture: Picture) -> NDArray[np.uint8]:
        """Draws the curve's band in red: `(H, W, C)` uint8 → `(H, W, 3)` uint8 RGB."""
        shown = np.repeat(picture[:, :, :1], 3, axis=2)
        found = self.find(picture)
        if found is not None:
            band = _band(*found, picture.shape[:2])
            shown[band] = shown[band] // 2 + np.asarray([127, 0, 0], np.uint8)
        return np.asarray(shown)


def _white(picture: Picture) -> NDArray[np.bool_]:
    if picture.dtype != np.uint8:
        raise ValueError("the curve is looked for before the step scale")
    return np.asarray(picture[:, :, 0] > WHITE)


def _through(anchors: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Computes the parabolas, `(n, W)`, through their anchors.

    Args:
        anchors: `(n, 3)`, the rows of each parabola at the left edge, middle and right edge.
        width: The picture's width W in pixels.
    """
    left, middle, right = anchors.T[:, :, None]
    x = np.linspace(-1, 1, width)
    return np.asarray(middle + (right - left) / 2 * x + ((left + right) / 2 - middle) * x * x)


def _upper(curve: NDArray[np.float64], thickness: int) -> NDArray[np.intp]:
    """The first row of the band around a curve, in each column."""
    return np.rint(curve - thickness / 2).astype(np.intp)


def _band(curve: NDArray[np.float64], thickness: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The pixels that the band covers, `(H, W)`."""
    below = np.arange(shape[0])[:, None] - _upper(curve, thickness)
    return np.asarray((below >= 0) & (below < thickness))


def _search(
    changes: NDArray[np.float32],
    margin: int,
    anchors: NDArray[np.float64],
    thicknesses: tuple[int, ...],
    reach: tuple[float, float, float],
    step: float,
) -> tuple[NDArray[np.float64], int, float]:
    """Finds the parabola and the thickness of the band whose edges lie on most changes.

    Args:
        changes: `(margin + H + margin, W)`, 1 where a pixel differs from the one above.
        margin: The number of rows above the picture.
        anchors: The start of the search: one parabola's anchors as `_through` takes them, `(3,)`.
        thicknesses: The thicknesses to try, in rows.
        reach: The number of rows to search above and below each anchor.
        step: The step of the search in rows.

    Returns:
        The best parabola's anchors, `(3,)`; the thickness; and the score: the fraction of the two
        edges, over all columns, that lies on a change, in 0..1.
    """
    offsets = [np.arange(-far, far + step, step) for far in reach]
    tried = anchors + np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    columns = np.arange(changes.shape[1])
    curves = _through(tried, len(columns))
    best = (-1.0, anchors, thicknesses[0])
    for thickness in thicknesses:
        upper = np.clip(_upper(curves, thickness) + margin, 0, len(changes) - 1 - thickness)
        hits = (changes[upper, columns] + changes[upper + thickness, columns]).mean(axis=1) / 2
        first = int(hits.argmax())
        if hits[first] > best[0]:
            best = (float(hits[first]), tried[first], thickness)
    return best[1], best[2], best[0]
