"""Pictures of kinds that the embedded model was not trained on, to see whether it rejects them.

The kinds are texts drawn by lepture's `captcha` package in its own fonts, photographs that come
with scikit-learn and Matplotlib, noise, and empty pages. The model was trained on other foreign
pictures: those of `captcha_rt_train.generators.foreign`.
"""

import random
from collections.abc import Callable

import cv2
import matplotlib as mpl
import matplotlib.cbook
import numpy as np
from captcha.image import ImageCaptcha
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

Pixels = NDArray[np.uint8]
Drawn = tuple[str, Pixels]
"""The text of a picture, empty where it shows none, and its pixels: `(H, W, 3)` uint8, RGB."""

Draw = Callable[[np.random.Generator], Drawn]


def draw_foreign(count: int) -> dict[str, list[Drawn]]:
    """Draws pictures of each kind, always the same.

    Args:
        count: The number of pictures of each kind.

    Returns:
        The pictures by the kind's name.
    """
    photographs = [*load_sample_images().images, _hopper()]
    kinds: dict[str, Draw] = {
        "captcha package": _captcha,
        "photographs": lambda rng: ("", _piece(photographs, rng)),
        "noise": lambda rng: ("", _noise(rng)),
        "empty": lambda rng: ("", _empty(rng)),
    }
    return {
        name: [draw(np.random.default_rng([0, index])) for index in range(count)]
        for name, draw in kinds.items()
    }


def _captcha(rng: np.random.Generator) -> Drawn:
    """Four to six digits, or digits and capitals, drawn by lepture's package."""
    random.seed(int(rng.integers(2**31)))  # the package uses Python's generator
    charset = "0123456789" if rng.random() < 0.5 else "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
    text = "".join(rng.choice(list(charset), rng.integers(4, 7)))
    return text, np.asarray(ImageCaptcha().generate_image(text).convert("RGB"), np.uint8)


def _size(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(100, 241)), int(rng.integers(35, 91))


def _piece(photographs: list[Pixels], rng: np.random.Generator) -> Pixels:
    """A piece of a photograph, at a random scale."""
    photograph = photographs[rng.integers(len(photographs))]
    width, height = _size(rng)
    scale = rng.uniform(1, min(photograph.shape[0] / height, photograph.shape[1] / width))
    across, down = int(width * scale), int(height * scale)
    x = rng.integers(photograph.shape[1] - across + 1)
    y = rng.integers(photograph.shape[0] - down + 1)
    piece = np.ascontiguousarray(photograph[y : y + down, x : x + across])
    return np.asarray(cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _noise(rng: np.random.Generator) -> Pixels:
    """Uniform noise, black and white noise, or normal noise around a colour."""
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
    """A page of one colour; a third of the pages are white."""
    width, height = _size(rng)
    colour = np.full(3, 255.0) if rng.random() < 1 / 3 else rng.uniform(0, 256, 3)
    return np.broadcast_to(colour.astype(np.uint8), (height, width, 3)).copy()


def _hopper() -> Pixels:
    path = mpl.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    photograph = cv2.imread(str(path))
    if photograph is None:
        raise FileNotFoundError(f"Matplotlib's photograph {path} can't be read")
    return np.asarray(cv2.cvtColor(photograph, cv2.COLOR_BGR2RGB), np.uint8)
