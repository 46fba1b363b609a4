"""Pictures of kinds that the embedded model never trained on, to see whether it leaves them unread.

Texts of lepture's `captcha` package in its own faces, photographs (scikit-learn's and
matplotlib's), noise, and empty pages. None comes from `captcha_rt_train.foreign`, on which it
trained.
"""

import random

import cv2
import matplotlib as mpl
import matplotlib.cbook
import numpy as np
from captcha.image import ImageCaptcha
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

Pixels = NDArray[np.uint8]
Drawn = tuple[str, Pixels]
"""What a picture shows, empty where it is no text, and its pixels."""


def draw_foreign(count: int, seed: int = 0) -> dict[str, list[Drawn]]:
    """Draws so many pictures of each kind."""
    photographs = [*load_sample_images().images, _hopper()]
    kinds = {
        "captcha package": _captcha,
        "photographs": lambda rng: ("", _piece(photographs, rng)),
        "noise": lambda rng: ("", _noise(rng)),
        "empty": lambda rng: ("", _empty(rng)),
    }
    return {
        name: [draw(np.random.default_rng([seed, index])) for index in range(count)]
        for name, draw in kinds.items()
    }


def _captcha(rng: np.random.Generator) -> Drawn:
    """Lepture's: digits, or digits and capitals, four to six; it draws from Python's generator."""
    random.seed(int(rng.integers(2**31)))
    charset = "0123456789" if rng.random() < 0.5 else "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
    text = "".join(rng.choice(list(charset), rng.integers(4, 7)))
    return text, np.asarray(ImageCaptcha().generate_image(text).convert("RGB"), np.uint8)


def _size(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(100, 241)), int(rng.integers(35, 91))


def _piece(photographs: list[Pixels], rng: np.random.Generator) -> Pixels:
    """A piece of a photograph, in one of its own scales."""
    photograph = photographs[rng.integers(len(photographs))]
    width, height = _size(rng)
    scale = rng.uniform(1, min(photograph.shape[0] / height, photograph.shape[1] / width))
    across, down = int(width * scale), int(height * scale)
    x = rng.integers(photograph.shape[1] - across + 1)
    y = rng.integers(photograph.shape[0] - down + 1)
    piece = np.ascontiguousarray(photograph[y : y + down, x : x + across])
    return np.asarray(cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _noise(rng: np.random.Generator) -> Pixels:
    """Every pixel of any colour, or black and white, or normal around a colour."""
    width, height = _size(rng)
    match rng.integers(3):
        case 0:
            noise = rng.uniform(0, 256, (height, width, 3))
        case 1:
            noise = np.repeat(rng.integers(0, 2, (height, width, 1)) * 255.0, 3, axis=2)
        case _:
            noise = rng.normal(rng.uniform(0, 255, 3), rng.uniform(5, 80), (height, width, 3))
    return noise.clip(0, 255).astype(np.uint8)


def _empty(rng: np.random.Generator) -> Pixels:
    """One colour, white for a third of them."""
    width, height = _size(rng)
    colour = np.full(3, 255.0) if rng.random() < 1 / 3 else rng.uniform(0, 256, 3)
    return np.broadcast_to(colour.astype(np.uint8), (height, width, 3)).copy()


def _hopper() -> Pixels:
    path = mpl.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)
