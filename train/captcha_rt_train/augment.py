"""Pictures like the real ones, where there are fewer of these than a document had.

Each is moved, turned, sheared, scaled and bent a little, and some get one more noise curve. Which
way a picture goes depends on the random generator alone, so that a resumed run sees the same.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

_ROTATION = 5.0  # degrees
_SHEAR = 0.12
_SCALE = 0.1
_SHIFT = 0.04, 0.08  # of the width, of the height
_BEND = 0.04  # of the height: what a point is moved by, at most, against its surroundings
_CONTRAST = 0.25
_BRIGHTNESS = 15.0  # grey levels
_NOISE = 12.0  # grey levels: the largest standard deviation
_SPECKS = 0.15  # the largest share of the pixels that are specks
_HOLES = 0.4  # of these, those of the background's colour: holes in the ink
_KNOTS = 3, 6  # the bending's grid, rows and columns: low frequencies only
_CONTROLS = (0, 0, 0.1, 0.7), (0.2, 0.5, 0.9, 1)  # where its control points lie, of the width
_THICKNESS = 2, 3  # pixels


def augment(
    picture: NDArray[np.uint8],
    rng: np.random.Generator,
    strength: float,
    curves: float,
    noise: float = 0.0,
) -> NDArray[np.uint8]:
    """Changes a picture in a way that leaves its text as it is.

    What comes in from outside has the picture's median colour: most of a captcha is background.

    Args:
        picture: `(H, W, C)` uint8 with any C; transparency is a channel like others.
        rng: Where the randomness comes from.
        strength: Multiplies all movements, in 0..1.
        curves: The probability of a curve, in 0..1.
        noise: The probability of noise and another contrast, in 0..1.

    Returns:
        A picture of the same shape.
    """
    height, width, channels = picture.shape
    background = np.median(picture, axis=(0, 1))
    if rng.random() < curves:
        picture = _add_curve(picture, background, rng)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    map_x, map_y = _affine(rows, columns, rng, strength)
    bend = rng.uniform(-1, 1, (2, *_KNOTS)).astype(np.float32) * _BEND * height * strength
    map_x += cv2.resize(bend[0], (width, height), interpolation=cv2.INTER_CUBIC)
    map_y += cv2.resize(bend[1], (width, height), interpolation=cv2.INTER_CUBIC)
    moved = cv2.remap(
        picture,
        map_x,
        map_y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=background.tolist(),
    )
    moved = np.asarray(moved, np.uint8).reshape(height, width, channels)
    return _add_noise(moved, background, rng, strength) if rng.random() < noise else moved


def _affine(
    rows: NDArray[np.float32],
    columns: NDArray[np.float32],
    rng: np.random.Generator,
    strength: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel comes from: turned, sheared and scaled about the middle, then shifted."""
    height, width = rows.shape
    angle, shear, scale_x, scale_y, shift_x, shift_y = rng.uniform(-1, 1, 6) * strength
    turn = np.deg2rad(angle * _ROTATION)
    x = (columns - (width - 1) / 2) * (1 + scale_x * _SCALE)
    y = (rows - (height - 1) / 2) * (1 + scale_y * _SCALE)
    x = x + shear * _SHEAR * y
    map_x = np.cos(turn) * x - np.sin(turn) * y + (width - 1) / 2 + shift_x * _SHIFT[0] * width
    map_y = np.sin(turn) * x + np.cos(turn) * y + (height - 1) / 2 + shift_y * _SHIFT[1] * height
    return map_x.astype(np.float32), map_y.astype(np.float32)


def _add_curve(
    picture: NDArray[np.uint8], background: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draws a cubic curve across, in the colour that is farthest from the background.

    It may begin and end on the text and turn there, as document 001's curves do: those that only
    pass from side to side left a 3 that such a curve closes to be read as 8.
    """
    height, width, channels = picture.shape
    pixels = picture.reshape(-1, channels)
    ink = pixels[np.abs(pixels - background).sum(axis=1).argmax()]
    t = np.linspace(0, 1, 16)[:, None]
    weights = np.concatenate([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3], axis=1)
    x = weights @ (rng.uniform(*_CONTROLS) * width)
    y = weights @ (rng.uniform(-0.1, 1.1, 4) * height)
    points = np.stack([x, y], axis=1).round().astype(np.int32)
    drawn = np.ascontiguousarray(picture).copy()
    thickness = int(rng.integers(_THICKNESS[0], _THICKNESS[1] + 1))
    cv2.polylines(drawn, [points], isClosed=False, color=ink.tolist(), thickness=thickness)
    return drawn


def _add_noise(
    picture: NDArray[np.uint8],
    background: NDArray[np.float64],
    rng: np.random.Generator,
    strength: float,
) -> NDArray[np.uint8]:
    """Another contrast and brightness, a little normal noise, and specks, black or of any level.

    The specks are what half of document 002's pictures are full of: of 600 of these a network
    misread 7 without, and 2 with them and a first kernel of 5 x 5.
    """
    contrast, brightness = rng.uniform(-1, 1, 2) * strength
    levels = (picture - background) * (1 + contrast * _CONTRAST) + background
    levels += brightness * _BRIGHTNESS
    levels += rng.normal(0, rng.uniform(0, _NOISE) * strength, picture.shape)
    specks = rng.random(picture.shape[:2]) < rng.uniform(0, _SPECKS) * strength
    count = int(specks.sum())
    shades = rng.uniform(0, 255, (count, 1)) * rng.integers(2)
    levels[specks] = np.where(rng.random((count, 1)) < _HOLES, background, shades)
    return np.asarray(levels.clip(0, 255), np.uint8)
