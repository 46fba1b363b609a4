"""How probable it is that a label is wrong, from what a network reads in the picture."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.manifest import Manifest
from captcha_rt_train.data.samples import Sample
from captcha_rt_train.data.targets import encode_labels

DOUBTED: Final = 0.5
"""The probability that a label is wrong from which on it is doubted, in 0..1."""

SURE: Final = 0.9
"""The probability from which on a picture is left out of an epoch. With 0.5, ten to twelve right
labels of 450 were left out in each epoch of one kind."""

TOO_MANY: Final = 0.05
"""The fraction of the labels that a network that can read hardly ever contradicts."""

_WRONG: Final = 0.02
"""The fraction of the labels that are wrong, before the pictures are looked at."""

_LOST: Final = 0.25  # of a character's pictures that may be left out
_SUREST: Final = 30.0  # a logarithm of odds that is as good as certain


def contradict(
    samples: Sequence[Sample], manifest: Manifest, scores: NDArray[np.floating]
) -> tuple[list[str], NDArray[np.float64]]:
    """Compares what a network reads with the labels.

    Args:
        samples: N samples.
        manifest: The network's description.
        scores: The network's logits for the samples, `(N, T, C)`, or `(N * T, C)` of glyphs.

    Returns:
        What the network reads, N texts, and the probabilities that the labels are wrong, `(N,)`:
        how much likelier the network finds the text that it reads, if one label in 50 is wrong.
        They are 0 where it reads the label, or nothing.
    """
    read = [text for text, _ in manifest.decode(scores)]
    wrong = np.zeros(len(samples))
    other = [n for n, sample in enumerate(samples) if read[n] not in ("", sample.label)]
    if other:
        rows = scores.reshape(len(samples), -1, scores.shape[-1])[other] / manifest.temperature
        likelier = _likelihoods([replace(samples[n], label=read[n]) for n in other], manifest, rows)
        likelier -= _likelihoods([samples[n] for n in other], manifest, rows)
        odds = np.exp(np.minimum(likelier, _SUREST)) * _WRONG / (1 - _WRONG)
        wrong[other] = odds / (1 + odds)
    return read, wrong


def spare_rare(labels: Sequence[str], doubted: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Takes back the doubts that would leave too little of a character.

    A character of few pictures, which a network doesn't know yet, is contradicted in all of them.

    Args:
        labels: N labels.
        doubted: Which are doubted, `(N,)`.

    Returns:
        Which of them may be left out, `(N,)`: of no character more than a quarter of its pictures.
    """
    there = Counter(c for label in labels for c in set(label))
    lost = Counter(c for label, out in zip(labels, doubted, strict=True) if out for c in set(label))
    rare = {c for c, count in lost.items() if count > _LOST * there[c]}
    kept = [rare.isdisjoint(label) for label in labels]
    return np.logical_and(doubted, kept)


def describe_doubts(
    samples: Sequence[Sample], manifest: Manifest, scores: NDArray[np.floating], command: str
) -> list[str]:
    """How many labels look wrong, and how to look at them: a line, or none.

    Args:
        samples: N samples, at least one.
        manifest: The network's description.
        scores: The network's scores, as for `contradict`.
        command: What shows such labels.
    """
    read, wrong = contradict(samples, manifest, scores)
    count = int((wrong >= DOUBTED).sum())
    if not count:
        return []
    if count > TOO_MANY * len(samples):
        return [
            f"it contradicts {count} of {len(samples)} labels: it can't read these pictures yet, "
            f"or many labels are wrong. To look at them: {command}"
        ]
    worst = int(wrong.argmax())
    labels = "1 label looks" if count == 1 else f"{count} labels look"
    return [
        f"{labels} wrong, such as {samples[worst].name}: {samples[worst].label}, read "
        f"{read[worst]}. To look at them: {command}"
    ]


def _likelihoods(
    samples: Sequence[Sample], manifest: Manifest, scores: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The logarithms of the probabilities of the labels, `(N,)`, from logits `(N, T, C)`."""
    labels = encode_labels(samples, manifest)
    if manifest.decoder == "ctc":
        return -np.asarray(keras.losses.CTC(reduction="none")(labels, scores), np.float64)
    logs = scores.astype(np.float64)
    logs -= np.logaddexp.reduce(logs, axis=2, keepdims=True)
    return np.asarray(np.take_along_axis(logs, labels[:, :, None], axis=2).sum(axis=(1, 2)))
