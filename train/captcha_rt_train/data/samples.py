"""Samples: labelled pictures that a network can be trained on."""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.errors import ImageDecodeError, RecipeError
from captcha_rt.image import decode_image
from captcha_rt.pictures import name_below
from captcha_rt.progress import Watch
from captcha_rt.recipe import Recipe
from captcha_rt_train.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Sample:
    """A labelled picture and the tensor that the recipe makes of it.

    Attributes:
        path: Its file; None if a generator drew it.
        name: The file from its folder on; where a data set has several sources, `SOURCE/FILE`.
        label: Its text.
        picture: Its pixels, `(H, W, C)` uint8.
        tensor: What the recipe makes of them, float32.
        source: The name of its source, where a data set has several.
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
        validation: The share of its samples that validate, in 0..1; None for the run's.
        test: The share that is kept aside, in 0..1; None for the run's.
        epoch: The number of its training samples in an epoch; None for all of them, as often as
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
        tensor_shape: The shape of each sample's tensor.
        charset: The characters of the labels; the blank comes first, if there is one.
        skipped: The names of the pictures that can't be used, each with the reason.
        form: The form of the labels, as `--labels` names it; `sources` for several sources.
        labels: The same in words.
        settings: By the source's name, how its samples are split and repeated.
    """

    samples: tuple[Sample, ...]
    tensor_shape: tuple[int, ...]
    charset: Charset
    skipped: tuple[tuple[str, str], ...]
    form: str
    labels: str
    settings: Mapping[str, SourceSettings] = field(default_factory=lambda: {"": SourceSettings()})


def read_samples(
    labelled: Sequence[tuple[Path, str]],
    folder: Path,
    recipe: Recipe,
    *,
    characters: str | None = None,
    watch: Watch = lambda items, _: items,
) -> tuple[list[Sample], list[tuple[str, str]]]:
    """Reads labelled pictures on all cores.

    Args:
        labelled: Picture files with their labels.
        folder: The folder that the samples' names start from.
        recipe: The preprocessing.
        characters: The characters that a label may hold; None allows all.
        watch: Shows the progress; it gets the iterator and the number of pictures.

    Returns:
        The samples, and the names of the pictures that can't be used, each with the reason: it
        can't be decoded, doesn't fit the recipe, or its label holds another character.
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
    """Splits a data set by picture.

    The samples of each source are shuffled, then cut into test, validation and training.

    Args:
        dataset: The samples, sorted by name; each source is split by itself.
        validation: The share that validates, in 0..1; at least one sample unless 0.
        test: The share that is kept aside until the end, in 0..1; at least one unless 0.
        seed: The same seed gives the same split.

    Returns:
        The parts `training`, `validation` and `test`, each sorted by name.

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
        if len(samples) <= tests + validations:
            raise TrainingError(
                f"{len(samples)} pictures can't be split into training, {validations} for "
                f"validation and {tests} for test"
            )
        cut = np.split(order, [tests, tests + validations])
        for part, indices in zip(parts.values(), cut, strict=True):
            part += [samples[i] for i in sorted(indices)]
    if not parts["validation"]:
        raise TrainingError("no picture is left for validation")
    return parts


def characters_of(samples: Iterable[Sample]) -> str:
    """All characters of the labels, sorted; `?` if there are none, since a charset needs one."""
    return "".join(sorted({c for sample in samples for c in sample.label})) or "?"


def _count(share: float, samples: Sequence[Sample]) -> int:
    return max(1, round(share * len(samples))) if share else 0


def _read(
    path: Path, name: str, label: str, recipe: Recipe, characters: str | None
) -> Sample | str:
    """The sample, or why it can't be used."""
    unknown = sorted(set(label) - set(characters or label))
    if unknown:
        return f"characters outside of the charset: {''.join(unknown)}"
    try:
        picture = decode_image(path)
        return Sample(path, name, label, picture, recipe.apply(picture))
    except (ImageDecodeError, RecipeError) as error:
        return str(error)
