"""The steps that the documents add to the simple ones: channels, crops and filters."""

from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal, get_args

import cv2
import numpy as np

from captcha_rt.errors import RecipeError
from captcha_rt.image import MAX_SIDE
from captcha_rt.steps.step import PART_OF_NAME, Picture, check

Operation = Literal["dilate", "erode"]
_OPERATIONS: Final = {"dilate": cv2.dilate, "erode": cv2.erode}


@dataclass(frozen=True, slots=True)
class Channel:
    """Keeps one channel (document 001, whose digits are only in the alpha channel).

    Attributes:
        index: The channel to keep, in 0..3; 3 is alpha.
    """

    name: ClassVar[str] = "channel"

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
    """Cuts out a rectangle, as `tf.image.crop_to_bounding_box` does (document 003).

    Attributes:
        x: The rectangle's left column.
        y: The rectangle's upper row.
        width: The rectangle's width in pixels.
        height: The rectangle's height in pixels.
    """

    name: ClassVar[str] = "crop"

    x: int = 25
    y: int = 0
    width: int = 125
    height: int = 50

    def __post_init__(self) -> None:
        check("x", self.x, 0, MAX_SIDE)
        check("y", self.y, 0, MAX_SIDE)
        check("width", self.width, 1, MAX_SIDE)
        check("height", self.height, 1, MAX_SIDE)

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
    """Removes noise with non-local means, separately on luminance and colour (document 000).

    This is OpenCV's `fastNlMeansDenoisingColored`; of a grey picture its half on colour is left
    out, which gives the same in 6 ms instead of 14. The step takes most of the recipe's time.
    Source: A. Buades et al., "Non-Local Means Denoising" (IPOL 1, 2011).

    Attributes:
        strength: The filter strength on luminance, in 0..255.
        colour_strength: The filter strength on colour, in 0..255.
        template: The side of the patches that are compared, in pixels, odd, in 1..99.
        search: The side of the window in which patches are compared, in pixels, odd, in 1..99.
    """

    name: ClassVar[str] = "denoise"

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
        """`(H, W, 1 | 3 | 4)` uint8 → `(H, W, 3)` uint8; alpha is dropped, as in `Grey`."""
        coloured = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture[:, :, :3]
        bgr = np.ascontiguousarray(coloured[:, :, ::-1])
        lab = cv2.cvtColor(bgr, cv2.COLOR_LBGR2Lab)
        if (lab[:, :, 1:] == lab[0, 0, 1:]).all():  # grey: the mean of one colour is that colour
            lightness = np.ascontiguousarray(lab[:, :, 0])
            lab[:, :, 0] = cv2.fastNlMeansDenoising(
                lightness, None, self.strength, self.template, self.search
            )
            denoised = cv2.cvtColor(lab, cv2.COLOR_Lab2LBGR)
        else:
            denoised = cv2.fastNlMeansDenoisingColored(
                bgr, None, self.strength, self.colour_strength, self.template, self.search
            )
        return np.asarray(denoised)[:, :, ::-1]


@dataclass(frozen=True, slots=True)
class Threshold:
    """Makes each channel black and white (document 000).

    Attributes:
        level: Values up to this level are dark, in 0..255.
        inverted: If true, dark becomes white; if false, dark becomes black.
    """

    name: ClassVar[str] = "threshold"

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
class Morphology:
    """Dilates or erodes: a pixel becomes the brightest or darkest in its square (document 000).

    JSON has a step for each operation, `{"step": "dilate", ...}` and `{"step": "erode", ...}`.

    Attributes:
        operation: `"dilate"` takes the brightest pixel, so that white grows; `"erode"` takes the
            darkest, so that white shrinks.
        size: The side, in pixels, of the square around a pixel, in 1..99.
        iterations: The number of times that the operation is applied, in 1..99.
    """

    operation: Operation = field(metadata=PART_OF_NAME)
    size: int = 3
    iterations: int = 1

    def __post_init__(self) -> None:
        if self.operation not in _OPERATIONS:
            raise ValueError(f"operation is one of {get_args(Operation)}, not {self.operation!r}")
        check("size", self.size, 1, 99)
        check("iterations", self.iterations, 1, 99)

    @property
    def name(self) -> str:
        """The step's name in JSON: the operation."""
        return self.operation

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` → the same shape and dtype."""
        square = np.ones((self.size, self.size), np.uint8)
        changed = _OPERATIONS[self.operation](picture, square, iterations=self.iterations)
        return np.asarray(changed).reshape(picture.shape)


@dataclass(frozen=True, slots=True)
class Median:
    """Replaces each pixel by the median of a square around it.

    This removes specks and closes gaps of one pixel.

    Attributes:
        size: The square's side in pixels, odd, in 3..99.
    """

    name: ClassVar[str] = "median"

    size: int = 3

    def __post_init__(self) -> None:
        check("size", self.size, 3, 99)
        if self.size % 2 == 0:
            raise ValueError(f"size is odd, not {self.size}")

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8 → the same shape and dtype."""
        return np.asarray(cv2.medianBlur(picture, self.size)).reshape(picture.shape)
