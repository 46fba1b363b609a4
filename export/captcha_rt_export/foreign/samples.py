"""The pictures that a foreign model is read and checked on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import CaptchaRTError, ImageDecodeError, LabelError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.labels import AUTO, pictures_of, read_labels
from captcha_rt.manifest import Manifest
from captcha_rt_export.spread import spread

MOST: Final = 2000
"""The largest number of pictures that a model is checked on; of more, every n-th is taken."""

_NUMBERS: Final = 2**25  # of all pictures; several copies of 128 MB are made
_LEAST: Final = 64
_MAY_FAIL: Final = 0.05  # the share of the pictures that may be damaged, or of no use to the recipe


@dataclass(frozen=True, slots=True)
class Samples:
    """Pictures of a model's kind.

    Attributes:
        paths: Their files.
        labels: Their labels; None where they have none.
        note: A line on the labels.
    """

    paths: Sequence[Path]
    labels: Sequence[str] | None
    note: str


def find_samples(folder: Path, form: str = AUTO) -> Samples:
    """Finds the pictures to check on, with labels if they have any.

    Raises:
        FolderError: If it is not a folder, or holds no pictures.
        LabelError: If a form of labels was named that it doesn't have.
    """
    try:
        found = read_labels(folder, form)
    except LabelError as error:
        if form != AUTO:
            raise
        note = f"pictures: without labels ({error})"
        return Samples(spread(pictures_of(folder), MOST), None, note)
    items = spread(found.items, MOST)
    note = found.description
    if len(items) < len(found.items):
        note += f", of which {len(items)} are taken"
    return Samples([path for path, _ in items], [label for _, label in items], note)


def prepare_samples(
    samples: Samples, manifest: Manifest
) -> tuple[Samples, NDArray[np.float32], list[str]]:
    """Prepares the pictures; a few that can't be decoded or prepared are left out, with a line.

    Raises:
        ImageDecodeError: If many can't be decoded.
        RecipeError: If the recipe can't use many.
    """
    kept: list[int] = []
    tensors: list[NDArray[np.float32]] = []
    failed: list[tuple[Path, CaptchaRTError]] = []
    for index, path in enumerate(samples.paths):
        try:
            tensors.append(manifest.prepare(decode_image(path, merge=manifest.recipe.merge)))
        except (ImageDecodeError, RecipeError) as error:
            failed.append((path, error))
        else:
            kept.append(index)
    if not failed:
        return samples, np.stack(tensors), []
    path, reason = failed[0]
    if len(failed) > _MAY_FAIL * len(samples.paths):
        raise type(reason)(f"{len(failed)} of {len(samples.paths)} pictures fail; {path}: {reason}")
    labels = samples.labels
    left = replace(
        samples,
        paths=[samples.paths[index] for index in kept],
        labels=None if labels is None else [labels[index] for index in kept],
    )
    note = f"pictures: {len(failed)} are left out, {path.name} first: {reason}"
    return left, np.stack(tensors), [note]


def limited(samples: Samples, numbers: int) -> Samples:
    """Fewer pictures, where the network answers many numbers to each: all are kept in memory.

    Args:
        samples: The pictures.
        numbers: The numbers that the network answers to a picture.
    """
    most = max(_LEAST, _NUMBERS // numbers)
    if len(samples.paths) <= most:
        return samples
    labels = None if samples.labels is None else spread(samples.labels, most)
    note = f"{samples.note}; {most} are taken, since the network answers {numbers:,} numbers each"
    return Samples(spread(samples.paths, most), labels, note)
