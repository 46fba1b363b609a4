"""Folders of labelled pictures, for the tests of labels and archives."""

from pathlib import Path

import cv2
import numpy as np

from captcha_rt.labels import Labels

PNG = cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes()


def draw(folder: Path, *names: str) -> Path:
    """Writes tiny pictures of these names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return folder


def numbered(folder: Path, count: int = 3) -> Path:
    """Writes tiny pictures that are named by their numbers, from 1."""
    return draw(folder, *(f"{n}.png" for n in range(1, count + 1)))


def pairs(labels: Labels, folder: Path) -> dict[str, str]:
    """The labels by the paths of the pictures below the folder."""
    return {path.relative_to(folder).as_posix(): label for path, label in labels.items}
