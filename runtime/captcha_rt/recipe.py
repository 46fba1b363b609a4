"""A model's preprocessing: the steps from a decoded picture to the network's input.

Training runs the same code, so there is no second implementation that could differ. The
manifest holds the steps as JSON: `[{"step": "grey"}, {"step": "resize", "height": 50,
"width": 200}]`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import RecipeError
from captcha_rt.steps import STEPS, Picture, Step, settings

if TYPE_CHECKING:
    from captcha_rt.steps import Frames

__all__ = ["Recipe"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The steps from a picture to the network's input.

    Attributes:
        steps: The steps in order. Each step takes the result of the step before.
    """

    steps: tuple[Step, ...]

    def apply(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Runs all steps.

        Args:
            picture: A decoded picture, `(H, W, C)` uint8 with C = 1, 3 (RGB) or 4 (RGBA).

        Returns:
            The network's input for this picture, float32, without the batch axis.

        Raises:
            RecipeError: If a step can't use the picture, or the last step returns no float32.
        """
        result: Picture = picture
        for step in self.steps:
            result = _run(step, result)
        if result.dtype != np.float32:
            raise RecipeError(
                f"the recipe returns {result.dtype} instead of float32; "
                'add the step {"step": "scale"} to it'
            )
        return result

    def trace(self, picture: NDArray[np.uint8]) -> Iterator[tuple[Step, Picture]]:
        """Runs the steps one by one.

        Args:
            picture: A decoded picture, as `apply` takes it.

        Yields:
            Each step and the picture that it returned.

        Raises:
            RecipeError: If a step can't use the picture.
        """
        result: Picture = picture
        for step in self.steps:
            result = _run(step, result)
            yield step, result

    @property
    def merge(self) -> "Frames | None":
        """What makes one picture of the frames of an animation: the first step, if it does that."""
        first = self.steps[0] if self.steps else None
        return cast("Frames", first) if first is not None and first.name == "frames" else None

    @property
    def takes_grey(self) -> bool:
        """Whether opaque RGBA that is grey may be given in one channel: the result is the same."""
        return bool(self.steps) and self.steps[0].name in ("grey", "rgb", "denoise")

    def fixed_shape(
        self, picture: tuple[int | None, ...] = (None, None, None)
    ) -> tuple[int | None, ...] | None:
        """Finds the shape that all results have.

        Args:
            picture: The shape of the pictures, `(H, W, C)`, None where it may be any.

        Returns:
            The size of each axis, None where it depends on the picture; None for a recipe with a
            step that this method doesn't know.
        """
        shape = picture
        for step in self.steps:
            known = settings(step)
            match step.name:
                case "scale" | "threshold" | "dilate" | "erode" | "median" | "frames":
                    continue
                case "remove_curve" | "remove_artifacts" | "stretch" | "normalize":
                    continue
                case "resize" | "fit" | "crop":
                    shape = (known["height"], known["width"], *shape[2:])
                case "transpose":
                    shape = (*shape[1::-1], *shape[2:])
                case "channels_first":
                    shape = (*shape[2:], *shape[:2])
                case "grey" | "channel":
                    shape = (*shape[:2], 1)
                case "rgb" | "bgr" | "denoise":
                    shape = (*shape[:2], 3)
                case "clip" | "rows":
                    shape = (None, None, *shape[2:])
                case "glyphs":
                    shape = (known["count"], known["height"], known["width"], 1)
                case _:
                    return None
        return shape

    def to_json(self) -> list[dict[str, Any]]:
        """Returns the steps as JSON values: one object per step, with its name under `step`."""
        return [{"step": step.name, **settings(step)} for step in self.steps]

    @classmethod
    def from_json(cls, steps: Sequence[Mapping[str, Any]]) -> "Recipe":
        """Builds a recipe from the values that `to_json` returns.

        Args:
            steps: One object per step.

        Returns:
            The recipe.

        Raises:
            RecipeError: If a step is unknown, stands in a wrong place, or has settings that it
                doesn't take.
        """
        if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
            raise RecipeError(f"a recipe is a list of objects, not {steps!r:.80}")
        built = tuple(_build(step) for step in steps)
        if any(step.name == "frames" for step in built[1:]):
            raise RecipeError('the step "frames" is the first step, or there is none')
        if any(step.name == "channels_first" for step in built[:-1]):
            raise RecipeError('the step "channels_first" is the last step, or there is none')
        return cls(built)


def _run(step: Step, picture: Picture) -> Picture:
    """Runs one step; errors name the step."""
    try:
        return step(picture)
    except RecipeError as error:
        raise type(error)(f"step {step.name!r}: {error}") from error
    except MemoryError as error:
        raise RecipeError(
            f"step {step.name!r}: not enough memory for a picture of shape {picture.shape}"
        ) from error
    except (cv2.error, ValueError, TypeError) as error:
        raise RecipeError(
            f"step {step.name!r} can't use a picture of shape {picture.shape} "
            f"and dtype {picture.dtype}: {error}"
        ) from error


def _build(values: Mapping[str, Any]) -> Step:
    """Builds one step from its JSON object."""
    chosen = dict(values)
    name = chosen.pop("step", None)
    if name not in STEPS:
        raise RecipeError(f"unknown recipe step {name!r}; known are {', '.join(STEPS)}")
    try:
        return STEPS[name](**chosen)
    except (TypeError, ValueError) as error:
        raise RecipeError(f"recipe step {name!r}: {error}") from error
