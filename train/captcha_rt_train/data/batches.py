"""Batches of samples; the pictures are changed a little, in another way in each epoch."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import RecipeError
from captcha_rt.manifest import Manifest
from captcha_rt.recipe import Recipe
from captcha_rt_train.data.augmentation import Augmentation, augment
from captcha_rt_train.data.samples import Sample
from captcha_rt_train.data.splicing import Place, columns, splice
from captcha_rt_train.data.targets import TARGETS, encode_labels

_PASTED: Final = 0.8
"""The fraction of the changed pictures that get another picture's columns outside of the window."""


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of float32 inputs and int32 label ids, as a network is trained on them.

    Inputs are `(N, ...)`, and labels are `(N, L)`, padded with the blank. For the decoder `glyph`,
    each glyph is a row, and labels are `(N,)`.

    A batch depends only on its index and the epoch. So worker threads may make the batches in any
    order, and a resumed run sees the same pictures as an uninterrupted run.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        manifest: Manifest,
        *,
        batch_size: int,
        outputs: int = 1,
        augmentation: Augmentation | None = None,
        repeat: int = 1,
        counts: Mapping[str, int | None] | None = None,
        seed: int | None = None,
        epoch: int = 0,
    ) -> None:
        """Prepares batches.

        Args:
            samples: The samples, at least one.
            manifest: The model's description: its recipe, charset, decoder and shapes are used.
            batch_size: The number of pictures in a batch; the last batch may have fewer.
            outputs: The number of the network's outputs; all learn the same labels.
            augmentation: How the pictures are changed, which needs a seed; None leaves the pictures
                as they are.
            repeat: How often an epoch uses each picture.
            counts: The number of pictures that an epoch uses, by the source's name. For None, and
                for a source that is missing here, `repeat` counts.
            seed: The seed of the shuffling, which is another in each epoch, and of the changes;
                None keeps the samples in order.
            epoch: The number of the first epoch, from 0.
        """
        # Threads: OpenCV and NumPy release the GIL, and a process pool would copy the pictures.
        super().__init__(workers=os.cpu_count() or 1)
        self._samples = samples
        self._manifest = manifest
        self._loss_labels = TARGETS[manifest.decoder].loss_labels
        self._batch_size = batch_size
        self._outputs = outputs
        self._augmentation = augmentation or Augmentation()
        self._later_steps = Recipe(manifest.recipe.steps[self._augmentation.after_steps :])
        self._places: list[Place] = []
        self._kept = np.arange(len(samples))
        self._pictures = self._prepare_pictures()
        self._counts = _count_by_source(samples, repeat, counts or {})
        self._seed = seed
        self._epoch = epoch
        self._labels = encode_labels(samples, manifest)
        self._order = self._shuffle()

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """The batch at `index`: inputs, labels for each output, and with a warm-up the weights."""
        start = index * self._batch_size
        chosen = self._order[start : start + self._batch_size]
        examples = [self._example(i, place) for place, i in enumerate(chosen, start)]
        inputs = self._manifest.batch(np.stack([tensor for tensor, _ in examples]))
        labels = self._loss_labels(np.stack([ids for _, ids in examples]))
        if self._outputs == 1:
            return inputs, labels
        if not self._augmentation.warm_up:
            return inputs, (labels,) * self._outputs
        first = np.full(len(labels), self._augmentation.warm_up_factor(self._epoch), np.float32)
        others = (np.ones(labels.shape, np.float32),) * (self._outputs - 1)
        return inputs, (labels,) * self._outputs, (first, *others)

    def on_epoch_end(self) -> None:
        """Shuffles for the next epoch; Keras calls this method when no batch is being made."""
        self._epoch += 1
        self._order = self._shuffle()

    def _prepare_pictures(self) -> list[NDArray[Any]]:
        """The pictures to change: the originals, or the results of the recipe's first steps."""
        pictures = [sample.picture for sample in self._samples]
        after = self._augmentation.after_steps
        if not (self._augmentation.strength and after):
            return pictures
        first_steps = Recipe(self._manifest.recipe.steps[:after])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            traces = pool.map(lambda picture: [*first_steps.trace(picture)], pictures)
            return [trace[-1][1] for trace in traces]

    def locate(self, places: Sequence[Place]) -> None:
        """Takes note of where the characters stand, so that pictures can be spliced.

        Args:
            places: For each sample the middles of its characters, as fractions of the time steps.
        """
        self._places = [
            columns(found, picture.shape, self._later_steps)
            for found, picture in zip(places, self._pictures, strict=True)
        ]

    def leave_out(self, indices: NDArray[np.intp]) -> None:
        """Leaves samples out of the epoch, before it begins; the others are used more often.

        Args:
            indices: Which samples. A source of which none would be left keeps all.
        """
        self._kept = np.setdiff1d(np.arange(len(self._samples)), indices)
        self._order = self._shuffle()

    def _example(self, index: int, place: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """The tensor of a sample, changed as its place in the epoch says, and its label ids."""
        sample, labels = self._samples[index], self._labels[index]
        strength = self._augmentation.strength * self._augmentation.warm_up_factor(self._epoch)
        if not strength:
            return sample.tensor, labels
        assert self._seed is not None  # noqa: S101  (augmentation needs a seed)
        rng = np.random.default_rng([self._seed, self._epoch, place])
        try:
            picture, labels = self._splice(index, self._paste(index, rng), rng)
            changed = augment(picture, rng, replace(self._augmentation, strength=strength))
            return self._later_steps.apply(changed), labels
        except RecipeError:  # the picture was changed too much to be cut into glyphs
            return sample.tensor, self._labels[index]

    def _splice(
        self, index: int, picture: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """The picture, or a part of it with a part of another; and the label ids."""
        labels = self._labels[index]
        if not self._places or rng.random() >= self._augmentation.spliced:
            return picture, labels
        other = int(self._kept[rng.integers(len(self._kept))])
        found = splice(
            picture, self._pictures[other], (self._places[index], self._places[other]), rng
        )
        if found is None:
            return picture, labels
        spliced, kept, dropped = found
        rest = self._labels[other][dropped : len(self._samples[other].label)]
        length = kept + len(rest)
        if length > len(labels):  # longer than the longest text: there may be no time steps for it
            return picture, labels
        blank = self._manifest.charset.blank or 0
        ids = np.concatenate([labels[:kept], rest, np.full(len(labels) - length, blank)])
        return spliced, ids.astype(np.int32)

    def _paste(self, index: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The picture, in most cases with another picture's columns outside of the window."""
        picture = self._pictures[index]
        if self._augmentation.window is None or rng.random() >= _PASTED:
            return picture
        other = self._pictures[rng.integers(len(self._pictures))]
        if other.shape != picture.shape:
            return picture
        width = picture.shape[1]
        left, right = (round(min(max(x, 0), 1) * width) for x in self._augmentation.window)
        pasted = other.copy()
        pasted[:, left:right] = picture[:, left:right]
        return pasted

    def _shuffle(self) -> NDArray[np.intp]:
        """The indices of an epoch's samples, in the order in which the batches use them."""
        if self._seed is None:
            return np.arange(len(self._samples))
        rng = np.random.default_rng([self._seed, self._epoch])
        shuffled = []
        for indices, count in self._counts:
            kept = np.intersect1d(indices, self._kept)
            kept = kept if len(kept) else indices
            orders = [rng.permutation(kept) for _ in range(-(-count // len(kept)))]
            shuffled.append(np.concatenate(orders))
        chosen = [order[:count] for order, (_, count) in zip(shuffled, self._counts, strict=True)]
        return rng.permutation(np.concatenate(chosen)) if len(chosen) > 1 else chosen[0]


def _count_by_source(
    samples: Sequence[Sample], repeat: int, counts: Mapping[str, int | None]
) -> list[tuple[NDArray[np.intp], int]]:
    """For each source the indices of its samples, and the number of samples that an epoch uses."""
    sources = np.array([sample.source for sample in samples])
    found = []
    for source in dict.fromkeys(sample.source for sample in samples):
        indices = np.flatnonzero(sources == source)
        count = counts.get(source)
        found.append((indices, repeat * len(indices) if count is None else count))
    return found
