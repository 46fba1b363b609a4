"""A model's own preprocessing: steps from a decoded picture to the network's input.

Training runs the same code, so that there is no second implementation to drift. Each step is a
frozen dataclass of plain settings that is called with a picture, `(H, W, C)`, and returns one.
The steps stand in the manifest as JSON: `[{"step": "grey"}, {"step": "resize", "height": 50,
"width": 200}]`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import RecipeError
from captcha_rt.image import MAX_SIDE

Picture = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Grey:
    """To one channel: BT.601 luma, `0.299 R + 0.587 G + 0.114 B`; alpha is dropped.

    Grey pictures pass unchanged. On colour pictures `tf.io.decode_png(channels=1)` differs by at
    most one level (documents 003, 004).
    """

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, 1 | 3 | 4)` uint8 → `(H, W, 1)` uint8."""
        match picture.shape[2]:
            case 1:
                return picture
            case 3:
                return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))[:, :, None]
            case _:
                return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGBA2GRAY))[:, :, None]


@dataclass(frozen=True, slots=True)
class Scale:
    """To float32 in 0..1: times 1/255, the arithmetic of `tf.image.convert_image_dtype`."""

    def __call__(self, picture: Picture) -> Picture:
        """`(H, W, C)` uint8 → `(H, W, C)` float32 in 0..1."""
        return np.multiply(picture, np.float32(1 / 255), dtype=np.float32)


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


Step = Grey | Scale | Resize | Transpose
STEPS: dict[str, Callable[..., Step]] = {
    "grey": Grey,
    "scale": Scale,
    "resize": Resize,
    "transpose": Transpose,
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """The steps from a picture to the network's input, in order.

    Attributes:
        steps: The steps; each takes what the one before returns.
    """

    steps: tuple[Step, ...]

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs every step.

        Args:
            picture: A decoded picture, `(H, W, C)` uint8 with C = 1, 3 (RGB) or 4 (RGBA).

        Returns:
            One network input, float32, without the batch axis.

        Raises:
            RecipeError: If a step can't use the picture, or the last one leaves no float32.
        """
        result: Picture = picture
        for step in self.steps:
            try:
                result = step(result)
            except (cv2.error, ValueError, TypeError) as error:
                raise RecipeError(
                    f"step {_name(step)!r} can't use a picture of shape {result.shape} "
                    f"and dtype {result.dtype}: {error}"
                ) from error
        if result.dtype != np.float32:
            raise RecipeError(
                f"the recipe leaves {result.dtype} instead of float32; "
                'add the step {"step": "scale"} to it'
            )
        return result

    def to_json(self) -> list[dict[str, Any]]:
        """The steps as JSON values, each with its name under `step`."""
        return [{"step": _name(step), **asdict(step)} for step in self.steps]

    @classmethod
    def from_json(cls, steps: Sequence[Mapping[str, Any]]) -> "Recipe":
        """Builds a recipe from what `to_json` wrote.

        Raises:
            RecipeError: If a step is unknown, or its settings are not those that it takes.
        """
        if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
            raise RecipeError(f"a recipe is a list of objects, not {steps!r:.80}")
        return cls(tuple(_build(step) for step in steps))


def _name(step: Step) -> str:
    return next(name for name, build in STEPS.items() if build is type(step))


def _build(values: Mapping[str, Any]) -> Step:
    settings = dict(values)
    name = settings.pop("step", None)
    if name not in STEPS:
        raise RecipeError(f"unknown recipe step {name!r}; known are {', '.join(STEPS)}")
    try:
        return STEPS[name](**settings)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"recipe step {name!r}: {error}") from error
