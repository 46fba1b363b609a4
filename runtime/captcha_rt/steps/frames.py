"""The step that makes one picture of the frames of an animation."""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

import numpy as np

from captcha_rt.errors import RecipeError
from captcha_rt.steps.simple import Rgb
from captcha_rt.steps.step import Picture, check

Blend = Literal["last", "darkest", "lightest", "mean"]
_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class Frames:
    """Makes one picture of the frames of an animated GIF, WebP or PNG. It is the first step.

    Each frame is the whole picture as it is shown, with what earlier frames left. A blend lies over
    white. A still picture stays as it is.

    Attributes:
        pick: The number of a frame, from 0; or `"last"`; or a blend of all frames, pixel by pixel:
            `"darkest"`, `"lightest"` or `"mean"`.
    """

    name: ClassVar[str] = "frames"

    pick: int | Blend = "last"

    def __post_init__(self) -> None:
        if self.pick not in get_args(Blend):
            if isinstance(self.pick, str):
                raise ValueError(f"pick is a number or one of {get_args(Blend)}: {self.pick!r}")
            check("pick", self.pick, 0, _MOST)

    def __call__(self, picture: Picture) -> Picture:
        """`(F, H, W, C)` or `(H, W, C)` uint8 → `(H, W, C)` uint8."""
        if picture.ndim == 3:
            return picture
        if self.pick == "last":
            return np.ascontiguousarray(picture[-1])
        if not isinstance(self.pick, str):
            if self.pick >= len(picture):
                raise RecipeError(
                    f"the picture has {len(picture)} frames; this model reads frame {self.pick}, "
                    "counted from 0"
                )
            return np.ascontiguousarray(picture[self.pick])
        frames = np.stack([Rgb()(frame) for frame in picture]) if picture.shape[3] == 4 else picture
        if self.pick == "mean":
            return np.asarray(np.rint(frames.mean(axis=0)), np.uint8)
        return np.asarray(frames.min(axis=0) if self.pick == "darkest" else frames.max(axis=0))
