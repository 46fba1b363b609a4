"""Describes a folder or several sources of labelled pictures, to look at before training."""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image import decode_image
from captcha_rt.labels import AUTO
from captcha_rt.pictures import name_below
from captcha_rt.progress import Watch
from captcha_rt_train.data.sources import Source, find_sources

CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Pictures of the same pixels.

    Attributes:
        paths: Their paths from the folder on, two or more.
        labels: Their labels, in the same order.
        agree: Whether the labels are all the same; if not, at least one is wrong.
    """

    paths: tuple[str, ...]
    labels: tuple[str, ...]
    agree: bool


@dataclass(frozen=True, slots=True)
class Description:
    """What a data set holds. Sizes, formats and duplicates count the readable pictures only.

    Attributes:
        pictures: The number of labelled pictures.
        form: The form of the labels, as `--labels` takes it; `sources` for several sources.
        labels: The same in words.
        sizes: The number of pictures of each width and height, `140 x 48`; the most first.
        formats: The number of pictures of each file suffix and channels, `.png RGBA`; the same.
        lengths: The number of labels of each length in characters; the shortest first.
        characters: How often the labels hold each character; sorted by character.
        repeated_labels: The number of labels that several pictures have.
        duplicates: Groups of pictures of the same pixels, by path.
        unreadable: The pictures that can't be read, each with the reason, by path.
        problems: The pictures and rows without a label, each with the reason.
    """

    pictures: int
    form: str
    labels: str
    sizes: dict[str, int]
    formats: dict[str, int]
    lengths: dict[int, int]
    characters: dict[str, int]
    repeated_labels: int
    duplicates: tuple[Duplicates, ...]
    unreadable: tuple[tuple[str, str], ...]
    problems: tuple[tuple[str, str], ...]


class _Look(NamedTuple):
    """A picture's shape `(H, W, C)`, and a hash of the shape and the pixels."""

    shape: tuple[int, ...]
    digest: bytes


class _Labelled(NamedTuple):
    """The labelled pictures of all folders: paths, names in the data set, labels."""

    form: str
    words: str
    paths: list[Path]
    names: list[str]
    labels: list[str]
    problems: list[tuple[str, str]]


def describe(
    path: Path, labels: str = AUTO, *, watch: Watch = lambda items, _: items
) -> Description:
    """Reads the labels of a folder or of several sources, and all of their labelled pictures.

    What a generator of a TOML file would draw is not looked at; `labels` says so.

    Args:
        path: A folder of labelled pictures, or a TOML file (`sources`).
        labels: The form of the folder's labels, as `captcha_rt.labels.read_labels` takes it.
        watch: Shows the progress; it gets the iterator and the number of pictures.

    Raises:
        FolderError: If a folder is none, can't be read or holds no pictures.
        LabelError: If the labels aren't found, or could be read in several ways.
        TrainingError: If the TOML file is not as it has to be.
    """
    found = _read_labels(find_sources(path, labels))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = list(watch(pool.map(_look, found.paths), len(found.paths)))
    seen = [
        (p, look) for p, look in zip(found.paths, looks, strict=True) if not isinstance(look, str)
    ]
    return Description(
        pictures=len(found.paths),
        form=found.form,
        labels=found.words,
        sizes=_count(f"{look.shape[1]} x {look.shape[0]}" for _, look in seen),
        formats=_count(f"{p.suffix.lower()} {CHANNELS[look.shape[2]]}" for p, look in seen),
        lengths=dict(sorted(Counter(map(len, found.labels)).items())),
        characters=dict(sorted(Counter("".join(found.labels)).items())),
        repeated_labels=sum(n > 1 for n in Counter(found.labels).values()),
        duplicates=_find_duplicates(found.names, found.labels, looks),
        unreadable=tuple(
            (name, look)
            for name, look in zip(found.names, looks, strict=True)
            if isinstance(look, str)
        ),
        problems=tuple(found.problems),
    )


def _read_labels(sources: Sequence[Source]) -> _Labelled:
    forms: list[str] = []
    words: list[str] = []
    result = _Labelled("", "", [], [], [], [])
    for source in sources:
        prefix = f"{source.name}: " if source.name else ""
        if source.folder is None:
            words.append(f"{prefix}{source.pictures} drawn by {source.generator}, not looked at")
            continue
        found = source.read_labels()
        forms.append(found.form)
        words.append(f"{prefix}{found.source}")
        for file, label in found.items:
            result.paths.append(file)
            result.names.append(source.name_of(name_below(file, source.folder)))
            result.labels.append(label)
        result.problems.extend((source.name_of(where), why) for where, why in found.problems)
    form = forms[0] if len(sources) == 1 and forms else "sources"
    return result._replace(form=form, words="; ".join(words))


def _look(path: Path) -> _Look | str:
    """Looks at a picture; the text says why it can't be read."""
    try:
        picture = decode_image(path)
    except ImageDecodeError as error:
        return str(error).removeprefix(f"{path}: ")
    # With 16 bytes, two of 10 million pictures have the same hash with a probability of 1e-25.
    digest = hashlib.blake2b(repr(picture.shape).encode(), digest_size=16)
    digest.update(picture.data)
    return _Look(picture.shape, digest.digest())


def _find_duplicates(
    names: Sequence[str], labels: Sequence[str], looks: Sequence[_Look | str]
) -> tuple[Duplicates, ...]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for index, look in enumerate(looks):
        if not isinstance(look, str):
            groups[look.digest].append(index)
    return tuple(
        Duplicates(
            paths=tuple(names[i] for i in group),
            labels=tuple(labels[i] for i in group),
            agree=len({labels[i] for i in group}) == 1,
        )
        for group in groups.values()
        if len(group) > 1
    )


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
