"""What each decoder of the runtime means for training: one entry per decoder in `TARGETS`."""

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
    """How a network is trained whose scores a decoder reads.

    All shapes of inputs are without the batch axis; shapes of outputs begin with None, the batch.

    Attributes:
        text_length: From a data set to the number of characters that a network for it reads.
        input_shape: From the shape of a sample's tensor to the shape of the network's input.
        places: From the shape of the network's output and the text length to the number of places:
            the time steps, heads or glyphs that a label has to fit into.
        output_shape: From the numbers of places and classes to the shape of the scores.
        labels_width: From the shape of the scores and the length of the longest label to the number
            of label ids for each sample.
        loss_labels: From a batch of label ids, `(N, L)` int32, to the labels that the loss takes.
        misfit: From a label, the number of places and the charset to the reason why the label
            doesn't fit; None if it fits.
        loss: Makes the loss between label ids and logits.
        has_accuracy: Whether each row of the scores has one label, so that Keras can count the
            rows that are right.
    """

    text_length: Callable[[Dataset], int]
    input_shape: Callable[[Shape], Shape]
    places: Callable[[Shape, int], int]
    output_shape: Callable[[int, int], tuple[int | None, ...]]
    labels_width: Callable[[tuple[int | None, ...], int], int]
    loss_labels: Callable[[NDArray[np.int32]], NDArray[np.int32]]
    misfit: Callable[[str, int, Charset], str | None]
    loss: Callable[[], keras.losses.Loss]
    has_accuracy: bool


def encode_labels(samples: Sequence[Sample], manifest: Manifest) -> NDArray[np.int32]:
    """Encodes the labels as class ids.

    Args:
        samples: N samples, at least one.
        manifest: The model's description: its decoder, charset and output are used.

    Returns:
        `(N, L)` int32; shorter labels are padded with the blank.

    Raises:
        CharsetError: If a label holds a character outside of the charset.
    """
    longest = max(len(sample.label) for sample in samples)
    width = TARGETS[manifest.decoder].labels_width(manifest.output.shape, longest)
    labels = np.full((len(samples), width), manifest.charset.blank or 0, np.int32)
    for row, sample in zip(labels, samples, strict=True):
        row[: len(sample.label)] = manifest.charset.encode(sample.label)
    return labels


def _length_of_labels(dataset: Dataset) -> int:
    """The length of the longest label if a blank can fill the rest, else the most frequent length.

    Of equally frequent lengths, the longest counts.
    """
    lengths = Counter(len(sample.label) for sample in dataset.samples)
    if dataset.charset.blank is not None:
        return max(lengths)
    return max(lengths, key=lambda length: (lengths[length], length))


def _misfit_of_time_steps(label: str, places: int, charset: Charset) -> str | None:  # noqa: ARG001
    """CTC needs a time step for each character, and one for the blank between equal neighbours."""
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
        loss_labels=lambda labels: labels,
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
        loss_labels=lambda labels: labels,
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
        loss_labels=np.ravel,  # each glyph is a row of its own
        misfit=_misfit_of_places,
        loss=_cross_entropy,
        has_accuracy=True,
    ),
}
