"""Reads text captchas with Keras-trained models, without Keras.

    >>> from captcha_rt import Solver
    >>> Solver().solve("captcha.png").text
    '8y63f'

Names are imported when they are first used (PEP 562), so that the command line can set up NumPy's
environment and print its help before NumPy loads.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from captcha_rt.charset import Charset
    from captcha_rt.decoders import Decoded, greedy_decode
    from captcha_rt.errors import (
        CaptchaRTError,
        CharsetError,
        FolderError,
        ImageDecodeError,
        InstallationError,
        LabelError,
        LowConfidenceError,
        ManifestError,
        ModelError,
        ModelNotFoundError,
        ProviderError,
        RecipeError,
        ScoresError,
        SegmentationError,
    )
    from captcha_rt.image import decode_image
    from captcha_rt.manifest import Manifest
    from captcha_rt.model import load_model
    from captcha_rt.recipe import Recipe
    from captcha_rt.solver import Character, Solution, Solver

__version__ = "0.1.0"

_MODULES = {
    "charset": ("Charset",),
    "decoders": ("Decoded", "greedy_decode"),
    "errors": (
        "CaptchaRTError",
        "CharsetError",
        "FolderError",
        "ImageDecodeError",
        "InstallationError",
        "LabelError",
        "LowConfidenceError",
        "ManifestError",
        "ModelError",
        "ModelNotFoundError",
        "ProviderError",
        "RecipeError",
        "ScoresError",
        "SegmentationError",
    ),
    "image": ("decode_image",),
    "manifest": ("Manifest",),
    "model": ("load_model",),
    "recipe": ("Recipe",),
    "solver": ("Character", "Solution", "Solver"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "CaptchaRTError",
    "Character",
    "Charset",
    "CharsetError",
    "Decoded",
    "FolderError",
    "ImageDecodeError",
    "InstallationError",
    "LabelError",
    "LowConfidenceError",
    "Manifest",
    "ManifestError",
    "ModelError",
    "ModelNotFoundError",
    "ProviderError",
    "Recipe",
    "RecipeError",
    "ScoresError",
    "SegmentationError",
    "Solution",
    "Solver",
    "decode_image",
    "greedy_decode",
    "load_model",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever the name is)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
