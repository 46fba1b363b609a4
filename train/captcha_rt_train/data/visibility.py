"""Checks that the network will see a text in the pictures, before it is trained on nothing."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import RecipeError
from captcha_rt.recipe import Recipe
from captcha_rt_export.spread import spread
from captcha_rt_train.data.samples import Sample
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.presets import Preset, load_preset, preset_names

_PICTURES: Final = 64
"""The number of pictures that are looked at."""

_GREY_LEVELS: Final = 4
"""A picture whose pixels differ by so many levels of 255, or less, is plain to the eye."""

_CHANNELS: Final = {1: ("grey",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}


def check_visible(samples: Sequence[Sample], preset: Preset) -> None:
    """Checks that most tensors are neither plain nor equal to one another.

    A text that is only in a channel which the recipe drops, such as alpha, leaves such tensors.

    Args:
        samples: The samples, at least one.
        preset: The preset whose recipe made the tensors.

    Raises:
        TrainingError: If half of the tensors, or more, show nothing. The message names the channels
            of the pictures in which something is to be seen, and a preset that shows it.
    """
    looked_at = spread(samples, _PICTURES)
    seen = _count_seen([sample.tensor for sample in looked_at], _GREY_LEVELS / 255)
    if 2 * seen > len(looked_at):
        return
    pictures = [sample.picture for sample in looked_at]
    names = _CHANNELS[min(picture.shape[2] for picture in pictures)]
    channels = [
        name
        for index, name in enumerate(names)
        if 2 * _count_seen([p[:, :, index] for p in pictures], _GREY_LEVELS) > len(pictures)
    ]
    found = (
        f"preset {preset.name!r} leaves {len(looked_at) - seen} of {len(looked_at)} pictures plain "
        "or all alike, so that the network would learn nothing"
    )
    if not channels:
        raise TrainingError(f"{found}: the pictures themselves are plain or all alike")
    shown = f"{found}; what differs is in the pictures' channel {' and '.join(channels)}"
    better = _find_preset(pictures)
    if better is None:
        raise TrainingError(f"{shown}, which no preset's recipe keeps")
    step = better.recipe.to_json()[0]
    raise TrainingError(f"{shown}: take --preset {better.name}, whose recipe begins with {step}")


def _count_seen(arrays: Sequence[NDArray[Any]], least: float) -> int:
    """Counts the arrays with larger differences within themselves, and to most others."""
    uneven = [float(np.ptp(array)) > least for array in arrays]
    if len({array.shape for array in arrays}) != 1 or len(arrays) == 1:
        return sum(uneven)
    middle = np.median(np.stack(arrays), axis=0)
    return sum(
        within and float(np.abs(array - middle).max()) > least
        for array, within in zip(arrays, uneven, strict=True)
    )


def _find_preset(pictures: Sequence[NDArray[np.uint8]]) -> Preset | None:
    """Finds a preset whose recipe shows the pictures' differences; the simplest comes first."""
    for name in ("compact", *preset_names()):
        preset = load_preset(name)
        if 2 * _count_seen(_apply(preset.recipe, pictures), _GREY_LEVELS / 255) > len(pictures):
            return preset
    return None


def _apply(recipe: Recipe, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """The recipe's results for the pictures that it can use."""
    tensors = []
    for picture in pictures:
        try:
            tensors.append(recipe.apply(picture))
        except RecipeError:
            continue
    return tensors
