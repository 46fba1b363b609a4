"""The step that brings pictures of any size into one frame, and keeps their aspect."""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

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
        framed = cv2.copyMakeBorder(resized, *sides, cv2.BORDER_CONSTANT, value=_medians(picture))
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
