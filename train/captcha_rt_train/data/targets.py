"""What a decoder means for training. `TARGETS` has an entry for each decoder of the runtime."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.manifest import Manifest
from captcha_rt_train.data.samples import Dataset, Sample

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Target:
    """What the scores of a decoder are trained on.

    Attributes:
        text_length: The number of characters that a network for a data set reads.
        input_shape: The shape of the network's input, given that of a sample's tensor.
        places: The number of characters and blanks that the scores have room for, given the
            shape of the network's output and the text length.
        output_shape: The shape of the scores, given the places and the classes.
        labels_width: The width of the table of label ids, given the shape of the scores and the
            longest label.
        rows: The label ids of a batch as the loss takes them, given a table `(N, L)`.
        misfit: Why a label has no room in the places, if it has none.
        loss: Makes the loss between label ids and logits.
        has_accuracy: Whether each row of the scores has its one label, so that Keras can count
            those that are right.
    """

    text_length: Callable[[Dataset], int]
    input_shape: Callable[[Shape], Shape]
    places: Callable[[Shape, int], int]
    output_shape: Callable[[int, int], tuple[int | None, ...]]
    labels_width: Callable[[tuple[int | None, ...], int], int]
    rows: Callable[[NDArray[np.int32]], NDArray[np.int32]]
    misfit: Callable[[str, int, Charset], str | None]
    loss: Callable[[], keras.losses.Loss]
    has_accuracy: bool


def encode_labels(samples: Sequence[Sample], manifest: Manifest) -> NDArray[np.int32]:
    """The labels as class ids.

    Args:
        samples: N samples, at least one.
        manifest: Names decoder, charset and output.

    Returns:
        `(N, L)` int32; shorter labels are padded with the blank.
    """
    longest = max(len(sample.label) for sample in samples)
    width = TARGETS[manifest.decoder].labels_width(manifest.output.shape, longest)
    labels = np.full((len(samples), width), manifest.charset.blank or 0, np.int32)
    for row, sample in zip(labels, samples, strict=True):
        row[: len(sample.label)] = manifest.charset.encode(sample.label)
    return labels


def _length_of_labels(dataset: Dataset) -> int:
    """The longest label where a blank can fill the rest, else the most frequent length.

    Of equally frequent lengths the longest counts.
    """
    lengths = Counter(len(sample.label) for sample in dataset.samples)
    if dataset.charset.blank is not None:
        return max(lengths)
    return max(lengths, key=lambda length: (lengths[length], length))


def _misfit_of_time_steps(label: str, places: int, charset: Charset) -> str | None:  # noqa: ARG001
    """CTC needs a time step for each character, and one for a blank between equal neighbours."""
    needed = len(label) + sum(a == b for a, b in pairwise(label))
    return f"needs {needed} time steps, the network has {places}" if needed > places else None


def _misfit_of_places(label: str, places: int, charset: Charset) -> str | None:
    """Each character needs a place, and without a blank each place needs a character."""
    if len(label) > places or (len(label) < places and charset.blank is None):
        return f"{len(label)} characters, the network reads {places}"
    return None


def _cross_entropy() -> keras.losses.Loss:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


TARGETS: Final[Mapping[str, Target]] = {
    "ctc": Target(
        text_length=_length_of_labels,
        input_shape=lambda tensor: tensor,
        places=lambda output, _: output[1],
        output_shape=lambda places, classes: (None, places, classes),
        labels_width=lambda _, longest: longest,
        rows=lambda labels: labels,
        misfit=_misfit_of_time_steps,
        loss=keras.losses.CTC,
        has_accuracy=False,
    ),
    "position": Target(
        text_length=_length_of_labels,
        input_shape=lambda tensor: tensor,
        places=lambda _, length: length,
        output_shape=lambda places, classes: (None, places, classes),
        labels_width=lambda scores, _: scores[1] or 0,
        rows=lambda labels: labels,
        misfit=_misfit_of_places,
        loss=_cross_entropy,
        has_accuracy=True,
    ),
    "glyph": Target(
        text_length=lambda dataset: dataset.tensor_shape[0],  # as many glyphs as the recipe cuts
        input_shape=lambda tensor: tensor[1:],
        places=lambda _, length: length,
        output_shape=lambda _, classes: (None, classes),
        labels_width=lambda _, longest: longest,
        rows=np.ravel,  # each glyph is a row of its own
        misfit=_misfit_of_places,
        loss=_cross_entropy,
        has_accuracy=True,
    ),
}
