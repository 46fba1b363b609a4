"""Steps that bring pictures of any size into one frame, and keep their aspect."""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from captcha_rt.image import MAX_SIDE
from captcha_rt.steps.step import Picture, check

_FRAME = 2  # pixels at each side that don't count: many captchas have a frame
_SPARSE = 64  # a row or column with no more ink than one pixel, or one in so many, is margin


@dataclass(frozen=True, slots=True)
class Trim:
    """Cuts off the margins around the ink, so that small letters on a wide page become large ones.

    Ink is what differs from the median of a channel, the background's colour in most captchas. The
    outermost two pixels at each side don't count. A picture without ink stays as it is.

    Attributes:
        level: Ink differs by more than this number of levels, in 0..254.
        margin: What stays around the ink, in hundredths of the ink's height, in 0..1000.
    """

    name: ClassVar[str] = "trim"

    level: int = 40
    margin: int = 15

    def __post_init__(self) -> None:
        check("level", self.level, 0, 254)
        check("margin", self.margin, 0, 1000)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8 → a part of it, a view."""
        top, bottom, left, right = self.box(picture)
        return picture[top:bottom, left:right]

    def box(self, picture: Picture) -> tuple[int, int, int, int]:
        """Where the part that stays begins and ends: rows, then columns.

        Args:
            picture: `(H, W, C)` uint8.
        """
        if picture.dtype != np.uint8:
            raise ValueError("it takes uint8; put the step 'scale' after it")
        height, width = picture.shape[:2]
        if min(height, width) <= 2 * _FRAME:
            return 0, height, 0, width
        background = np.array(medians(picture))
        # 255 where a pixel is like the background, 0 where it is ink.
        paper = cv2.inRange(picture, background - self.level, background + self.level)
        paper = paper[_FRAME:-_FRAME, _FRAME:-_FRAME]
        rows, columns = (
            np.flatnonzero(
                cv2.reduce(paper, axis, cv2.REDUCE_SUM, dtype=cv2.CV_32S).ravel()
                < 255 * (length - max(1, length // _SPARSE))
            )
            for axis, length in ((1, paper.shape[1]), (0, paper.shape[0]))
        )
        if not (rows.size and columns.size):
            return 0, height, 0, width
        around = round((rows[-1] - rows[0] + 1) * self.margin / 100) - _FRAME
        return (
            max(int(rows[0]) - around, 0),
            min(int(rows[-1]) + 2 * _FRAME + 1 + around, height),
            max(int(columns[0]) - around, 0),
            min(int(columns[-1]) + 2 * _FRAME + 1 + around, width),
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """Resizes a picture to fit into a frame, and keeps its aspect.

    The picture is in the middle of the frame. The rest of the frame gets the median of each
    channel, which is the background's colour in most captchas. A network for many kinds reads
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
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        resized = cv2.resize(picture, (width, height), interpolation=how)
        sides = (top, self.height - height - top, left, self.width - width - left)
        framed = cv2.copyMakeBorder(resized, *sides, cv2.BORDER_CONSTANT, value=medians(picture))
        return np.asarray(framed).reshape(self.height, self.width, picture.shape[2])

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


def _scaled(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """A scaled picture's rows and columns, at least 1."""
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def medians(picture: Picture) -> list[int]:
    """The median of each channel, rounded down: from histograms, as `numpy.median` is slow.

    Args:
        picture: `(H, W, C)` uint8.
    """
    pixels = picture.shape[0] * picture.shape[1]
    middles = ((pixels - 1) // 2, pixels // 2)
    found = []
    for channel in range(picture.shape[2]):
        counts = cv2.calcHist([picture], [channel], None, [256], [0, 256]).ravel()
        low, high = np.searchsorted(counts.cumsum(), middles, side="right")
        found.append(int(low + high) // 2)
    return found
