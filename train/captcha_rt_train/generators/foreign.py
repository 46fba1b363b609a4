"""Draws pictures that a model is to reject, so that it learns which kinds it can read.

A network that saw only some kinds of captchas is sure of its prediction for any picture. If it is
also trained on these pictures, with an empty label, it reads only blanks in other kinds, which
means a confidence of 0. Source: D. Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure"
(ICLR 2019). The pictures are empty pages, noise, shapes and textures, and texts in styles that no
real source has.
"""

from functools import cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from captcha_rt_train.generators.fonts import load_font

_WIDTHS, _HEIGHTS = (80, 240), (30, 90)
_DIGITS, _CAPITALS, _SMALL = (
    "0123456789",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "abcdefghijklmnopqrstuvwxyz",
)
_CHARSETS: Final = (_DIGITS, _CAPITALS, _SMALL, _DIGITS + _CAPITALS + _SMALL)
_FACES: Final = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralItalic",
    "cmb10",
    "cmr10",
    "cmss10",
    "cmtt10",
)
WITHOUT_TEXT: Final = 0.45
"""The fraction of the pictures without a text."""

_SIZES: Final = (16, 20, 24, 28, 34, 40, 48)


def generate(rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]]:
    """Draws a picture, `(H, W, 1)` uint8; its label is empty."""
    return "", draw(rng)


def draw(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws one picture; the same for the same state of `rng` and the same library versions.

    Args:
        rng: Chooses the size, the kind and all details.

    Returns:
        The picture, `(H, W, 1)` uint8, 80 to 240 pixels wide and 30 to 90 high.
    """
    size = int(rng.integers(*_HEIGHTS)), int(rng.integers(*_WIDTHS))
    kind = rng.random()
    levels = draw_without_text(size, rng, kind) if kind < WITHOUT_TEXT else _text(size, rng)
    if rng.random() < 0.2:
        levels = levels + rng.normal(0, rng.uniform(2, 40), size)
    return np.asarray(levels.clip(0, 255), np.uint8)[:, :, None]


def draw_without_text(
    size: tuple[int, int], rng: np.random.Generator, kind: float
) -> NDArray[np.float64]:
    """Draws an empty page, noise or a texture.

    Args:
        size: Height and width in pixels.
        rng: Chooses all details.
        kind: A number in 0..`WITHOUT_TEXT`, which chooses the kind.

    Returns:
        Grey levels `(H, W)`, some out of 0..255.
    """
    if kind < 0.1:
        return _page(size, rng)
    return _noise(size, rng) if kind < 0.25 else _texture(size, rng)


def _page(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """An empty page: one level or a gradient, with or without a border."""
    start, end = rng.uniform(0, 255, 2) if rng.random() < 0.4 else [rng.uniform(0, 255)] * 2
    if rng.random() < 0.4:
        start = end = 255.0
    rows, columns = np.linspace(0, 1, size[0])[:, None], np.linspace(0, 1, size[1])
    lean = rng.random()
    page = start + (end - start) * (lean * rows + (1 - lean) * columns)
    if rng.random() < 0.3:
        page[[0, -1]] = page[:, [0, -1]] = rng.uniform(0, 255)
    return np.asarray(page)


def _noise(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """A page full of noise: normal, of any level, or specks of a few pixels."""
    page = _page(size, rng)
    match rng.integers(3):
        case 0:
            return page + rng.normal(0, rng.uniform(5, 90), size)
        case 1:
            low, high = sorted(rng.uniform(0, 255, 2).tolist())
            return rng.uniform(low, high, size)
        case _:
            specks = rng.random(size) < rng.uniform(0.02, 0.6)
            if rng.random() < 0.4:
                specks = cv2.dilate(specks.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0
            return np.where(specks, rng.uniform(0, 255, size), page)


def _texture(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Blurred noise of several sizes with shapes over it, much like a piece of a photograph."""
    height, width = size
    page = np.zeros(size)
    for knots in (2, 4, 8, 16):
        coarse = rng.normal(0, 1, (knots, 2 * knots)) / rng.uniform(0.5, knots)
        page += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    page = rng.uniform(40, 215) + page * rng.uniform(10, 90)
    for _ in range(rng.integers(0, 12)):
        level = float(rng.uniform(0, 255))
        x, y = (int(v) for v in rng.uniform(0, (width, height)))
        across, down = (int(v) for v in rng.uniform(1, (width / 2, height)))
        thickness = int(rng.choice([-1, 1, 2, 4]))
        match rng.integers(3):
            case 0:
                cv2.ellipse(page, (x, y), (across, down), rng.uniform(0, 180), 0, 360, level, -1)
            case 1:
                cv2.rectangle(page, (x, y), (x + across, y + down), level, thickness)
            case _:
                end = x + across * int(rng.choice([-1, 1])), y + down * int(rng.choice([-1, 1]))
                cv2.line(page, (x, y), end, level, abs(thickness))
    return np.asarray(cv2.GaussianBlur(page, (0, 0), rng.uniform(0.3, 2)))


def _text(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Turned characters of many faces, sizes and levels, some under or over lines and dots."""
    height, width = size
    page = _page(size, rng) if rng.random() < 0.8 else _texture(size, rng)
    if page.mean() < 128 and rng.random() < 0.7:  # most captchas are dark on light
        page = 255 - page
    if rng.random() < 0.5:
        _scribble(page, rng)
    count = int(rng.integers(2, 9))
    step = width / (count + rng.uniform(0.2, 1.5))
    characters = list(_CHARSETS[rng.integers(len(_CHARSETS))])
    face = str(rng.choice(_FACES))
    spread = rng.uniform(5, 40)
    for place in range(count):
        if rng.random() < 0.3:
            face = str(rng.choice(_FACES))
        stamp = _character(str(rng.choice(characters)), face, int(rng.choice(_SIZES)))
        side = stamp.shape[0]
        turn = cv2.getRotationMatrix2D(
            (side / 2, side / 2),
            rng.uniform(-spread, spread),
            height / side * rng.uniform(0.8, 1.5),
        )
        turn[0, 2] += step * (place + rng.uniform(0.4, 0.8)) + step / 4 - side / 2
        turn[1, 2] += height * rng.uniform(0.4, 0.6) - side / 2
        ink = np.asarray(cv2.warpAffine(stamp, turn, (width, height)), np.float64) / 255
        page += (rng.uniform(0, 150) - page) * ink
    if rng.random() < 0.4:
        page = _warp(page, rng)
    if rng.random() < 0.6:
        _scribble(page, rng)
    return page


def _warp(page: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Bends a page along waves, across and down."""
    height, width = page.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    across, down = rng.uniform(10, 60, 2)
    phase = rng.uniform(0, 2 * np.pi, 2)
    moved_x = columns + rng.uniform(0, 5) * np.sin(2 * np.pi * rows / down + phase[0])
    moved_y = rows + rng.uniform(0, 5) * np.sin(2 * np.pi * columns / across + phase[1])
    bent = cv2.remap(
        page,
        moved_x.astype(np.float32),
        moved_y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(bent)


def _scribble(page: NDArray[np.float64], rng: np.random.Generator) -> None:
    """Draws lines, arcs and dots onto a page."""
    height, width = page.shape
    dark = float(rng.uniform(0, 200))
    for _ in range(rng.integers(0, 8)):
        start, end = ((int(x), int(y)) for x, y in rng.uniform((0, 0), (width, height), (2, 2)))
        cv2.line(page, start, end, dark, int(rng.integers(1, 4)))
    for _ in range(rng.integers(0, 3)):
        middle = int(rng.uniform(0, width)), int(rng.uniform(0, height))
        axes = int(rng.uniform(5, width)), int(rng.uniform(5, height))
        cv2.ellipse(page, middle, axes, rng.uniform(0, 180), 0, 360, dark, int(rng.integers(1, 4)))
    for _ in range(int(rng.choice([0, 10, 40, 120]))):
        dot = int(rng.uniform(0, width)), int(rng.uniform(0, height))
        cv2.circle(page, dot, int(rng.integers(0, 3)), dark, -1)


@cache
def _character(character: str, face: str, size: int) -> NDArray[np.uint8]:
    """A character's ink, `(2 * size, 2 * size)` in 0..255, in the middle of the square."""
    image = Image.new("L", (2 * size, 2 * size))
    draw_on = ImageDraw.Draw(image)
    draw_on.text((size, size), character, 255, load_font(face, size), anchor="mm")
    return np.asarray(image)
