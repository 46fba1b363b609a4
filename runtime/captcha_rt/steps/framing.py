"""Steps that lay out a picture anew: into one frame, or its rows of text side by side."""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import cv2
import numpy as np

from captcha_rt.errors import RecipeError
from captcha_rt.image import MAX_SIDE
from captcha_rt.steps.step import Picture, check

_ROWS = 16  # the background's colour is the median of at least so many rows


@dataclass(frozen=True, slots=True)
class Fit:
    """Resizes a picture to fit into a frame, and keeps its aspect.

    The picture is in the middle of the frame. The rest of the frame gets the median of each
    channel, which is the background's colour in most captchas; of a picture with 32 rows or more,
    only every n-th row counts, since the median of all takes long. A network for many kinds reads
    stretched letters worse.

    Attributes:
        height: The frame's height in pixels.
        width: The frame's width in pixels.
    """

    name: ClassVar[str] = "fit"

    height: int
    width: int

    def __post_init__(self) -> None:
        check("height", self.height, 1, MAX_SIDE)
        check("width", self.width, 1, MAX_SIDE)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8 → `(height, width, C)` uint8."""
        if picture.dtype != np.uint8:
            raise ValueError("it takes uint8; put the step 'scale' after it")
        scale, left, top = self.place(picture.shape)
        height, width = _scaled(picture.shape, scale)
        # Above a half, means over areas read no better, and take five times as long.
        how = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
        resized = cv2.resize(picture, (width, height), interpolation=how)
        sides = (top, self.height - height - top, left, self.width - width - left)
        if any(sides):  # a picture that fills the frame needs no background
            background = _medians(picture)
            resized = cv2.copyMakeBorder(resized, *sides, cv2.BORDER_CONSTANT, value=background)
        return np.asarray(resized).reshape(self.height, self.width, picture.shape[2])

    def place(self, shape: tuple[int, ...]) -> tuple[float, int, int]:
        """Where a picture is placed in the frame.

        Args:
            shape: The picture's shape, `(H, W, C)`.

        Returns:
            The factor by which the picture is scaled, its left column and its upper row.
        """
        scale = min(self.height / shape[0], self.width / shape[1])
        height, width = _scaled(shape, scale)
        return scale, (self.width - width) // 2, (self.height - height) // 2


@dataclass(frozen=True, slots=True)
class Rows:
    """Lays the rows of text of a picture side by side, so that they are read as one line.

    Rows of text are of about equal height. Between two of them, the picture is cut where it
    changes least from column to column, at most a third of a row's height from the place that
    equal heights give. A lower part goes on at the right of the one above. Parts that are less
    high than others get more of their first and last rows of pixels, so that the text stays in the
    middle.

    Attributes:
        count: The number of rows of text.
    """

    name: ClassVar[str] = "rows"

    count: int = 2

    def __post_init__(self) -> None:
        check("count", self.count, 2, 9)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8 → about `(H / count, W * count, C)` uint8."""
        if picture.dtype != np.uint8:
            raise ValueError("it takes uint8; put the step 'scale' after it")
        height = picture.shape[0]
        if height < 2 * self.count:
            raise RecipeError(f"{height} pixels are too few for {self.count} rows of text")
        cuts = self._cuts(picture)
        parts = [picture[top:bottom] for top, bottom in pairwise((0, *cuts, height))]
        highest = max(map(len, parts))
        return np.concatenate([_heightened(part, highest) for part in parts], axis=1)

    def _cuts(self, picture: Picture) -> list[int]:
        """Where to cut: the first row of pixels of each row of text but the first."""
        changes = np.abs(np.diff(picture.astype(np.int16), axis=1)).sum(axis=(1, 2))
        each = len(picture) / self.count
        cuts = []
        for number in range(1, self.count):
            middle = round(number * each)
            near = np.arange(middle - int(each / 3), middle + int(each / 3) + 1)
            # Of several empty rows, the cut is the one next to the middle.
            order = np.lexsort((np.abs(near - middle), changes[near]))
            cuts.append(int(near[order[0]]))
        return cuts


def _heightened(part: Picture, height: int) -> Picture:
    """Repeats the first and the last row of pixels until a part has the height."""
    above = (height - len(part)) // 2
    return np.pad(part, ((above, height - len(part) - above), (0, 0), (0, 0)), mode="edge")


def _scaled(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """A scaled picture's rows and columns, at least 1."""
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _medians(picture: Picture) -> list[int]:
    """The median of each channel, rounded down: from histograms, as `numpy.median` is slow."""
    rows = picture[:: max(1, picture.shape[0] // _ROWS)]
    pixels = rows.shape[0] * rows.shape[1]
    middles = ((pixels - 1) // 2, pixels // 2)
    medians = []
    for channel in range(rows.shape[2]):
        counts = cv2.calcHist([rows], [channel], None, [256], [0, 256]).ravel()
        low, high = np.searchsorted(counts.cumsum(), middles, side="right")
        medians.append(int(low + high) // 2)
    return medians
