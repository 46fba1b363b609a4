"""What a folder of labelled pictures holds: figures to look at before training."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image import decode_image
from captcha_rt.labels import AUTO, read_labels
from captcha_rt.pictures import name_below
from captcha_rt.progress import Watch

CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, slots=True)
class Twins:
    """Pictures of the same pixels.

    Attributes:
        paths: Their paths from the folder on, two or more.
        labels: Their labels, in the same order.
        agree: Whether these are all the same; if not, at least one is wrong.
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    agree: bool


@dataclass(frozen=True, slots=True)
class Description:
    """Figures of a folder; those of pixels leave out what can't be read.

    Attributes:
        pictures: How many pictures have a label.
        form: The form of their labels, as `--labels` takes it.
        labels: The same in words.
        sizes: For each width and height, `140 x 48`, the number of pictures; most first.
        formats: For each file suffix with the channels, `.png RGBA`, the same.
        lengths: For each length of a label in characters, the number of labels; shortest first.
        characters: For each character, how often it is in the labels, sorted by character.
        repeated_labels: How many labels several pictures have.
        twins: Groups of pictures of the same pixels, by path.
        unreadable: Pictures with the reason, by path.
        problems: Pictures and rows without a label, each with the reason.
    """

    pictures: int
    form: str
    labels: str
    sizes: dict[str, int]
    formats: dict[str, int]
    lengths: dict[int, int]
    characters: dict[str, int]
    repeated_labels: int
    twins: tuple[Twins, ...]
    unreadable: tuple[tuple[str, str], ...]
    problems: tuple[tuple[str, str], ...]


class _Look(NamedTuple):
    """A picture's shape `(H, W, C)` and a hash of it and of its pixels."""

    shape: tuple[int, ...]
    digest: bytes


def describe(
    folder: Path, form: str = AUTO, *, watch: Watch = lambda items, _: items
) -> Description:
    """Reads a folder's labels and all of its labelled pictures.

    Args:
        folder: The folder.
        form: The form of the labels, as `captcha_rt.labels.read_labels` takes it.
        watch: Wraps the walk over the pictures, to show its progress; gets their number.

    Raises:
        FolderError: If the folder is none, can't be read or holds no pictures.
        LabelError: If the labels aren't found, or could be read in several ways.
    """
    found = read_labels(folder, form)
    paths = [path for path, _ in found.items]
    names = [name_below(path, folder) for path in paths]
    labels = [label for _, label in found.items]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = list(watch(pool.map(_look, paths), len(paths)))
    seen = [(p, look) for p, look in zip(paths, looks, strict=True) if not isinstance(look, str)]
    return Description(
        pictures=len(paths),
        form=found.form,
        labels=found.source,
        sizes=_count(f"{look.shape[1]} x {look.shape[0]}" for _, look in seen),
        formats=_count(f"{p.suffix.lower()} {CHANNELS[look.shape[2]]}" for p, look in seen),
        lengths=dict(sorted(Counter(map(len, labels)).items())),
        characters=dict(sorted(Counter("".join(labels)).items())),
        repeated_labels=sum(n > 1 for n in Counter(labels).values()),
        twins=_twins(names, labels, looks),
        unreadable=tuple(
            (name, look) for name, look in zip(names, looks, strict=True) if isinstance(look, str)
        ),
        problems=found.problems,
    )


def _look(path: Path) -> _Look | str:
    """What there is to see of a picture, or why it can't be read."""
    try:
        picture = decode_image(path)
    except ImageDecodeError as error:
        return str(error).removeprefix(f"{path}: ")
    # 16 bytes: two of 10 million pictures fall together with a chance of 1e-25.
    digest = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    digest.update(picture.data)
    return _Look(picture.shape, digest.digest())


def _twins(
    names: Sequence[str], labels: Sequence[str], looks: Sequence[_Look | str]
) -> tuple[Twins, ...]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, look in enumerate(looks):
        if not isinstance(look, str):
            groups[look.digest].append(index)
    return tuple(
        Twins(
            paths=tuple(names[i] for i in group),
            labels=tuple(labels[i] for i in group),
            agree=len({labels[i] for i in group}) == 1,
        )
        for group in groups.values()
        if len(group) > 1
    )


def _count(values: Iterator[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
