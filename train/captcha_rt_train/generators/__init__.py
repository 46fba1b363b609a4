"""Generators of labelled pictures, one module for each kind.

A new kind is one module with a function `generate`, and one row in `GENERATORS`.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt_train.generators import foreign, kaptcha, metu, mixture, simplecaptcha

__all__ = ["GENERATORS", "Generator"]

Generator = Callable[[np.random.Generator], tuple[str, NDArray[np.uint8]]]
"""Draws a label and its picture, `(H, W, C)` uint8; the argument's state decides on both."""

GENERATORS: Final[Mapping[str, Generator]] = {
    "kaptcha": kaptcha.generate,
    "simplecaptcha": simplecaptcha.generate,
    "metu": metu.generate,
    "foreign": foreign.generate,
    "mixture": mixture.generate,
}
