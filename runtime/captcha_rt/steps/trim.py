"""The step that cuts a picture's margins."""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from captcha_rt.steps.simple import medians
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
