"""Labelled pictures that are mixed into the drawn ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from captcha_rt.manifest import Manifest
from captcha_rt_train.data.augmentation import Augmentation, augment
from captcha_rt_train.data.samples import split
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.generators.mixture.batch import LENGTH, DrawnBatch
from captcha_rt_train.presets import Settings

SHARE: Final = 16
"""One picture in so many is a real one."""


def real_in(size: int) -> int:
    """How many of the pictures of a batch are real ones: one in `SHARE`, and at least one."""
    return -(-size // SHARE)


@dataclass(frozen=True, slots=True)
class RealPictures:
    """The training parts of labelled pictures, each source drawn from equally often.

    Attributes:
        sources: For each source its pictures, `(N, H, W, 3)` uint8, as in a `DrawnBatch`, and their
            labels, `(N, LENGTH)` int32.
        augmentation: How they are changed, anew each time.
        skipped: The names of the pictures that can't be used, each with the reason.
    """

    sources: tuple[tuple[NDArray[np.uint8], NDArray[np.int32]], ...]
    augmentation: Augmentation
    skipped: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        """The number of pictures."""
        return sum(len(labels) for _, labels in self.sources)

    def choose(self, seed: Sequence[int], size: int) -> DrawnBatch:
        """Chooses pictures and changes them; the same for the same seed.

        Args:
            seed: Whole numbers of at least 0, which choose everything.
            size: The number of pictures, at least 1.

        Returns:
            The pictures; where their characters stand is not known, so that all columns are -1.
        """
        rng = np.random.default_rng(seed)
        chosen = [self.sources[rng.integers(len(self.sources))] for _ in range(size)]
        places = [int(rng.integers(len(labels))) for _, labels in chosen]
        changed = [
            augment(pictures[place], rng, self.augmentation)
            for (pictures, _), place in zip(chosen, places, strict=True)
        ]
        labels = [labels[place] for (_, labels), place in zip(chosen, places, strict=True)]
        columns = np.full((size, LENGTH), -1, np.float32)
        return DrawnBatch(np.stack(changed), np.stack(labels), columns)


def read_real(path: Path, manifest: Manifest, settings: Settings) -> RealPictures:
    """Reads labelled pictures; those for validation and test are left out.

    Args:
        path: A folder of labelled pictures, or a TOML file of sources.
        manifest: Recipe and charset, as `draw_batch` takes them.
        settings: Of the training: how pictures are split and changed.

    Raises:
        TrainingError: If no picture is left to train on, or a text is longer than the drawn ones.
        FolderError, LabelError: As in `read_dataset`.
    """
    dataset = read_dataset(path, manifest.recipe, characters=manifest.charset.characters)
    parts = split(dataset, validation=settings.validation, test=settings.test, seed=settings.seed)
    sources = []
    for source in dataset.settings:
        samples = [sample for sample in parts["training"] if sample.source == source]
        if not samples:  # all of the source's pictures validate
            continue
        labels = np.full((len(samples), LENGTH), manifest.charset.blank, np.int32)
        for row, sample in zip(labels, samples, strict=True):
            if len(sample.label) > LENGTH:
                raise TrainingError(
                    f"{sample.name}: {sample.label!r} has more than {LENGTH} characters"
                )
            row[: len(sample.label)] = manifest.charset.encode(sample.label)
        # The recipe ends with a scaling to 0..1, which bytes survive.
        pictures = np.stack([np.rint(sample.tensor * 255).astype(np.uint8) for sample in samples])
        sources.append((pictures, labels))
    changes = Augmentation(strength=settings.augmentation, noise=settings.noise)
    return RealPictures(tuple(sources), changes, dataset.skipped)
