"""Draws pictures of document 001's kind, as Java's SimpleCaptcha does.

The pictures show six digits, each black or dark grey and in one of three faces, under a black curve
and in a border, all in the alpha channel. Places, advances, greys, curve and border were checked
digit by digit against 880 real pictures. Only the faces differ: the real pictures show Lucida
Bright, Lucida Sans and Lucida Sans Typewriter. Here matplotlib's faces are squeezed to Lucida's ink
and made bolder or lighter, digit by digit.
"""

from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from captcha_rt_train.generators.digits import LENGTH, check_text, random_text
from captcha_rt_train.generators.fonts import load_font
from captcha_rt_train.generators.java2d import ZOOM, average, draw_curve

WIDTH, HEIGHT = 120, 40
_START, _TOP, _BASELINE = 6, 4, 30  # pixels; every digit's ink fills the rows between
_CELL = 20  # columns of one digit; Lucida Sans' 4, the widest, ends in the 19th
_BLACK, _GREY = 255, 191  # of alpha; Java's dark grey is 64 on white
_CURVE = (0.1, 0.1, 0.25, 0.9)  # control points: x / width
_STROKES = (3.0,)  # pixels
_SANS, _MONO, _SERIF = "DejaVuSans", "DejaVuSansMono", "DejaVuSerif"
_STIX, _CMSS = "STIXGeneral", "cmss10"


class _Glyph(NamedTuple):
    """How a digit is drawn: lengths in pixels; `upright` and `level` even, in 1 / ZOOM pixels."""

    font: str
    start: float  # of the ink, from the digit's place
    width: float  # of the ink
    upright: int  # added to the width of the font's upright strokes
    level: int  # added to the width of its level strokes
    advance: int  # to the next digit; Java cuts the fraction off, so that digits touch


_FACES = (
    (  # Lucida Bright
        _Glyph(_SERIF, 2, 16, -2, -4, 16),
        _Glyph(_MONO, 3.5, 13.5, 0, -14, 14),
        _Glyph(_MONO, 1.75, 15.5, -6, -4, 16),  # the serif's 2 has a serif at its foot
        _Glyph(_SERIF, 2.5, 15.5, 0, -4, 15),
        _Glyph(_STIX, 0.75, 18.25, -2, 8, 17),
        _Glyph(_SERIF, 2.5, 15.75, 0, -2, 16),
        _Glyph(_STIX, 2, 16, -4, 0, 16),
        _Glyph(_MONO, 2.25, 16, -10, 0, 15),
        _Glyph(_STIX, 2, 16, 0, 0, 15),
        _Glyph(_STIX, 1, 16, -4, 0, 16),
    ),
    (  # Lucida Sans
        _Glyph(_CMSS, 2, 16, 0, -4, 16),
        _Glyph(_CMSS, 3.25, 14, -4, -4, 14),
        _Glyph(_SANS, 3, 15, 8, -10, 16),
        _Glyph(_MONO, 1, 17, -4, -4, 16),
        _Glyph(_CMSS, 1, 18, 0, -4, 18),
        _Glyph(_SANS, 2.5, 16, 2, -8, 17),
        _Glyph(_SANS, 2, 16, -2, -6, 16),
        _Glyph(_CMSS, 1.75, 16, 6, -10, 16),
        _Glyph(_MONO, 2, 15.75, 0, -4, 16),
        _Glyph(_SANS, 2, 16, 0, -6, 16),
    ),
    (  # Lucida Sans Typewriter
        _Glyph(_SANS, 2, 14, 2, -6, 14),
        _Glyph(_CMSS, 2.5, 13.75, -4, -4, 13),
        _Glyph(_MONO, 2.25, 13.75, 10, -10, 14),
        _Glyph(_MONO, 1.75, 14.25, 2, -4, 14),
        _Glyph(_CMSS, 1.5, 15.75, 0, 4, 15),
        _Glyph(_MONO, 2.75, 13.5, 6, -8, 14),
        _Glyph(_SANS, 2, 14, 2, -6, 14),
        _Glyph(_CMSS, 3, 13.25, 8, -8, 14),
        _Glyph(_MONO, 2, 13.75, 4, -6, 14),
        _Glyph(_SANS, 2, 14, 2, -6, 14),
    ),
)


def generate(rng: np.random.Generator) -> tuple[str, NDArray[np.uint8]]:
    """Draws a text and its picture, `(40, 120, 4)` uint8."""
    text = random_text(rng)
    return text, draw(text, rng)


def draw(text: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws one picture; the same for the same state of `rng` and the same library versions.

    Args:
        text: Six digits.
        rng: Chooses each digit's face and grey, and the curve.

    Returns:
        The picture, `(40, 120, 4)` uint8: black RGB, and what shows is in the last channel, alpha.

    Raises:
        CharsetError: If the text is not six digits.
    """
    check_text(text)
    page = _word(text, rng)
    page += _noise(rng) * (_BLACK - page)
    page[[0, -1]] = page[:, [0, -1]] = _BLACK
    picture = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    picture[:, :, 3] = np.rint(page)
    return picture


def _word(text: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """The digits' alpha, `(40, 120)` in 0..255; a later digit lies over an earlier one."""
    page = np.zeros((HEIGHT, WIDTH), np.float32)
    faces = rng.integers(len(_FACES), size=LENGTH)
    x = _START
    for char, face, alpha in zip(text, faces, rng.choice((_BLACK, _GREY), LENGTH), strict=True):
        cell = page[:, x : x + _CELL]
        cell += _ink(char, int(face)) * (alpha - cell)
        x += _FACES[face][int(char)].advance
    return page


@cache
def _ink(char: str, face: int) -> NDArray[np.float32]:
    """A digit's ink, `(40, 20)` in 0..1."""
    glyph = _FACES[face][int(char)]
    font = load_font(glyph.font, HEIGHT * ZOOM)
    page = Image.new("L", (HEIGHT * ZOOM, HEIGHT * ZOOM))
    ImageDraw.Draw(page).text((ZOOM, _BASELINE * ZOOM), char, 255, font, anchor="ls")
    left, top, *size = cv2.boundingRect((np.asarray(page) > 127).astype(np.uint8))
    bolder = np.array([glyph.upright, glyph.level])
    scale = (np.array([glyph.width, _BASELINE - _TOP]) * ZOOM - bolder) / size
    # Half of the added width is on each side.
    corner = np.array([glyph.start, _TOP]) * ZOOM + bolder / 2
    shift = corner - 0.5 - scale * (left - 0.5, top - 0.5)  # OpenCV counts from the pixels' middles
    squeeze = np.column_stack([np.diag(scale), shift])
    fine = cv2.warpAffine(np.asarray(page), squeeze, (_CELL * ZOOM, HEIGHT * ZOOM))
    columns, rows = np.abs(bolder) + 1
    for added, shape in zip(bolder, ((1, columns), (rows, 1)), strict=True):
        fine = (cv2.dilate if added > 0 else cv2.erode)(fine, np.ones(shape, np.uint8))
    return average(np.asarray(fine, np.uint8))


def _noise(rng: np.random.Generator) -> NDArray[np.float32]:
    """The curve's ink, `(40, 120)` in 0..1; it begins on the first digit, at any height."""
    fine = np.zeros((HEIGHT * ZOOM, WIDTH * ZOOM), np.uint8)
    control = np.stack([np.array(_CURVE) * WIDTH, rng.random(4) * HEIGHT], axis=1)
    draw_curve(fine, control, _STROKES)
    return average(fine)
