"""Steps for the conventions of other programs: the order of channels and axes, and the numbers.

The project's own networks take RGB or grey, the channels last, in 0..1. Networks that were trained
with OpenCV, PyTorch or torchvision often take something else.
"""

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np

from captcha_rt.steps.simple import Rgb
from captcha_rt.steps.step import Picture

Numbers = tuple[float, ...] | list[float] | float


@dataclass(frozen=True, slots=True)
class Bgr:
    """Gives a picture three channels in OpenCV's order: blue, green and red; otherwise as `Rgb`."""

    name: ClassVar[str] = "bgr"

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, 1 | 3 | 4)` uint8 → `(H, W, 3)` uint8, a view."""
        return Rgb()(picture)[:, :, ::-1]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Stretches 0..1 to other numbers, such as -1..1, 0..255, or 1..0 for a negative.

    Attributes:
        low: The number for black.
        high: The number for white; it may be below the one for black.
    """

    name: ClassVar[str] = "stretch"

    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        for number in (self.low, self.high):
            _check_number("low and high", number)
        if self.low == self.high:
            raise ValueError(f"low and high are different numbers, not both {self.low!r}")

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` float32 in 0..1 → the same shape, float32."""
        _check_scaled(picture)
        stretched = picture * np.float32(self.high - self.low)
        if self.low:
            stretched += np.float32(self.low)
        return np.asarray(stretched)


@dataclass(frozen=True, slots=True)
class Normalize:
    """Subtracts a mean and divides by a deviation, as torchvision's `Normalize` does.

    Attributes:
        mean: The mean in 0..1: a number, or one for each channel.
        std: The standard deviation, above 0: a number, or one for each channel.
    """

    name: ClassVar[str] = "normalize"

    mean: Numbers = 0.5
    std: Numbers = 0.5

    def __post_init__(self) -> None:
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            several = isinstance(numbers, list | tuple)
            listed = tuple(numbers) if isinstance(numbers, list | tuple) else (numbers,)
            if len(listed) not in (1, 3, 4):
                raise ValueError(f"{name} is a number, or 3 or 4 of them, not {numbers!r}")
            for number in listed:
                _check_number(name, number)
            object.__setattr__(self, name, listed if several else numbers)
        if np.min(self.std) <= 0:
            raise ValueError(f"std is above 0, not {self.std!r}")

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` float32 in 0..1 → the same shape, float32."""
        _check_scaled(picture)
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if np.size(numbers) not in (1, picture.shape[-1]):
                raise ValueError(
                    f"{name} has {np.size(numbers)} numbers, the picture {picture.shape[-1]} "
                    "channels"
                )
        changed = picture - np.asarray(self.mean, np.float32)
        changed /= np.asarray(self.std, np.float32)
        return np.asarray(changed)


@dataclass(frozen=True, slots=True)
class ChannelsFirst:
    """Puts the channels first, as PyTorch's networks take them. It is the last step."""

    name: ClassVar[str] = "channels_first"

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` → `(C, H, W)`, a view."""
        return picture.transpose(2, 0, 1)


def _check_number(name: str, number: object) -> None:
    if type(number) not in (int, float) or not isfinite(number):  # type: ignore[arg-type]
        raise ValueError(f"{name} are numbers, not {number!r}")


def _check_scaled(picture: Picture) -> None:
    if picture.dtype != np.float32:
        raise ValueError("it takes float32; put the step 'scale' before it")
