"""Draws pictures of captcha_v2's kind, so that samples and tests don't need real pictures.

The data of documents 003 and 004 was made by Google's Kaptcha: a rippled word under two noise
curves, over a gradient, as JPEG. The numbers here were checked against these pictures: background
and JPEG are equal to the grey level. Only the faces differ: the pictures show Lucida Sans
Demibold and Lucida Sans Typewriter Bold, which Java takes for Arial and Courier. Here matplotlib's
DejaVu faces are squeezed to Lucida's measures, character by character.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from captcha_rt.errors import CharsetError
from captcha_rt_train.generators.fonts import load_font
from captcha_rt_train.generators.java2d import ZOOM, average, draw_curve

CHARSET = "2345678bcdefgmnpwxy"
MAX_LENGTH = 5  # five m end at column 193 of 200
WIDTH, HEIGHT = 200, 50
_ALPHABET = CHARSET + "n"  # n is twice as frequent: 466 times, the others 207 to 257
_START, _BASELINE, _GAP = (
    28,
    42,
    2,
)  # pixels; the gap lies between two characters' ink, as in Kaptcha
_CELL = 40  # columns of one character; m, the widest, needs 35
_SANS, _MONO, _SIZE = "DejaVuSans-Bold", "DejaVuSansMono-Bold", 40

# The ink of each character in Lucida's sans and typewriter face, in pixels: left edge, width.
# fmt: off
_INK = {
    "2": ((2.9, 19.1), (3.1, 17.5)), "3": ((3.5, 18.1), (2.6, 17.5)),
    "4": ((1.8, 21.7), (1.5, 20.1)), "5": ((4.8, 17.4), (3.0, 17.4)),
    "6": ((2.1, 21.7), (2.0, 19.8)), "7": ((4.2, 19.3), (3.4, 17.6)),
    "8": ((3.0, 21.1), (2.2, 19.4)), "b": ((2.8, 21.9), (2.8, 20.2)),
    "c": ((1.8, 19.1), (1.2, 17.6)), "d": ((1.1, 21.9), (1.9, 20.1)),
    "e": ((2.0, 20.1), (1.2, 19.6)), "f": ((1.7, 16.1), (2.5, 19.2)),
    "g": ((1.0, 21.1), (1.9, 20.1)), "m": ((3.0, 31.9), (2.0, 20.6)),
    "n": ((2.8, 19.2), (2.9, 18.1)), "p": ((2.8, 21.9), (1.9, 20.9)),
    "w": ((0.9, 31.2), (0.0, 23.8)), "x": ((0.9, 22.1), (0.8, 21.5)),
    "y": ((0.9, 22.1), (0.7, 22.1)),
}
# fmt: on
_CURVES = ((0.1, 0.1, 0.25, 0.25), (0.1, 0.25, 0.5, 0.9))  # control points: x / width
_STROKES = (3.6, 2.7, 1.8)  # pixels; later segments are as thin as the third
_GREY, _WHITE = 192, 255
_JPEG_QUALITY = 75  # Java's default; the faint noise around the ink comes from it


def random_text(rng: np.random.Generator, length: int = MAX_LENGTH) -> str:
    """Draws a text as Kaptcha does: n is twice as likely as any other character.

    Raises:
        CharsetError: If `length` is not in `1..MAX_LENGTH`.
    """
    text = "".join(_ALPHABET[i] for i in rng.integers(len(_ALPHABET), size=max(length, 0)))
    _check(text)
    return text


def generate(rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]]:
    """Draws a text and its picture, `(50, 200, 1)` uint8."""
    text = random_text(rng)
    return text, draw(text, rng)[:, :, None]


def draw(text: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws one picture; the same for the same state of `rng` and the same library versions.

    Args:
        text: One to `MAX_LENGTH` characters of `CHARSET`.
        rng: Chooses each character's face and the curves.

    Returns:
        The picture, `(50, 200)` uint8, grey.

    Raises:
        CharsetError: If the text is empty, too long, or has characters outside of `CHARSET`.
    """
    _check(text)
    paper = (1 - _word(text, rng)) * (1 - _noise(rng))
    page = np.rint(_background() * paper).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", page, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    return np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE), np.uint8)


def write_samples(folder: Path, count: int, seed: int) -> list[Path]:
    """Writes PNG files that are named by their labels; no label comes twice.

    With the same seed, a larger count continues the pictures of a smaller one. Other files in the
    folder stay.

    Args:
        folder: The folder to write to; it is created if needed.
        count: The number of pictures.
        seed: The seed of texts and pictures.

    Returns:
        The files in the order in which they were drawn.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[Path, None] = {}  # in order
    while len(paths) < count:
        path = folder / f"{random_text(rng)}.png"
        if path not in paths:
            path.write_bytes(cv2.imencode(".png", draw(path.stem, rng))[1].tobytes())
            paths[path] = None
    return list(paths)


def _check(text: str) -> None:
    """Checks that a text can be drawn."""
    if not 1 <= len(text) <= MAX_LENGTH:
        raise CharsetError(f"{text!r} has {len(text)} characters; a picture has 1 to {MAX_LENGTH}")
    if foreign := sorted(set(text) - set(CHARSET)):
        raise CharsetError(f"{text!r} has characters outside of {CHARSET!r}: {''.join(foreign)!r}")


def _word(text: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """The text's ink, `(50, 200)` in 0..1, rippled; each character has one of two faces."""
    page = np.zeros((HEIGHT, WIDTH + _CELL), np.float32)
    x = _START
    for char, face in zip(text, rng.integers(2, size=len(text)), strict=True):
        page[:, x : x + _CELL] = np.maximum(page[:, x : x + _CELL], _glyph(char, int(face)))
        x += int(_INK[char][face][1]) + _GAP
    ink = page[:, :WIDTH]
    for map_x, map_y in _waves():
        ink = np.asarray(cv2.remap(ink, map_x, map_y, cv2.INTER_LINEAR), np.float32)
    return ink


@cache
def _glyph(char: str, face: int) -> NDArray[np.float32]:
    """A character's ink, `(50, 40)` in 0..1: the sans face for 0, the typewriter face for 1."""
    # DejaVu's typewriter digits are closer to both faces. Its w, low in the middle, is to neither.
    name = _MONO if char.isdigit() or (face and char != "w") else _SANS
    font = load_font(name, _SIZE * ZOOM)
    page = Image.new("L", (2 * _CELL * ZOOM, HEIGHT * ZOOM))
    ImageDraw.Draw(page).text((_CELL, _BASELINE * ZOOM), char, 255, font, anchor="ls")
    columns = np.flatnonzero(np.asarray(page).any(axis=0))
    start, width = (ZOOM * value for value in _INK[char][face])
    scale = width / (columns[-1] + 1 - columns[0])
    squeeze = np.array([[scale, 0, start - scale * columns[0]], [0, 1, 0]])
    fine = cv2.warpAffine(np.asarray(page), squeeze, (_CELL * ZOOM, HEIGHT * ZOOM))
    fine = cv2.erode(fine, np.ones((3, 3), np.uint8))  # DejaVu is bolder by a quarter of a pixel
    return average(np.asarray(fine, np.uint8))


@cache
def _waves() -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]:
    """The x and y that pixels come from in Kaptcha's WaterFilter and RippleFilter, both bilinear.

    The WaterFilter's rings are two pixels apart, which combs the glyphs within 50 pixels of the
    centre. The RippleFilter reads from (-2, -1) on, so that the word moves right and down.
    """
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    dx, dy = x - WIDTH / 2, y - HEIGHT / 2
    distance = np.maximum(np.hypot(dx, dy), 1e-6)
    pull = 1.5 * np.sin(np.pi * distance - 10) * np.maximum(1 - distance / 50, 0) * 2 / distance
    water = x + dx * pull, y + dy * pull
    ripple = x - 2 + 2.6 * np.sin((y - 1) / 15), y - 1 + 1.7 * np.sin((x - 2) / 5)
    return tuple((a.astype(np.float32), b.astype(np.float32)) for a, b in (water, ripple))


def _noise(rng: np.random.Generator) -> NDArray[np.float32]:
    """The ink of both noise curves, `(50, 200)` in 0..1: polylines, from thick to thin."""
    fine = np.zeros((HEIGHT * ZOOM, WIDTH * ZOOM), np.uint8)
    for xs in _CURVES:
        control = np.stack([np.array(xs) * WIDTH, rng.random(4) * HEIGHT], axis=1)
        draw_curve(fine, control, _STROKES)
    return average(fine)


@cache
def _background() -> NDArray[np.float64]:
    """The gradient from the upper left to the lower right corner, `(50, 200)` in 192..254."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    # Java's gradients have 255 steps, however many levels there are.
    step = np.floor((x * WIDTH + y * HEIGHT) / (WIDTH**2 + HEIGHT**2) * 255)
    return np.asarray(np.floor(_GREY + (_WHITE - _GREY) * step / 255), np.float64)
