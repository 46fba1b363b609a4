"""The simple steps of the recipes: each a frozen dataclass of settings, called with a picture.

A picture is `(H, W, C)`; a step that takes uint8 in 0..255 says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import RecipeError
from captcha_rt.image import MAX_SIDE

Picture = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Grey:
    """To one channel: BT.601 luma, `0.299 R + 0.587 G + 0.114 B`.

    Grey pictures pass unchanged. On colour pictures `tf.io.decode_png(channels=1)` differs by at
    most one level (documents 003, 004).

    Attributes:
        over_white: Whether white shows through where the picture is transparent; otherwise alpha
            is dropped, as the documents do.
    """

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
class Scale:
    """To float32 in 0..1: times 1/255, the arithmetic of `tf.image.convert_image_dtype`."""

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8 → `(H, W, C)` float32 in 0..1."""
        scaled = picture.astype(np.float32)
        scaled *= np.float32(1 / 255)
        return scaled


@dataclass(frozen=True, slots=True)
class Resize:
    """To one size, bilinear with half-pixel centres and without antialiasing.

    On float32 pictures in 0..1, within 5e-5 of `tf.image.resize(method="bilinear")`. Pillow's
    "bilinear" is another algorithm when it shrinks.

    Attributes:
        height: The new height in pixels.
        width: The new width in pixels.
    """

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
    """Width first, so that the network's time steps run along the text (documents 003, 004)."""

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` → `(W, H, C)`, a view."""
        return picture.transpose(1, 0, 2)


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of the picture alone (document 001, whose digits are only in the alpha channel).

    Attributes:
        index: Which, in 0..3; 3 is alpha.
    """

    index: int = 3

    def __post_init__(self) -> None:
        check("index", self.index, 0, 3)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` → `(H, W, 1)`, the dtype kept."""
        channels = picture.shape[2]
        if self.index < channels:
            return picture[:, :, self.index : self.index + 1]
        if self.index == 3:
            raise RecipeError(
                f"the picture has no alpha channel ({channels} channels); "
                "this model reads transparent PNGs"
            )
        raise RecipeError(f"the picture has no channel {self.index}, it has {channels}")


@dataclass(frozen=True, slots=True)
class Crop:
    """One rectangle of the picture, as `tf.image.crop_to_bounding_box` cuts it (document 003).

    Attributes:
        x: The rectangle's left column.
        y: Its upper row.
        width: Its width in pixels.
        height: Its height in pixels.
    """

    x: int = 25
    y: int = 0
    width: int = 125
    height: int = 50

    def __post_init__(self) -> None:
        for name, value, low in (("x", self.x, 0), ("y", self.y, 0)):
            check(name, value, low, MAX_SIDE)
        for name, value in (("width", self.width), ("height", self.height)):
            check(name, value, 1, MAX_SIDE)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` → `(height, width, C)`, a view."""
        right, lower = self.x + self.width, self.y + self.height
        if picture.shape[0] < lower or picture.shape[1] < right:
            raise RecipeError(
                f"the picture has {picture.shape[1]} x {picture.shape[0]} pixels; this model cuts "
                f"a piece out of it that reaches to {right} x {lower}"
            )
        return picture[self.y : lower, self.x : right]


@dataclass(frozen=True, slots=True)
class Denoise:
    """Non-local means on luminance and colour apart (document 000).

    A. Buades et al., "Non-Local Means Denoising" (IPOL 1, 2011), as in OpenCV's
    `fastNlMeansDenoisingColored`. Most of its recipe's time goes here.

    Attributes:
        strength: How much of the luminance's noise goes.
        colour_strength: How much of the colours'.
        template: The side of the patches that are compared, in pixels, odd.
        search: The side of the window in which they are looked for, in pixels, odd.
    """

    strength: int = 30
    colour_strength: int = 30
    template: int = 7
    search: int = 21

    def __post_init__(self) -> None:
        check("strength", self.strength, 0, 255)
        check("colour_strength", self.colour_strength, 0, 255)
        for name, side in (("template", self.template), ("search", self.search)):
            check(name, side, 1, 99)
            if side % 2 == 0:
                raise ValueError(f"{name} is odd, not {side}")

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, 1 | 3 | 4)` uint8 → `(H, W, 3)` uint8; alpha is dropped, as `Grey` does."""
        coloured = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture[:, :, :3]
        denoised = cv2.fastNlMeansDenoisingColored(  # takes BGR
            np.ascontiguousarray(coloured[:, :, ::-1]),
            None,
            self.strength,
            self.colour_strength,
            self.template,
            self.search,
        )
        return np.asarray(denoised)[:, :, ::-1]


@dataclass(frozen=True, slots=True)
class Threshold:
    """To black and white, each channel for itself (document 000).

    Attributes:
        level: A pixel up to this counts as dark.
        inverted: Whether what is dark becomes white.
    """

    level: int = 127
    inverted: bool = True

    def __post_init__(self) -> None:
        check("level", self.level, 0, 255)
        if type(self.inverted) is not bool:
            raise ValueError(f"inverted is true or false, not {self.inverted!r}")

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8 → `(H, W, C)` uint8 of 0 and 255."""
        return np.where((picture > self.level) != self.inverted, np.uint8(255), np.uint8(0))


@dataclass(frozen=True, slots=True)
class Dilate:
    """Each pixel becomes the brightest of a square around it: white grows (document 000).

    Attributes:
        size: The square's side in pixels.
        iterations: How often.
    """

    size: int = 3
    iterations: int = 1

    def __post_init__(self) -> None:
        check("size", self.size, 1, 99)
        check("iterations", self.iterations, 1, 99)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` → the same shape and dtype."""
        return _over_square(cv2.dilate, picture, self.size, self.iterations)


@dataclass(frozen=True, slots=True)
class Erode:
    """Each pixel becomes the darkest of a square around it: white shrinks (document 000).

    Attributes:
        size: The square's side in pixels.
        iterations: How often.
    """

    size: int = 3
    iterations: int = 1

    def __post_init__(self) -> None:
        check("size", self.size, 1, 99)
        check("iterations", self.iterations, 1, 99)

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` → the same shape and dtype."""
        return _over_square(cv2.erode, picture, self.size, self.iterations)


@dataclass(frozen=True, slots=True)
class Median:
    """Each pixel becomes the median of a square around it: specks go, one-pixel gaps close.

    Attributes:
        size: The square's side in pixels, odd.
    """

    size: int = 3

    def __post_init__(self) -> None:
        check("size", self.size, 3, 99)
        if self.size % 2 == 0:
            raise ValueError(f"size is odd, not {self.size}")

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8 → the same shape."""
        return np.asarray(cv2.medianBlur(picture, self.size)).reshape(picture.shape)


def _over_square(
    operation: Callable[..., Any], picture: Picture, size: int, iterations: int
) -> Picture:
    square = np.ones((size, size), np.uint8)
    return np.asarray(operation(picture, square, iterations=iterations)).reshape(picture.shape)


def check(name: str, value: int, low: int, high: int) -> None:
    """Refuses a step's setting that is no whole number in `low..high`, with a ValueError."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} is a whole number in {low}..{high}, not {value!r}")
