"""A model's own preprocessing: steps from a decoded picture to the network's input.

Training runs the same code, so that there is no second implementation to drift. Each step is a
frozen dataclass of plain settings that is called with a picture, `(H, W, C)`, and returns one.
The steps stand in the manifest as JSON: `[{"step": "grey"}, {"step": "resize", "height": 50,
"width": 200}]`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.curve import RemoveCurve
from captcha_rt.errors import RecipeError
from captcha_rt.glyphs import Clip, Glyphs, RemoveArtifacts
from captcha_rt.steps import (
    Channel,
    Crop,
    Denoise,
    Dilate,
    Erode,
    Grey,
    Median,
    Picture,
    Resize,
    Scale,
    Threshold,
    Transpose,
)

Step = (
    Grey
    | Scale
    | Resize
    | Transpose
    | Channel
    | Crop
    | Denoise
    | Threshold
    | Dilate
    | Erode
    | Median
    | RemoveCurve
    | RemoveArtifacts
    | Clip
    | Glyphs
)
STEPS: dict[str, Callable[..., Step]] = {
    "grey": Grey,
    "scale": Scale,
    "resize": Resize,
    "transpose": Transpose,
    "channel": Channel,
    "crop": Crop,
    "denoise": Denoise,
    "threshold": Threshold,
    "dilate": Dilate,
    "erode": Erode,
    "median": Median,
    "remove_curve": RemoveCurve,
    "remove_artifacts": RemoveArtifacts,
    "clip": Clip,
    "glyphs": Glyphs,
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
            result = _run(step, result)
        if result.dtype != np.float32:
            raise RecipeError(
                f"the recipe leaves {result.dtype} instead of float32; "
                'add the step {"step": "scale"} to it'
            )
        return result

    def trace(self, picture: NDArray[np.uint8]) -> Iterator[tuple[Step, Picture]]:
        """Runs the steps one by one, to look at them.

        Args:
            picture: As `apply` takes it.

        Yields:
            Each step with what it made.

        Raises:
            RecipeError: If a step can't use the picture.
        """
        result: Picture = picture
        for step in self.steps:
            result = _run(step, result)
            yield step, result

    def to_json(self) -> list[dict[str, Any]]:
        """The steps as JSON values, each with its name under `step`."""
        return [{"step": name_of(step), **asdict(step)} for step in self.steps]

    @classmethod
    def from_json(cls, steps: Sequence[Mapping[str, Any]]) -> "Recipe":
        """Builds a recipe from what `to_json` wrote.

        Raises:
            RecipeError: If a step is unknown, or its settings are not those that it takes.
        """
        if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
            raise RecipeError(f"a recipe is a list of objects, not {steps!r:.80}")
        return cls(tuple(_build(step) for step in steps))


def _run(step: Step, picture: Picture) -> Picture:
    """Runs one step; what goes wrong is said with its name."""
    try:
        return step(picture)
    except RecipeError as error:
        raise type(error)(f"step {name_of(step)!r}: {error}") from error
    except (cv2.error, ValueError, TypeError) as error:
        raise RecipeError(
            f"step {name_of(step)!r} can't use a picture of shape {picture.shape} "
            f"and dtype {picture.dtype}: {error}"
        ) from error


def name_of(step: Step) -> str:
    """The name of a step in a manifest."""
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
