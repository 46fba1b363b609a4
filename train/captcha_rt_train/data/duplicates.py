"""Finds pictures with equal pixels: copies, and labels that contradict each other."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from captcha_rt_train.data.samples import Dataset, skip_samples


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Pictures with the same pixels.

    Attributes:
        paths: The pictures' names in the data set, two or more: paths below the folder, with
            several sources `SOURCE/PATH`.
        labels: The pictures' labels, in the same order.
        agree: Whether all labels are equal; if not, at least one label is wrong.
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    agree: bool


def hash_pixels(picture: NDArray[np.uint8]) -> bytes:
    """A hash of a picture's shape and pixels."""
    # With 16 bytes, two of 10 million pictures have the same hash with a probability of 1e-25.
    digest = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(picture).data)
    return digest.digest()


def find_duplicates(
    names: Sequence[str], labels: Sequence[str], hashes: Sequence[bytes | None]
) -> tuple[Duplicates, ...]:
    """Finds the groups of pictures with the same pixels.

    Args:
        names: The pictures' names in the data set.
        labels: Their labels.
        hashes: What `hash_pixels` returns for each; None for a picture that can't be read.
    """
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, digest in enumerate(hashes):
        if digest is not None:
            groups[digest].append(index)
    return tuple(
        Duplicates(
            paths=tuple(names[i] for i in group),
            labels=tuple(labels[i] for i in group),
            agree=len({labels[i] for i in group}) == 1,
        )
        for group in groups.values()
        if len(group) > 1
    )


def skip_duplicates(dataset: Dataset) -> Dataset:
    """Skips copies, which would be in training and in validation, and labels that contradict.

    Of pictures with equal pixels and the same label the first one is left. If the labels differ,
    all of them are skipped: nobody knows which one is right.

    Args:
        dataset: The data set.

    Returns:
        The data set without these samples, which are listed as skipped, each with the reason. Its
        charset lacks the characters that only they had, unless the charset was given.
    """
    samples = dataset.samples
    found = find_duplicates(
        [sample.name for sample in samples],
        [sample.label for sample in samples],
        [hash_pixels(sample.picture) for sample in samples],
    )
    reasons: dict[str, str] = {}
    for group in found:
        first = group.paths[0]
        for name, label in zip(group.paths, group.labels, strict=True):
            if not group.agree:
                other = next(i for i, text in enumerate(group.labels) if text != label)
                reasons[name] = (
                    f"has the pixels of {group.paths[other]}, which is labelled "
                    f"{group.labels[other]!r}, not {label!r}"
                )
            elif name != first:
                reasons[name] = f"has the pixels and the label of {first}"
    return skip_samples(dataset, [reasons.get(sample.name) for sample in samples])
