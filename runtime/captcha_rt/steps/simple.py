"""The steps that most networks need: a few calls of NumPy or OpenCV each."""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from captcha_rt.image import MAX_SIDE
from captcha_rt.steps.step import Picture


@dataclass(frozen=True, slots=True)
class Grey:
    """Makes a picture grey: BT.601 luma, `0.299 R + 0.587 G + 0.114 B`.

    A grey picture stays as it is. On a colour picture `tf.io.decode_png(channels=1)` differs from
    this step by at most one grey level (documents 003, 004).

    Attributes:
        over_white: If true, transparent pixels are blended with a white background. If false,
            alpha is dropped, as in the documents.
    """

    name: ClassVar[str] = "grey"

    over_white: bool = False

    def __post_init__(self) -> None:
        if type(self.over_white) is not bool:
            raise ValueError(f"over_white is true or false, not {self.over_white!r}")

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, 1 | 3 | 4)` uint8 → `(H, W, 1)` uint8."""
        match picture.shape[2]:
            case 1:
                return picture
            case 3:
                grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            case _:
                grey = cv2.cvtColor(picture, cv2.COLOR_RGBA2GRAY)
                if self.over_white:  # 255 - alpha (255 - grey) / 255, on bytes
                    ink = cv2.bitwise_not(grey)
                    ink = cv2.multiply(ink, cv2.extractChannel(picture, 3), scale=1 / 255)
                    grey = cv2.bitwise_not(ink)
        return np.asarray(grey)[:, :, None]


@dataclass(frozen=True, slots=True)
class Rgb:
    """Gives a picture three channels: red, green and blue. Transparent pixels lie over white."""

    name: ClassVar[str] = "rgb"

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, 1 | 3 | 4)` uint8 → `(H, W, 3)` uint8."""
        match picture.shape[2]:
            case 1:
                return np.repeat(picture, 3, axis=2)
            case 3:
                return picture
            case _:  # 255 - alpha (255 - colour) / 255, on bytes
                alpha = np.repeat(picture[:, :, 3:], 3, axis=2)
                ink = cv2.multiply(cv2.bitwise_not(picture[:, :, :3]), alpha, scale=1 / 255)
                return np.asarray(cv2.bitwise_not(ink))


@dataclass(frozen=True, slots=True)
class Scale:
    """Converts uint8 to float32 in 0..1: times 1/255, as `tf.image.convert_image_dtype` does."""

    name: ClassVar[str] = "scale"

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8 → `(H, W, C)` float32 in 0..1."""
        scaled = picture.astype(np.float32)
        scaled *= np.float32(1 / 255)
        return scaled


@dataclass(frozen=True, slots=True)
class Resize:
    """Resizes a picture: bilinear, with half-pixel centres and without antialiasing.

    On float32 pictures in 0..1 the result is within 5e-5 of `tf.image.resize(method="bilinear")`.
    Pillow's "bilinear" is a different algorithm when it shrinks a picture.

    Attributes:
        height: The new height in pixels.
        width: The new width in pixels.
    """

    name: ClassVar[str] = "resize"

    height: int
    width: int

    def __post_init__(self) -> None:
        for side in (self.height, self.width):
            if type(side) is not int or not 1 <= side <= MAX_SIDE:
                raise ValueError(f"a side is 1 to {MAX_SIDE} pixels, not {side!r}")

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` → `(height, width, C)`, the dtype kept."""
        if picture.shape[:2] == (self.height, self.width):
            return picture
        resized = cv2.resize(picture, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized).reshape(self.height, self.width, picture.shape[2])


@dataclass(frozen=True, slots=True)
class Transpose:
    """Puts the width first, so that the time steps run along the text (documents 003, 004)."""

    name: ClassVar[str] = "transpose"

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` → `(W, H, C)`, a view."""
        return picture.transpose(1, 0, 2)
