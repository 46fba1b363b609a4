"""The steps that recipes are made of.

A new step is a class that follows the protocol `Step`, and a row in `_CLASSES`. "Document 000" to
"document 004" in docstrings are the five published captcha systems that the presets rebuild; see
`docs/training.md`.

A recipe has few of the steps, so that a step's module is loaded when the step is first asked for.
All of them would take a twentieth of the start of `captcha-rt solve`.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from captcha_rt.steps.step import Picture, Step, settings

if TYPE_CHECKING:
    from captcha_rt.steps.conventions import Bgr, ChannelsFirst, Normalize, Stretch
    from captcha_rt.steps.curve import RemoveCurve
    from captcha_rt.steps.filters import Channel, Crop, Denoise, Median, Morphology, Threshold
    from captcha_rt.steps.frames import Frames
    from captcha_rt.steps.framing import Fit, Rows
    from captcha_rt.steps.glyphs import Clip, Glyphs, RemoveArtifacts
    from captcha_rt.steps.simple import Grey, Resize, Rgb, Scale, Transpose

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

_CLASSES: Final = {
    "frames": "frames.Frames",
    "grey": "simple.Grey",
    "rgb": "simple.Rgb",
    "bgr": "conventions.Bgr",
    "scale": "simple.Scale",
    "stretch": "conventions.Stretch",
    "normalize": "conventions.Normalize",
    "resize": "simple.Resize",
    "fit": "framing.Fit",
    "rows": "framing.Rows",
    "transpose": "simple.Transpose",
    "channels_first": "conventions.ChannelsFirst",
    "channel": "filters.Channel",
    "crop": "filters.Crop",
    "denoise": "filters.Denoise",
    "threshold": "filters.Threshold",
    "dilate": "filters.Morphology",
    "erode": "filters.Morphology",
    "median": "filters.Median",
    "remove_curve": "curve.RemoveCurve",
    "remove_artifacts": "glyphs.RemoveArtifacts",
    "clip": "glyphs.Clip",
    "glyphs": "glyphs.Glyphs",
}
_MODULES: Final = {
    name: module for module, _, name in (c.partition(".") for c in _CLASSES.values())
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (a class of a step)
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


class _Constructors(Mapping[str, Callable[..., Step]]):
    """Loads the module of a step when its constructor is taken."""

    def __getitem__(self, name: str) -> Callable[..., Step]:
        made: Callable[..., Step] = __getattr__(_CLASSES[name].partition(".")[2])
        return partial(made, name) if name in ("dilate", "erode") else made

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


STEPS: Final[Mapping[str, Callable[..., Step]]] = _Constructors()
"""The constructors of the steps, by the names that JSON uses."""
