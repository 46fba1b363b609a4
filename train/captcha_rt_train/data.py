"""From labelled pictures to batches."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.errors import ImageDecodeError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.labels import read_labels
from captcha_rt.manifest import Decoder, Manifest
from captcha_rt.pictures import name_below
from captcha_rt.progress import Watch
from captcha_rt.recipe import Recipe
from captcha_rt_train.augment import augment
from captcha_rt_train.errors import TrainingError

_MIXED = 0.8  # the share of the pictures that stand in another, where the label is of a part


@dataclass(frozen=True, slots=True)
class Item:
    """A usable picture.

    Attributes:
        path: Its file; None if it was drawn.
        name: The file from the data set's folder on; of a mix, after the source's name.
        label: Its text.
        picture: Its pixels, `(H, W, C)` uint8.
        tensor: What the recipe makes of them, float32.
        source: Which of a mix's sources it is from.
    """

    path: Path | None
    name: str
    label: str
    picture: NDArray[np.uint8]
    tensor: NDArray[np.float32]
    source: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """What is done with one source of a mix.

    Attributes:
        validation: The share of its pictures that validate, in 0..1; None for the run's.
        test: The share that is kept aside, in 0..1; None for the run's.
        epoch: How many of those that train an epoch has; None for each as often as the run says.
    """

    validation: float | None = None
    test: float | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder's or a mix's usable pictures, and what was left out.

    Attributes:
        items: The usable pictures, by file name.
        tensor_shape: The shape that the recipe makes of each.
        charset: The characters of their labels, with the blank first, if there is one.
        left_out: File names with the reason.
        form: In which form the labels were found, as `--labels` names it.
        labels: The same in words.
        shares: Of a mix, what is done with each source.
    """

    items: tuple[Item, ...]
    tensor_shape: tuple[int, ...]
    charset: Charset
    left_out: tuple[tuple[str, str], ...]
    form: str
    labels: str
    shares: Mapping[str, Share] = field(default_factory=lambda: {"": Share()})


def read_dataset(
    folder: Path,
    recipe: Recipe,
    *,
    labels: str = "auto",
    characters: str | None = None,
    blank: bool = True,
    corrections: Mapping[str, str] | None = None,
    watch: Watch = lambda items, _: items,
) -> Dataset:
    """Reads all labelled pictures of a folder, and lists those that can't be used.

    Left out with the reason are pictures that can't be decoded or don't fit the recipe, that
    give another input shape than most, whose label is empty or holds a character that
    `characters` lacks.

    Args:
        folder: A folder of pictures, with their labels in any form that `read_labels` knows.
        recipe: The preprocessing that every picture must fit.
        labels: The form of the labels.
        characters: The charset's characters in order; by default all that the labels hold, sorted.
        blank: Whether the charset has a blank.
        corrections: What wrongly labelled pictures show, by file name.
        watch: Wraps the walk over the pictures, to show its progress; gets their number.

    Raises:
        FolderError: If the folder is none, or holds no picture files.
        LabelError: If the labels have another form, or could be read in several.
        CharsetError: If `characters` is no charset.
    """
    found = read_labels(folder, labels)
    shown = corrections or {}
    labelled = [(path, shown.get(path.name, label)) for path, label in found.items]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reads = pool.map(
            lambda item: _read(item[0], name_below(item[0], folder), item[1], recipe, characters),
            labelled,
        )
        results = list(zip(labelled, watch(reads, len(labelled)), strict=True))

    shapes = Counter(read.tensor.shape for _, read in results if isinstance(read, Item))
    tensor_shape = shapes.most_common(1)[0][0] if shapes else ()
    items: list[Item] = []
    left_out = list(found.problems)
    for (path, _), read in results:
        if isinstance(read, str):
            left_out.append((name_below(path, folder), read))
        elif read.tensor.shape != tensor_shape:
            reason = f"gives the shape {read.tensor.shape}, most give {tensor_shape}"
            left_out.append((read.name, reason))
        else:
            items.append(read)
    charset = Charset(characters or characters_of(items), blank=0 if blank else None)
    return Dataset(
        tuple(items), tensor_shape, charset, tuple(left_out), found.form, found.description
    )


def text_length(dataset: Dataset, decoder: Decoder) -> int:
    """How many characters a network for these pictures reads.

    With a blank, or along CTC's time steps, that is the longest label; without it the most
    frequent length, the longer one of equals; of glyphs as many as the recipe cuts.
    """
    if decoder == "glyph":
        return dataset.tensor_shape[0]
    lengths = Counter(len(item.label) for item in dataset.items)
    if dataset.charset.blank is not None:
        return max(lengths)
    return max(lengths, key=lambda length: (lengths[length], length))


def drop_misfits(dataset: Dataset, decoder: Decoder, places: int) -> Dataset:
    """Leaves out labels that a network's places have no room for.

    CTC needs a time step for each character, and one for a blank between equal neighbours. Other
    networks need a place for each character, and without a blank a character for each place.

    Args:
        dataset: The data set.
        decoder: How the network's scores are read.
        places: The number of its time steps, heads or glyphs.
    """

    def misfit(label: str) -> str | None:
        if decoder == "ctc":
            needed = len(label) + sum(a == b for a, b in pairwise(label))
            if needed > places:
                return f"needs {needed} time steps, the network has {places}"
        elif len(label) > places or (len(label) < places and dataset.charset.blank is None):
            return f"{len(label)} characters, the network reads {places}"
        return None

    reasons = [misfit(item.label) for item in dataset.items]
    both = list(zip(dataset.items, reasons, strict=True))
    left_out = tuple((item.name, reason) for item, reason in both if reason)
    items = tuple(item for item, reason in both if not reason)
    charset = dataset.charset
    if charset.characters == characters_of(dataset.items):  # not given, but those of the labels
        charset = Charset(characters_of(items), charset.blank)
    return replace(dataset, items=items, charset=charset, left_out=dataset.left_out + left_out)


def split(dataset: Dataset, *, validation: float, test: float, seed: int) -> dict[str, list[Item]]:
    """Splits by picture: a seeded shuffle of the pictures by name, then test, validation, rest.

    Args:
        dataset: The pictures, sorted by name; each source is split for itself.
        validation: The share that validates, in 0..1; at least one picture unless 0.
        test: The share that is kept aside until the end, in 0..1; at least one unless 0.
        seed: The same seed gives the same split.

    Returns:
        The parts `training`, `validation` and `test`, each sorted by name.

    Raises:
        TrainingError: If nothing is left to train on, or to validate.
    """
    parts: dict[str, list[Item]] = {"test": [], "validation": [], "training": []}
    for source, share in dataset.shares.items():
        items = [item for item in dataset.items if item.source == source]
        order = np.random.default_rng(seed).permutation(len(items))
        tests = _count(test if share.test is None else share.test, items)
        validations = _count(validation if share.validation is None else share.validation, items)
        if len(items) <= tests + validations:
            raise TrainingError(
                f"{len(items)} pictures can't be split into training, {validations} for validation "
                f"and {tests} for test"
            )
        cut = np.split(order, [tests, tests + validations])
        for part, indices in zip(parts.values(), cut, strict=True):
            part += [items[i] for i in sorted(indices)]
    if not parts["validation"]:
        raise TrainingError("no picture is left for validation")
    return parts


def _count(share: float, items: Sequence[Item]) -> int:
    return max(1, round(share * len(items))) if share else 0


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of float32 inputs and int32 label ids, as the network takes and learns them.

    Inputs are `(N, ...)` and labels `(N, L)`, padded with the blank; of glyphs each is a row of
    its own, with labels `(N,)`.

    Each item depends on its index and the epoch only, so that worker threads may make it in any
    order, and a resumed run sees the pictures in the order of an unbroken one.
    """

    def __init__(
        self,
        items: Sequence[Item],
        manifest: Manifest,
        *,
        batch_size: int,
        outputs: int = 1,
        augmentation: float = 0.0,
        curves: float = 0.0,
        noise: float = 0.0,
        augment_after: int = 0,
        warm_up: int = 0,
        window: tuple[float, float] | None = None,
        repeat: int = 1,
        counts: Mapping[str, int | None] | None = None,
        seed: int | None = None,
        epoch: int = 0,
    ) -> None:
        """Prepares batches.

        Args:
            items: The pictures.
            manifest: What they are made for: recipe, charset and input.
            batch_size: Pictures a batch; the last may have fewer.
            outputs: So many outputs of the network learn the same labels.
            augmentation: The strength of the changes to the pictures, in 0..1; needs a seed.
            curves: The share of the changed pictures that get one more noise curve, in 0..1.
            noise: The share of them that get noise and another contrast, in 0..1.
            augment_after: They are changed after so many steps of the recipe.
            warm_up: Epochs over which the changes' strength grows from nothing. Where there are
                several outputs, so does the weight of the first one's loss.
            window: The columns that the labels depend on, from and to as shares of the width. Most
                of the changed pictures have another picture's columns elsewhere, so that a network
                can't know a picture, and its label with it, by what stands elsewhere.
            repeat: So often each picture comes in an epoch.
            counts: Of sources, how many of their pictures come instead.
            seed: Shuffles anew for every epoch; None keeps the order.
            epoch: The epoch that comes first.
        """
        # Threads: OpenCV and NumPy release the GIL, and a process pool would copy the pictures.
        super().__init__(workers=os.cpu_count() or 1)
        self._items = items
        self._manifest = manifest
        self._batch_size = batch_size
        self._outputs = outputs
        self._augmentation = augmentation
        self._curves = curves
        self._noise = noise
        self._warm_up = warm_up
        self._window = window
        steps = manifest.recipe.steps
        self._rest = Recipe(steps[augment_after:])
        self._changeable = [item.picture for item in items]
        if augmentation and augment_after:
            start = Recipe(steps[:augment_after])
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                results = pool.map(lambda picture: [*start.trace(picture)], self._changeable)
                self._changeable = [trace[-1][1] for trace in results]
        self._drawn: list[tuple[NDArray[np.intp], int]] = []
        sources = np.array([item.source for item in items])
        for source in dict.fromkeys(item.source for item in items):
            indices = np.flatnonzero(sources == source)
            count = (counts or {}).get(source)
            self._drawn.append((indices, repeat * len(indices) if count is None else count))
        self._seed = seed
        self._epoch = epoch
        self._labels = encode_labels(items, manifest)
        self._order = self._shuffle()

    def __len__(self) -> int:
        """The number of batches."""
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """The batch at `index`: the inputs, the labels or as many of them as outputs, weights."""
        start = index * self._batch_size
        chosen = self._order[start : start + self._batch_size]
        tensors = [self._tensor(i, place) for place, i in enumerate(chosen, start)]
        inputs = self._manifest.batch(np.stack(tensors))
        labels = self._labels[chosen]
        if self._manifest.decoder == "glyph":
            labels = labels.ravel()
        if self._outputs == 1:
            return inputs, labels
        if not self._warm_up:
            return inputs, (labels,) * self._outputs
        first = np.full(len(labels), self._warmth(), np.float32)
        others = (np.ones(labels.shape, np.float32),) * (self._outputs - 1)
        return inputs, (labels,) * self._outputs, (first, *others)

    def on_epoch_end(self) -> None:
        """Shuffles for the next epoch; Keras calls it when no batch is under way."""
        self._epoch += 1
        self._order = self._shuffle()

    def _tensor(self, index: int, place: int) -> NDArray[np.float32]:
        item = self._items[index]
        strength = self._augmentation * self._warmth()
        if not strength:
            return item.tensor
        assert self._seed is not None  # noqa: S101  (the constructor says so)
        rng = np.random.default_rng([self._seed, self._epoch, place])
        try:
            picture = self._in_another(index, rng)
            changed = augment(picture, rng, strength, self._curves, self._noise)
            return self._rest.apply(changed)
        except RecipeError:  # changed too much to be segmented
            return item.tensor

    def _in_another(self, index: int, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The picture, most often with another one's columns outside of the window."""
        picture = self._changeable[index]
        if self._window is None or rng.random() >= _MIXED:
            return picture
        other = self._changeable[rng.integers(len(self._changeable))]
        if other.shape != picture.shape:
            return picture
        width = picture.shape[1]
        first, last = (round(min(max(share, 0), 1) * width) for share in self._window)
        mixed = other.copy()
        mixed[:, first:last] = picture[:, first:last]
        return mixed

    def _warmth(self) -> float:
        """How much of the warm-up is over, in 0..1."""
        return min(self._epoch / self._warm_up, 1.0) if self._warm_up else 1.0

    def _shuffle(self) -> NDArray[np.intp]:
        if self._seed is None:
            return np.arange(len(self._items))
        rng = np.random.default_rng([self._seed, self._epoch])
        drawn = [
            np.concatenate([rng.permutation(indices) for _ in range(-(-count // len(indices)))])
            for indices, count in self._drawn
        ]
        chosen = [order[:count] for order, (_, count) in zip(drawn, self._drawn, strict=True)]
        return rng.permutation(np.concatenate(chosen)) if len(chosen) > 1 else chosen[0]


def encode_labels(items: Sequence[Item], manifest: Manifest) -> NDArray[np.int32]:
    """The labels as class ids, `(N, L)` int32, the shorter ones padded with the blank.

    L is the number of places, as the network's scores have; for CTC the longest label's length.
    """
    places = manifest.output.shape[1] if manifest.decoder == "position" else None
    length = places or max(len(item.label) for item in items)
    labels = np.full((len(items), length), manifest.charset.blank or 0, "i4")
    for row, item in zip(labels, items, strict=True):
        row[: len(item.label)] = manifest.charset.encode(item.label)
    return labels


def characters_of(items: Sequence[Item]) -> str:
    """All characters of the labels, sorted; without labels there is nothing to read."""
    return "".join(sorted({c for item in items for c in item.label})) or "?"


def _read(path: Path, name: str, label: str, recipe: Recipe, characters: str | None) -> Item | str:
    """The picture with its tensor, or why it can't be used."""
    unknown = sorted(set(label) - set(characters or label))
    if unknown:
        return f"characters outside of the charset: {''.join(unknown)}"
    try:
        picture = decode_image(path)
        return Item(path, name, label, picture, recipe.apply(picture))
    except (ImageDecodeError, RecipeError) as error:
        return str(error)
