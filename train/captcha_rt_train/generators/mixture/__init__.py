"""Pictures of a mixture of styles, for a reader of kinds that nobody trained on.

`style` says what varies, `styles` how far, `letters` and `page` draw, `draw` puts them together,
`faces` holds the fonts' glyphs, and `fetch` gets fonts.
"""

import os
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt_train.generators.mixture.draw import draw
from captcha_rt_train.generators.mixture.faces import Faces, default_faces, load_faces

__all__ = ["FACES_VARIABLE", "chosen_faces", "draw", "generate"]

FACES_VARIABLE: Final = "CAPTCHA_FACES"
"""The environment variable that names the file of the faces, which `captcha-rt fonts` writes."""


def generate(rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]]:
    """Draws a text and its picture, `(H, W, 3)` uint8 RGB.

    Raises:
        TrainingError: If the file that `CAPTCHA_FACES` names can't be read.
    """
    drawn = draw(rng, chosen_faces())
    return drawn.label, drawn.picture


def chosen_faces() -> Faces:
    """The faces of the file that the environment variable `CAPTCHA_FACES` names.

    Without the variable, they are the few that come with matplotlib.

    Raises:
        TrainingError: If the file can't be read.
    """
    file = os.environ.get(FACES_VARIABLE)
    return load_faces(Path(file)) if file else default_faces()
