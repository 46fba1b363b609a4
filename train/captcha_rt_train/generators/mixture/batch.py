"""Batches of the mixture as a network takes them. Nothing here needs Keras."""

import os
import signal
from collections.abc import Sequence
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.manifest import Manifest
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Fit, Scale
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.generators.mixture.draw import draw
from captcha_rt_train.generators.mixture.faces import load_faces

SHORTEST: Final = 3
"""The smallest number of characters in a drawn text."""

LENGTH: Final = 8
"""The largest number of characters in a drawn text."""


class DrawnBatch(NamedTuple):
    """Pictures of the mixture.

    Attributes:
        pictures: `(N, H, W, 3)` uint8, after all steps of the recipe but the scaling.
        labels: `(N, LENGTH)` int32 class ids, padded with the blank.
        columns: `(N, LENGTH)` float32: where each character stands, as a fraction of the width.
    """

    pictures: NDArray[np.uint8]
    labels: NDArray[np.int32]
    columns: NDArray[np.float32]


def draw_batch(faces: Path, manifest: Manifest, seed: Sequence[int], size: int) -> DrawnBatch:
    """Draws pictures; the same for the same seed and the same faces.

    Args:
        faces: The file with the faces.
        manifest: Recipe and charset; the recipe ends with the steps `fit` and `scale`.
        seed: Whole numbers of at least 0, which choose everything.
        size: The number of pictures.

    Raises:
        TrainingError: If the faces can't be read, or the recipe has another end.
    """
    all_faces = load_faces(faces)
    start, fit = without_scale(manifest.recipe)
    pictures = np.empty((size, fit.height, fit.width, 3), np.uint8)
    labels = np.full((size, LENGTH), manifest.charset.blank, np.int32)
    columns = np.zeros((size, LENGTH), np.float32)
    for number in range(size):
        drawn = draw(np.random.default_rng([*seed, number]), all_faces)
        *_, (_, pictures[number]) = start.trace(drawn.picture)
        length = len(drawn.label)
        labels[number, :length] = manifest.charset.encode(drawn.label)
        scale, left, _ = fit.place(drawn.picture.shape)
        # Bent letters may stand a little outside.
        columns[number, :length] = ((drawn.centres * scale + left) / fit.width).clip(0, 1)
    return DrawnBatch(pictures, labels, columns)


def without_scale(recipe: Recipe) -> tuple[Recipe, Fit]:
    """Splits the end off a recipe for drawn pictures.

    Returns:
        The recipe without its last step, `scale`, and the step before that, `fit`.

    Raises:
        TrainingError: If the recipe does not end with the steps `fit` and `scale`.
    """
    match recipe.steps:
        case (*_, Fit() as fit, Scale()):
            return Recipe(recipe.steps[:-1]), fit
    names = ", ".join(step.name for step in recipe.steps)
    raise TrainingError(
        f"a recipe for drawn pictures ends with the steps 'fit' and 'scale', not with: {names}"
    )


def start_worker() -> None:
    """Prepares a process that only draws: one thread, low priority, no longer than its parent."""
    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(5)
    # Ctrl-C reaches all processes of a terminal; the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A parent that is killed can't: the worker would wait for its next batch for ever.
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
