"""Plans a training: a preset's network for a data set, and the samples that fit the network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import keras

from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.sums import value_of
from captcha_rt_train.data.samples import Dataset, skip_samples
from captcha_rt_train.data.targets import TARGETS
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.networks import NETWORKS, Dimensions
from captcha_rt_train.presets import Preset

T = TypeVar("T")

_ENOUGH: Final = 50
"""The number of labels of one length from which on other lengths are taken to be none."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A network for a data set.

    Attributes:
        dataset: The data set without the samples that don't fit the network.
        manifest: The model's description, without facts about training and accuracy; its name is
            the preset's.
        length: The number of characters that the network reads; 0 if no sample is left.
        build: Builds a new network that reads the given number of characters.
    """

    dataset: Dataset
    manifest: Manifest
    length: int
    build: Callable[[int], keras.Model]


def plan(dataset: Dataset, preset: Preset) -> Plan:
    """Fits a preset's network to a data set.

    Args:
        dataset: A data set with at least one sample.
        preset: What to train.

    Returns:
        The plan; its data set may have no samples left.

    Raises:
        TrainingError: If there is no such network or decoder, or the network can't be built with
            these layers, for inputs of this shape, or for texts of this length.
    """
    network = _known("network", preset.network, NETWORKS)
    target = _known("decoder", preset.decoder, TARGETS)
    length = target.text_length(dataset)
    shape = target.input_shape(dataset.tensor_shape)

    def build(classes: int, characters: int) -> keras.Model:
        dimensions = Dimensions(shape, characters, classes)
        return network(dimensions, **preset.layers)

    try:
        model = build(dataset.charset.classes, length)
    except (TypeError, ValueError) as error:  # unknown layers, or inputs that don't suit them
        raise TrainingError(
            f"preset {preset.name!r} can't read {length} characters from inputs of {shape}: {error}"
        ) from error
    places = target.places(model.output_shape, length)
    dataset = skip_misfits(dataset, preset.decoder, places)
    classes = dataset.charset.classes
    lengths = [len(sample.label) for sample in dataset.samples if sample.label]
    manifest = Manifest(
        name=preset.name,
        charset=dataset.charset,
        recipe=preset.recipe,
        decoder=preset.decoder,
        scores="logits",
        input=Tensor(model.inputs[0].name, (None, *shape)),
        output=Tensor("logits", target.output_shape(places, classes)),
        arithmetic=_are_sums(dataset),
        shortest=min(lengths, default=0),
        length=lengths[0] if len(lengths) >= _ENOUGH and len(set(lengths)) == 1 else 0,
    )
    length = target.text_length(dataset) if dataset.samples else 0
    return Plan(dataset, manifest, length, partial(build, classes))


def _known(setting: str, name: str, known: Mapping[str, T]) -> T:
    """What a preset names.

    Raises:
        TrainingError: If there is no such thing.
    """
    if name not in known:
        raise TrainingError(f"{setting} is {name!r}; it must be one of {', '.join(known)}")
    return known[name]


def _are_sums(dataset: Dataset) -> bool:
    """Whether most labels are sums: a text such as `3-5` among others is one by chance."""
    sums = sum(value_of(sample.label) is not None for sample in dataset.samples)
    return 2 * sums > len(dataset.samples)


def skip_misfits(dataset: Dataset, decoder: str, places: int) -> Dataset:
    """Skips the samples whose labels don't fit a network.

    Args:
        dataset: The data set.
        decoder: How the network's scores are read, a key of `TARGETS`.
        places: The number of the network's time steps, heads or glyphs.

    Returns:
        The data set without these samples. Its charset lacks the characters that only they had,
        unless the charset was given.
    """
    misfit = TARGETS[decoder].misfit
    reasons = [misfit(sample.label, places, dataset.charset) for sample in dataset.samples]
    return skip_samples(dataset, reasons)
