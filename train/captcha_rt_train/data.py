"""From a folder of labelled pictures to batches."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.errors import ImageDecodeError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.pictures import find_pictures, label_of
from captcha_rt.recipe import Recipe
from captcha_rt_train.errors import TrainingError

Watch = Callable[[Iterator[Any], int], Iterator[Any]]


@dataclass(frozen=True, slots=True)
class Item:
    """A usable picture.

    Attributes:
        path: Its file.
        label: Its text.
        picture: Its pixels, `(H, W, C)` uint8.
    """

    path: Path
    label: str
    picture: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder's usable pictures, and what was left out.

    Attributes:
        items: The usable pictures, by file name.
        input_shape: The shape that the recipe makes of each.
        charset: The characters of their labels, with the blank first.
        left_out: File names with the reason.
    """

    items: tuple[Item, ...]
    input_shape: tuple[int, ...]
    charset: Charset
    left_out: tuple[tuple[str, str], ...]


def read_dataset(
    folder: Path,
    recipe: Recipe,
    *,
    characters: str | None = None,
    watch: Watch = lambda items, _: items,
) -> Dataset:
    """Reads all labelled pictures of a folder, and lists those that can't be used.

    Left out with the reason are pictures that can't be decoded or don't fit the recipe, that
    give another input shape than most, whose label is empty or holds a character that
    `characters` lacks.

    Args:
        folder: A folder; its sub-folders are not entered.
        recipe: The preprocessing that every picture must fit.
        characters: The charset's characters in order; by default all that the labels hold, sorted.
        watch: Wraps the walk over the pictures, to show its progress; gets their number.

    Raises:
        FolderError: If the folder is none, or holds no picture files.
        CharsetError: If `characters` is no charset.
    """
    paths = find_pictures(folder)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reads = pool.map(lambda path: _read(path, recipe, characters), paths)
        results = list(zip(paths, watch(reads, len(paths)), strict=True))

    shapes = Counter(read[1] for _, read in results if not isinstance(read, str))
    input_shape = shapes.most_common(1)[0][0] if shapes else ()
    items: list[Item] = []
    left_out: list[tuple[str, str]] = []
    for path, read in results:
        if isinstance(read, str):
            left_out.append((path.name, read))
        elif read[1] != input_shape:
            left_out.append((path.name, f"gives the shape {read[1]}, most give {input_shape}"))
        else:
            items.append(Item(path, label_of(path), read[0]))
    characters = characters or "".join(sorted({c for item in items for c in item.label}))
    charset = Charset(characters or "?", blank=0)  # without pictures there is nothing to read
    return Dataset(tuple(items), input_shape, charset, tuple(left_out))


def drop_too_long(dataset: Dataset, time_steps: int) -> Dataset:
    """Leaves out labels that CTC can't align to so few time steps.

    It needs one for each character, and one for a blank between equal neighbours.
    """

    def needs(label: str) -> int:
        return len(label) + sum(a == b for a, b in pairwise(label))

    items = tuple(item for item in dataset.items if needs(item.label) <= time_steps)
    left_out = tuple(
        (item.path.name, f"needs {needs(item.label)} time steps, the network has {time_steps}")
        for item in dataset.items
        if needs(item.label) > time_steps
    )
    return replace(dataset, items=items, left_out=dataset.left_out + left_out)


def split(
    items: Sequence[Item], *, validation: float, test: float, seed: int
) -> dict[str, list[Item]]:
    """Splits by picture: a seeded shuffle of the pictures by name, then test, validation, rest.

    Args:
        items: The pictures, sorted by name.
        validation: The share that validates, in 0..1; at least one picture.
        test: The share that is kept aside until the end, in 0..1; at least one unless 0.
        seed: The same seed gives the same split.

    Returns:
        The parts `training`, `validation` and `test`, each sorted by name.

    Raises:
        TrainingError: If nothing is left to train on.
    """
    order = np.random.default_rng(seed).permutation(len(items))
    tests = max(1, round(test * len(items))) if test else 0
    validations = max(1, round(validation * len(items)))
    if len(items) <= tests + validations:
        raise TrainingError(
            f"{len(items)} pictures can't be split into training, {validations} for validation "
            f"and {tests} for test"
        )
    parts = np.split(order, [tests, tests + validations])
    names = ("test", "validation", "training")
    return {name: [items[i] for i in sorted(p)] for name, p in zip(names, parts, strict=True)}


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of `(N, ...)` float32 inputs and `(N, L)` int32 label ids, padded with the blank.

    Each item depends on its index and the epoch only, so that worker threads may make it in any
    order, and a resumed run sees the pictures in the order of an unbroken one.
    """

    def __init__(
        self,
        items: Sequence[Item],
        recipe: Recipe,
        charset: Charset,
        *,
        batch_size: int,
        seed: int | None = None,
        epoch: int = 0,
    ) -> None:
        """Prepares batches.

        Args:
            items: The pictures.
            recipe: Their preprocessing.
            charset: The labels' characters; its blank pads.
            batch_size: Pictures a batch; the last may have fewer.
            seed: Shuffles anew for every epoch; None keeps the order.
            epoch: The epoch that comes first.
        """
        # Threads: OpenCV and NumPy release the GIL, and a process pool would copy the pictures.
        super().__init__(workers=os.cpu_count() or 1)
        self._items = items
        self._recipe = recipe
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = epoch
        self._labels = np.full((len(items), max(len(i.label) for i in items)), charset.blank, "i4")
        for row, item in zip(self._labels, items, strict=True):
            row[: len(item.label)] = charset.encode(item.label)
        self._order = self._shuffle()

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self._items) // self._batch_size)

    def __getitem__(
        self, index: int
    ) -> tuple[NDArray[np.float32], tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """The batch at `index`; the labels twice, for the logits and those of the features."""
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        inputs = np.stack([self._recipe.apply(self._items[i].picture) for i in chosen])
        labels = self._labels[chosen]
        return inputs, (labels, labels)

    def on_epoch_end(self) -> None:
        """Shuffles for the next epoch; Keras calls it when no batch is under way."""
        self._epoch += 1
        self._order = self._shuffle()

    def _shuffle(self) -> NDArray[np.intp]:
        if self._seed is None:
            return np.arange(len(self._items))
        return np.random.default_rng([self._seed, self._epoch]).permutation(len(self._items))


def _read(
    path: Path, recipe: Recipe, characters: str | None
) -> tuple[NDArray[np.uint8], tuple[int, ...]] | str:
    """The picture and its input shape, or why it can't be used."""
    label = label_of(path)
    if not label:
        return "empty label"
    unknown = sorted(set(label) - set(characters or label))
    if unknown:
        return f"characters outside of the charset: {''.join(unknown)}"
    try:
        picture = decode_image(path)
        return picture, recipe.apply(picture).shape
    except (ImageDecodeError, RecipeError) as error:
        return str(error)
