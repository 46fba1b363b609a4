"""Small pictures of digits, for tests that train in seconds."""

from pathlib import Path

import cv2
import numpy as np


def write_digits(folder: Path, count: int, seed: int, *, length: int = 4) -> list[str]:
    """Draws pictures of 72 x 32 pixels into a new folder; the names are the labels, all different.

    Returns:
        The labels, sorted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    labels: set[str] = set()
    while len(labels) < count:
        label = "".join(map(str, rng.integers(0, 10, length)))
        picture = rng.integers(200, 256, (32, 72), np.uint8)
        place = (4 + int(rng.integers(0, 4)), 22 + int(rng.integers(-2, 3)))
        cv2.putText(picture, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 30, 2, cv2.LINE_AA)
        cv2.imwrite(str(folder / f"{label}.png"), picture)
        labels.add(label)
    return sorted(labels)
