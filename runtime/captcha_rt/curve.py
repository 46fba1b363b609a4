"""The curve that is drawn across a captcha: where it is, and the picture without it (document 000).

THSRC's pictures carry a band that comes from the left edge, rises and flattens to the right, and
that *inverts* what it crosses. So the band is inverted once more, and the characters are whole.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt.image import MAX_SIDE
from captcha_rt.steps import Picture, check

WHITE: Final = 127
"""Above it a pixel counts as white, as document 000's threshold has it."""

LEAST: Final = 0.3
"""Where a smaller share of the two edges lies on changes there is no curve. In 900 of THSRC's
pictures the share was 0.37 or more; with the curve removed before, below 0.3 in 96 of 100."""


def fit_parabola(
    rows: NDArray[np.intp], columns: NDArray[np.intp], width: int
) -> NDArray[np.float64] | None:
    """The parabola through some pixels, by least squares.

    The same curve as scikit-learn's `LinearRegression` on `PolynomialFeatures(degree=2)`, which
    document 000 uses.

    Args:
        rows: The pixels' rows, `(n,)`.
        columns: Their columns, `(n,)`, in `0..width - 1`.
        width: The picture's width.

    Returns:
        The parabola's row in each column, `(width,)`; None if the pixels lie in fewer than three
        columns, through which many parabolas go.
    """
    if len(np.unique(columns)) < 3:
        return None
    powers = np.vander(np.linspace(-1, 1, width), 3)  # -1..1 keeps the equations well conditioned
    coefficients = np.linalg.lstsq(powers[columns], rows.astype(np.float64), rcond=None)[0]
    return np.asarray(powers @ coefficients)


@dataclass(frozen=True, slots=True)
class RemoveCurve:
    """Takes the curve out of a thresholded picture, white on black (document 000).

    Document 000 fits a parabola to the white pixels of the top rows and of the outer columns, and
    inverts the six rows around it, or blanks them where four of them are white. Those pixels are
    the characters' tops as well as the curve's: in 48 pictures the fit lies 2.1 rows on average
    from the curve found below, in one picture 4.4, so that much of the curve stays and the
    characters are cut. Hence two differences. The fit is only where a search begins: the curve is
    the parabola along whose two edges most columns change between black and white, which a band
    that inverts does on paper and on ink alike. And the band is as thick as the curve, which the
    same search finds, and is blanked where all but one of its pixels are white.

    A picture in which no curve is found passes unchanged: it may be read all the same.

    Attributes:
        top: The fit looks at the rows above this one, over the whole width.
        edge: And at so many columns at each side, over the whole height.
        thickness: The curve's thickness in rows; one less and one more are tried as well.
    """

    top: int = 15
    edge: int = 2
    thickness: int = 5

    def __post_init__(self) -> None:
        check("top", self.top, 0, MAX_SIDE)
        check("edge", self.edge, 0, MAX_SIDE)
        check("thickness", self.thickness, 2, 99)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8, white on black → the same, with C equal channels of 0 and 255."""
        white = _white(picture)
        found = self.find(picture)
        if found is None:
            return picture
        band = _band(*found, white.shape)
        whites = (white & band).sum(axis=0)
        spent = whites >= band.sum(axis=0) - 1
        clean = np.where(band, ~white & ~spent, white)
        return np.repeat(clean[:, :, None] * np.uint8(255), picture.shape[2], axis=2)

    def find(self, picture: Picture) -> tuple[NDArray[np.float64], int] | None:
        """Where the curve is.

        Args:
            picture: `(H, W, C)` uint8, white on black; the first channel counts.

        Returns:
            The middle of the curve in each column, `(W,)`, in rows from the picture's upper edge
            (row 0 covers 0..1), and its thickness in rows; None if there is none.
        """
        white = _white(picture)
        height, width = white.shape
        looked_at = white.copy()
        looked_at[self.top :, self.edge : width - self.edge] = False
        rows, columns = np.nonzero(looked_at)
        start = fit_parabola(rows, columns, width)
        if start is None:
            return None
        margin = height + self.thickness + 1
        changes = np.zeros((height + 2 * margin, width), np.float32)
        changes[margin + 1 : margin + height] = white[1:] != white[:-1]
        near = np.maximum(changes, np.maximum(np.roll(changes, 1, 0), np.roll(changes, -1, 0)))
        around = (self.thickness, self.thickness - 1, self.thickness + 1)
        ends = start[[0, width // 2, -1]] + 0.5  # a pixel's middle is half a row below its edge
        ends, thickness, share = _search(near, margin, ends, around[:1], (14, 6, 6), 2)
        for step in (1, 0.5, 0.25):
            ends, thickness, share = _search(changes, margin, ends, around, (2 * step,) * 3, step)
        return (_through(ends[None], width)[0], thickness) if share >= LEAST else None

    def show(self, picture: Picture) -> NDArray[np.uint8]:
        """The picture with the band that is the curve tinted red, `(H, W, 3)` uint8."""
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


def _through(ends: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """The parabolas, (n, W), with these rows at the left edge, in the middle, at the right."""
    left, middle, right = ends.T[:, :, None]
    x = np.linspace(-1, 1, width)
    return np.asarray(middle + (right - left) / 2 * x + ((left + right) / 2 - middle) * x * x)


def _upper(curve: NDArray[np.float64], thickness: int) -> NDArray[np.intp]:
    """The first row of the band around a curve, in each column."""
    return np.rint(curve - thickness / 2).astype(np.intp)


def _band(curve: NDArray[np.float64], thickness: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which pixels the band covers, `(H, W)`."""
    below = np.arange(shape[0])[:, None] - _upper(curve, thickness)
    return np.asarray((below >= 0) & (below < thickness))


def _search(
    changes: NDArray[np.float32],
    margin: int,
    ends: NDArray[np.float64],
    thicknesses: tuple[int, ...],
    reach: tuple[float, float, float],
    step: float,
) -> tuple[NDArray[np.float64], int, float]:
    """The parabola and the thickness whose two edges lie on most changes, and on how many.

    Args:
        changes: `(margin + H + margin, W)`, 1 where a pixel differs from the one above.
        margin: So many rows stand above the picture.
        ends: Where to search: the rows of the parabola as `_through` takes them, `(3,)`.
        thicknesses: Which thicknesses to try.
        reach: How far to go from each of `ends`.
        step: In steps of so many rows.

    Returns:
        The parabola's rows as `ends` has them, its thickness, and the share of columns in which
        an edge lies on a change, both edges counted, in 0..1.
    """
    offsets = [np.arange(-far, far + step, step) for far in reach]
    tried = ends + np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1).reshape(-1, 3)
    columns = np.arange(changes.shape[1])
    curves = _through(tried, len(columns))
    best = (-1.0, ends, thicknesses[0])
    for thickness in thicknesses:
        upper = np.clip(_upper(curves, thickness) + margin, 0, len(changes) - 1 - thickness)
        hits = (changes[upper, columns] + changes[upper + thickness, columns]).mean(axis=1) / 2
        surest = int(hits.argmax())
        if hits[surest] > best[0]:
            best = (float(hits[surest]), tried[surest], thickness)
    return best[1], best[2], best[0]
