"""Draws noise curves as Java's captcha libraries do: a polyline of thick segments."""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

ZOOM = 8
"""Ink is drawn this many times larger, then averaged; this is the antialiasing."""

_FLAT = 2.0  # pixels: the largest distance of a control point from its curve's chord
_HALF = np.array([[8, 0, 0, 0], [4, 4, 0, 0], [2, 4, 2, 0], [1, 3, 3, 1]]) / 8  # de Casteljau


def draw_curve(
    fine: NDArray[np.uint8], control: NDArray[np.float64], strokes: Sequence[float]
) -> None:
    """Draws a cubic curve as a polyline between whole pixels, with ink of 255.

    Args:
        fine: The page, `(ZOOM * H, ZOOM * W)` uint8, `ZOOM` times larger than the picture; the
            curve is drawn in place.
        control: The curve's control points, `(4, 2)`, x and y in pixels.
        strokes: The thickness of each segment in pixels; the last thickness is that of all further
            segments.
    """
    points = np.trunc([control[0], *_flatten(control)]) + 0.5  # the middle of each pixel
    for i, (start, end) in enumerate(pairwise(points)):
        dx, dy = end - start
        # fillConvexPoly draws the outline, too.
        stroke = strokes[min(i, len(strokes) - 1)] - 1 / ZOOM
        size = np.hypot(dx, dy) + stroke, stroke  # square caps
        box = cv2.boxPoints(((start + end) / 2, size, np.degrees(np.arctan2(dy, dx))))
        cv2.fillConvexPoly(fine, np.rint(box * ZOOM).astype(np.int32), 255)


def average(fine: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Shrinks a page by `ZOOM`: from uint8 ink in 0..255 to float32 ink in 0..1."""
    ink = cv2.resize(fine, None, fx=1 / ZOOM, fy=1 / ZOOM, interpolation=cv2.INTER_AREA)
    return np.asarray(ink, np.float32) / np.float32(255)


def _flatten(control: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Halves a cubic curve, `(4, 2)`, until it is flat, as Java does: the ends of the segments."""
    start, *inner, end = control
    chord = end - start
    nearest = [start + np.clip((p - start) @ chord / (chord @ chord), 0, 1) * chord for p in inner]
    if np.hypot(*(np.array(inner) - nearest).T).max() < _FLAT:
        return [end]
    return _flatten(_HALF @ control) + _flatten(_HALF[::-1, ::-1] @ control)
