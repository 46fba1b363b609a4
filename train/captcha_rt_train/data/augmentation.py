"""Augmentation: changes training pictures a little, where a document had more pictures.

A picture is moved, turned, sheared, scaled and bent. Some pictures also get one more noise curve,
or noise and another contrast. The changes depend only on the random generator, so that a resumed
run sees the same pictures.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_ROTATION = 5.0  # degrees
_SHEAR = 0.12
_SCALE = 0.1
_SHIFT = 0.04, 0.08  # fractions of the width and of the height
_BEND = 0.04  # of the height: the largest movement of a point against its surroundings
_CONTRAST = 0.25
_BRIGHTNESS = 15.0  # grey levels
_NOISE = 12.0  # grey levels: the largest standard deviation
_SPECKS = 0.15  # the largest fraction of the pixels that become specks
_HOLES = 0.4  # the fraction of the specks with the background's colour: holes in the ink
_KNOTS = 3, 6  # the bending's grid, rows and columns: low frequencies only
_CONTROLS = (0, 0, 0.1, 0.7), (0.2, 0.5, 0.9, 1)  # a curve's control points: bounds of x / width
_THICKNESS = 2, 3  # pixels of a curve


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How training pictures are changed.

    Attributes:
        strength: The factor of all movements and of the noise, in 0..1; 0 leaves the pictures as
            they are.
        curves: The probability of one more noise curve, in 0..1.
        noise: The probability of noise and another contrast, in 0..1.
        spliced: The probability that a picture is spliced with another, in 0..1.
        after_steps: The number of the recipe's steps that run before the changes.
        warm_up: The number of epochs over which the strength grows from 0. If the network has
            several outputs, the weight of the first output's loss grows as well.
        window: The columns that the labels depend on, as fractions of the width: first and last.
            Outside of the window, most of the changed pictures get another picture's columns.
            Otherwise a network could learn to recognise whole pictures, and with them the labels.
            None changes no columns.
    """

    strength: float = 0.0
    curves: float = 0.0
    noise: float = 0.0
    spliced: float = 0.0
    after_steps: int = 0
    warm_up: int = 0
    window: tuple[float, float] | None = None

    def warm_up_factor(self, epoch: int) -> float:
        """The fraction of the warm-up that is over in an epoch (from 0), in 0..1."""
        return min(epoch / self.warm_up, 1.0) if self.warm_up else 1.0


def augment(
    picture: NDArray[np.uint8], rng: np.random.Generator, augmentation: Augmentation
) -> NDArray[np.uint8]:
    """Changes a picture in a way that keeps its text readable.

    Pixels from outside of the picture get its median colour, since most of a captcha is background.

    Args:
        picture: `(H, W, C)` uint8 with any C; transparency is a channel like the others.
        rng: The source of randomness.
        augmentation: `strength`, `curves` and `noise` are used; `Batches` sees to the other fields.

    Returns:
        A picture of the same shape, uint8.
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
    """The x and y that each pixel comes from: turned, sheared, scaled about the middle, shifted."""
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
    """Draws a cubic curve across the picture, in the colour farthest from the background.

    The curve may begin, end and turn on the text, as document 001's curves do. A network that was
    trained with curves from side to side only read a 3 as 8 where a curve closed the 3.
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
    """Changes contrast and brightness, and adds normal noise and specks, black or of any level.

    Half of document 002's pictures are full of specks. Trained without specks, a network misread 7
    of 600 such pictures; with specks and a first kernel of 5 x 5 it misread 2.
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
