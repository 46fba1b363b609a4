"""The steps that recipes are made of.

A new step is a class that follows the protocol `Step`, and a row in `STEPS`. "Document 000" to
"document 004" in docstrings are the five published captcha systems that the presets rebuild; see
`docs/training.md`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from captcha_rt.steps.conventions import Bgr, ChannelsFirst, Normalize, Stretch
from captcha_rt.steps.curve import RemoveCurve
from captcha_rt.steps.frames import Frames
from captcha_rt.steps.framing import Fit, Rows
from captcha_rt.steps.glyphs import Clip, Glyphs, RemoveArtifacts
from captcha_rt.steps.simple import (
    Channel,
    Crop,
    Denoise,
    Grey,
    Median,
    Morphology,
    Resize,
    Rgb,
    Scale,
    Threshold,
    Transpose,
)
from captcha_rt.steps.step import Picture, Step, settings

__all__ = [
    "STEPS",
    "Bgr",
    "Channel",
    "ChannelsFirst",
    "Clip",
    "Crop",
    "Denoise",
    "Fit",
    "Frames",
    "Glyphs",
    "Grey",
    "Median",
    "Morphology",
    "Normalize",
    "Picture",
    "RemoveArtifacts",
    "RemoveCurve",
    "Resize",
    "Rgb",
    "Rows",
    "Scale",
    "Step",
    "Stretch",
    "Threshold",
    "Transpose",
    "settings",
]

STEPS: Final[Mapping[str, Callable[..., Step]]] = {
    "frames": Frames,
    "grey": Grey,
    "rgb": Rgb,
    "bgr": Bgr,
    "scale": Scale,
    "stretch": Stretch,
    "normalize": Normalize,
    "resize": Resize,
    "fit": Fit,
    "rows": Rows,
    "transpose": Transpose,
    "channels_first": ChannelsFirst,
    "channel": Channel,
    "crop": Crop,
    "denoise": Denoise,
    "threshold": Threshold,
    "dilate": partial(Morphology, "dilate"),
    "erode": partial(Morphology, "erode"),
    "median": Median,
    "remove_curve": RemoveCurve,
    "remove_artifacts": RemoveArtifacts,
    "clip": Clip,
    "glyphs": Glyphs,
}
"""The constructors of the steps, by the names that JSON uses."""
