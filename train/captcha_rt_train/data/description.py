"""Describes labelled pictures, in a folder or in several sources, before they are trained on."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image import open_image
from captcha_rt.labels import AUTO
from captcha_rt.pictures import name_below, stem_of
from captcha_rt.progress import Watch, unwatched
from captcha_rt_train.data.duplicates import Duplicates, find_duplicates, hash_pixels
from captcha_rt_train.data.sources import Source, find_sources

_CHANNELS = {1: "grey", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True, slots=True)
class Description:
    """What a data set holds. Sizes, formats and duplicates count only the readable pictures.

    Attributes:
        pictures: The number of labelled pictures.
        form: The form of the labels, as `--labels` takes it; `sources` for several sources.
        labels: The form of the labels in words.
        sizes: The number of pictures by width and height, `140 x 48`; the most frequent first.
        formats: The number of pictures by file suffix and channels, `.png RGBA`; the most frequent
            first.
        lengths: The number of labels by length in characters; the shortest first.
        characters: How often the labels hold each character; sorted by character.
        repeated_labels: The number of different labels that several pictures have.
        duplicates: The groups of pictures with the same pixels.
        unreadable: The names of the pictures that can't be read, each with the reason.
        problems: Pictures without a label and rows without a picture, each with the reason.
        animations: The number of pictures of several frames.
        notes: What was noticed about files and labels, a line each.
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
    animations: int
    notes: tuple[str, ...]


class _Fingerprint(NamedTuple):
    """A picture's shape `(H, W, C)`, a hash of the shape and the pixels, the number of frames."""

    shape: tuple[int, ...]
    digest: bytes
    frames: int


class _Labelled(NamedTuple):
    """The labelled pictures of all folders: paths, names in the data set, labels, notes."""

    form: str
    form_in_words: str
    paths: list[Path]
    names: list[str]
    labels: list[str]
    problems: list[tuple[str, str]]
    notes: list[str]


def describe(path: Path, labels: str = AUTO, *, watch: Watch = unwatched) -> Description:
    """Describes the labelled pictures of a folder or of several sources.

    Pictures that a generator would draw are not described; `Description.labels` says so.

    Args:
        path: A folder of labelled pictures, an archive of one, or a TOML file of sources
            (`data.sources`).
        labels: The form of the folder's labels, as `captcha_rt.labels.read_labels` takes it.
        watch: Shows the progress while the pictures are read.

    Raises:
        FolderError: If a path is not a folder, or a folder can't be read or holds no pictures.
        LabelError: If the labels don't have the given form, or fit several forms.
        TrainingError: If the TOML file is not valid.
    """
    found = _read_labels(find_sources(path, labels))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(watch(pool.map(_fingerprint, found.paths), len(found.paths)))
    shapes = [
        (path, result.shape)
        for path, result in zip(found.paths, results, strict=True)
        if not isinstance(result, str)
    ]
    return Description(
        pictures=len(found.paths),
        form=found.form,
        labels=found.form_in_words,
        sizes=_count(f"{shape[1]} x {shape[0]}" for _, shape in shapes),
        formats=_count(f"{_suffix(path)} {_CHANNELS[shape[2]]}" for path, shape in shapes),
        lengths=dict(sorted(Counter(map(len, found.labels)).items())),
        characters=dict(sorted(Counter("".join(found.labels)).items())),
        repeated_labels=sum(count > 1 for count in Counter(found.labels).values()),
        duplicates=find_duplicates(
            found.names,
            found.labels,
            [None if isinstance(result, str) else result.digest for result in results],
        ),
        unreadable=tuple(
            (name, result)
            for name, result in zip(found.names, results, strict=True)
            if isinstance(result, str)
        ),
        problems=tuple(found.problems),
        animations=sum(not isinstance(result, str) and result.frames > 1 for result in results),
        notes=tuple(found.notes),
    )


def _read_labels(sources: Sequence[Source]) -> _Labelled:
    forms: list[str] = []
    words: list[str] = []
    result = _Labelled("", "", [], [], [], [], [])
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
        result.notes.extend(f"{prefix}{note}" for note in found.remarks)
    form = forms[0] if len(sources) == 1 and forms else "sources"
    return result._replace(form=form, form_in_words="; ".join(words))


def _fingerprint(path: Path) -> _Fingerprint | str:
    """Decodes a picture; a text says why the picture can't be read."""
    try:
        opened = open_image(path)
    except ImageDecodeError as error:
        return str(error).removeprefix(f"{path}: ")
    return _Fingerprint(opened.pixels.shape, hash_pixels(opened.pixels), opened.frames)


def _suffix(path: Path) -> str:
    return path.name.removeprefix(stem_of(path)).lower() or "no suffix"


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())
