"""Changes training pictures a little, where there are fewer of them than a document had.

A picture is moved, turned, sheared, scaled and bent, and some get one more noise curve. The changes
depend on the random generator alone, so that a resumed run sees the same pictures.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_ROTATION = 5.0  # degrees
_SHEAR = 0.12
_SCALE = 0.1
_SHIFT = 0.04, 0.08  # of the width, of the height
_BEND = 0.04  # of the height: the largest movement of a point against its surroundings
_CONTRAST = 0.25
_BRIGHTNESS = 15.0  # grey levels
_NOISE = 12.0  # grey levels: the largest standard deviation
_SPECKS = 0.15  # the largest share of the pixels that are specks
_HOLES = 0.4  # the share of the specks with the background's colour: holes in the ink
_KNOTS = 3, 6  # the bending's grid, rows and columns: low frequencies only
_CONTROLS = (0, 0, 0.1, 0.7), (0.2, 0.5, 0.9, 1)  # where its control points lie, of the width
_THICKNESS = 2, 3  # pixels


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How training pictures are changed.

    Attributes:
        strength: Multiplies all movements, in 0..1; 0 leaves the pictures as they are.
        curves: The probability of one more noise curve, in 0..1.
        noise: The probability of noise and another contrast, in 0..1.
        after_steps: The number of the recipe's steps that run before the changes.
        warm_up: The epochs over which the strength grows from nothing. Where the network has
            several outputs, so does the weight of the first one's loss.
        window: The columns that the labels depend on: from and to, as shares of the width. Most
            of the changed pictures get another picture's columns outside of it. So a network can't
            recognise a picture, and with it its label, by what stands elsewhere.
    """

    strength: float = 0.0
    curves: float = 0.0
    noise: float = 0.0
    after_steps: int = 0
    warm_up: int = 0
    window: tuple[float, float] | None = None

    def warmth(self, epoch: int) -> float:
        """How much of the warm-up is over in an epoch (from 0), in 0..1."""
        return min(epoch / self.warm_up, 1.0) if self.warm_up else 1.0


def augment(
    picture: NDArray[np.uint8], rng: np.random.Generator, augmentation: Augmentation
) -> NDArray[np.uint8]:
    """Changes a picture in a way that leaves its text as it is.

    What comes in from outside has the picture's median colour: most of a captcha is background.

    Args:
        picture: `(H, W, C)` uint8 with any C; transparency is a channel like others.
        rng: Where the randomness comes from.
        augmentation: Strength, curves and noise; the window and the warm-up are the batches'.

    Returns:
        A picture of the same shape.
    """
    height, width, channels = picture.shape
    background = np.median(picture, axis=(0, 1))
    strength = augmentation.strength
    if rng.random() < augmentation.curves:
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
    return (
        _add_noise(moved, background, rng, strength) if rng.random() < augmentation.noise else moved
    )


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

    It may begin, end and turn on the text, as document 001's curves do. After training with curves
    that only pass from side to side, a 3 that such a curve closes was read as 8.
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

    Half of document 002's pictures are full of specks. A network misread 7 of 600 of these without
    the specks, and 2 with them and a first kernel of 5 x 5.
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
