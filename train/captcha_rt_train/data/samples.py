"""Samples: labelled pictures that a network can be trained on."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.errors import ImageDecodeError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.pictures import name_below
from captcha_rt.progress import Watch, unwatched
from captcha_rt.recipe import Recipe
from captcha_rt_train.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled picture, and the tensor that the recipe returns for the picture.

    Attributes:
        path: The picture's file; None if a generator drew the picture.
        name: The file's path below its folder; with several sources `SOURCE/PATH`.
        label: The picture's text.
        picture: The pixels, `(H, W, C)` uint8 with C = 1, 3 (RGB) or 4 (RGBA).
        tensor: The recipe's result, `Dataset.tensor_shape` float32.
        source: The name of the sample's source in a TOML file; empty for a folder by itself.
    """

    path: Path | None
    name: str
    label: str
    picture: NDArray[np.uint8]
    tensor: NDArray[np.float32]
    source: str = ""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """How the samples of one source are split and repeated.

    Attributes:
        validation: The fraction of the samples for validation, in 0..1; None takes the run's. With
            1 none is left for training.
        test: The fraction of the samples for the test, in 0..1; None takes the run's.
        epoch: The number of training samples that an epoch uses; None uses each sample as often as
            the run's setting `repeat` says.
    """

    validation: float | None = None
    test: float | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """The usable samples of a folder or of several sources.

    Attributes:
        samples: The usable samples, sorted by name within their source.
        tensor_shape: The shape of each sample's tensor; `()` without samples.
        charset: The characters of the labels; the blank comes first, if there is one.
        skipped: The names of the pictures that can't be used, each with the reason.
        form: The form of the labels, as `--labels` takes it; `sources` for several sources.
        labels: The form of the labels in words.
        settings: How each source's samples are split and repeated, by the source's name.
        notes: What was noticed about files and labels, a line each.
    """

    samples: tuple[Sample, ...]
    tensor_shape: tuple[int, ...]
    charset: Charset
    skipped: tuple[tuple[str, str], ...]
    form: str
    labels: str
    settings: Mapping[str, SourceSettings] = field(default_factory=lambda: {"": SourceSettings()})
    notes: tuple[str, ...] = ()


def read_samples(
    labelled: Sequence[tuple[Path, str]],
    folder: Path,
    recipe: Recipe,
    *,
    characters: str | None = None,
    watch: Watch = unwatched,
) -> tuple[list[Sample], list[tuple[str, str]]]:
    """Reads labelled pictures on all cores.

    Args:
        labelled: Picture files with their labels.
        folder: The folder; samples are named by their paths below it.
        recipe: The preprocessing.
        characters: The characters that a label may hold; None allows all.
        watch: Shows the progress while the pictures are read.

    Returns:
        The samples, and the names of the pictures that can't be used, each with the reason: the
        picture can't be decoded, the recipe can't use the picture, or the label holds a character
        that is not allowed.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reads = pool.map(
            lambda row: _read(row[0], name_below(row[0], folder), row[1], recipe, characters),
            labelled,
        )
        results = list(watch(reads, len(labelled)))
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    for (path, _), result in zip(labelled, results, strict=True):
        if isinstance(result, str):
            skipped.append((name_below(path, folder), result))
        else:
            samples.append(result)
    return samples, skipped


def split(
    dataset: Dataset, *, validation: float, test: float, seed: int
) -> dict[str, list[Sample]]:
    """Splits a data set into training, validation and test.

    Each source is split by itself: its samples are shuffled, then cut.

    Args:
        dataset: The data set, its samples sorted by name within their source.
        validation: The fraction of the samples for validation, in 0..1, unless a source has its
            own; at least one sample of each source unless 0.
        test: The fraction for the test in the same way; test samples are read only at the end.
        seed: The seed of the shuffling.

    Returns:
        The samples of the parts `test`, `validation` and `training`, sorted by name within their
        source.

    Raises:
        TrainingError: If nothing is left for training or for validation.
    """
    parts: dict[str, list[Sample]] = {"test": [], "validation": [], "training": []}
    for source, settings in dataset.settings.items():
        samples = [sample for sample in dataset.samples if sample.source == source]
        order = np.random.default_rng(seed).permutation(len(samples))
        tests = _count(test if settings.test is None else settings.test, samples)
        validations = _count(
            validation if settings.validation is None else settings.validation, samples
        )
        left = len(samples) - tests - validations
        if left < 0 or (left == 0 and settings.validation != 1):
            raise TrainingError(
                f"{len(samples)} pictures can't be split into training, {validations} for "
                f"validation and {tests} for test"
            )
        cut = np.split(order, [tests, tests + validations])
        for part, indices in zip(parts.values(), cut, strict=True):
            part += [samples[i] for i in sorted(indices)]
    for name in ("validation", "training"):
        if not parts[name]:
            raise TrainingError(f"no picture is left for {name}")
    return parts


def skip_samples(dataset: Dataset, reasons: Sequence[str | None]) -> Dataset:
    """Skips samples of a data set.

    Args:
        dataset: The data set.
        reasons: For each sample why it is skipped; None if it stays.

    Returns:
        The data set without the samples that have a reason. Its charset lacks the characters that
        only they had, unless the charset was given.
    """
    pairs = list(zip(dataset.samples, reasons, strict=True))
    skipped = tuple((sample.name, reason) for sample, reason in pairs if reason)
    samples = tuple(sample for sample, reason in pairs if not reason)
    charset = dataset.charset
    if charset.characters == characters_of(dataset.samples):  # not given, but taken from the labels
        charset = Charset(characters_of(samples), charset.blank)
    return replace(dataset, samples=samples, charset=charset, skipped=dataset.skipped + skipped)


def characters_of(samples: Iterable[Sample]) -> str:
    """All characters of the labels, sorted; `?` if there are none, since no charset is empty."""
    return "".join(sorted({c for sample in samples for c in sample.label})) or "?"


def fold_label(text: str) -> str:
    """A label in lower case, composed as all labels are."""
    return normalize("NFC", text.lower())


def compose_characters(characters: str, *, fold_case: bool) -> str:
    """Composes characters as those of labels; if they are folded, each is there only once."""
    characters = normalize("NFC", characters)
    return "".join(dict.fromkeys(fold_label(characters))) if fold_case else characters


def with_recipe(dataset: Dataset, recipe: Recipe) -> Dataset:
    """The same pictures, prepared by another recipe.

    Args:
        dataset: The data set.
        recipe: The preprocessing; it takes the same frames of an animation as the one before.

    Returns:
        The data set. Pictures that the recipe can't use, or makes an uncommon shape of, are listed
        as skipped.

    Raises:
        TrainingError: If two sources give different shapes.
    """
    tensors: list[NDArray[np.float32] | str] = []
    for sample in dataset.samples:
        try:
            tensors.append(recipe.apply(sample.picture))
        except RecipeError as error:
            tensors.append(str(error))
    dataset = skip_samples(dataset, [t if isinstance(t, str) else None for t in tensors])
    made = [tensor for tensor in tensors if not isinstance(tensor, str)]
    samples = [replace(s, tensor=t) for s, t in zip(dataset.samples, made, strict=True)]
    dataset = replace(dataset, samples=tuple(samples))
    shape, _, misfits = part_by_shape(samples)
    why = dict(misfits)
    return replace(skip_samples(dataset, [why.get(s.name) for s in samples]), tensor_shape=shape)


def part_by_shape(
    samples: Sequence[Sample],
) -> tuple[tuple[int, ...], tuple[Sample, ...], list[tuple[str, str]]]:
    """The common shape, the samples of it, and the names of the others with the reason."""
    shape = _common_shape(samples)
    misfits = [sample for sample in samples if sample.tensor.shape != shape]
    reasons = [(s.name, f"gives the shape {s.tensor.shape}, most give {shape}") for s in misfits]
    return shape, tuple(sample for sample in samples if sample.tensor.shape == shape), reasons


def _common_shape(samples: Sequence[Sample]) -> tuple[int, ...]:
    """The shape that most tensors have; `()` without samples.

    Raises:
        TrainingError: If most samples of two sources have different shapes.
    """
    shapes: dict[str, Counter[tuple[int, ...]]] = {}
    for sample in samples:
        shapes.setdefault(sample.source, Counter())[sample.tensor.shape] += 1
    common = {source: counts.most_common(1)[0][0] for source, counts in shapes.items()}
    if len(set(common.values())) > 1:
        found = ", ".join(f"{source} {shape}" for source, shape in common.items())
        raise TrainingError(
            f"the sources' pictures give inputs of different shapes: {found}; take a preset whose "
            "recipe resizes, or train on each source by itself"
        )
    return next(iter(common.values()), ())


def _count(fraction: float, samples: Sequence[Sample]) -> int:
    return max(1, round(fraction * len(samples))) if fraction else 0


def _read(
    path: Path, name: str, label: str, recipe: Recipe, characters: str | None
) -> Sample | str:
    """The sample, or the reason why the picture can't be used."""
    unknown = sorted(set(label) - set(characters or label))
    if unknown:
        return f"characters outside of the charset: {''.join(unknown)}"
    try:
        picture = decode_image(path, merge=recipe.merge)
        return Sample(path, name, label, picture, recipe.apply(picture))
    except (ImageDecodeError, RecipeError) as error:
        return str(error)
