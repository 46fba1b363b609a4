"""Sources of samples: one folder, or a TOML file that names folders and generators.

Each table of the file describes one source; the table's name is the source's name:

    [thsrc]
    folder = "$CAPTCHA_DATA/thsrc"    # relative to this file, unless absolute
    labels = "labels.csv"             # as --labels takes it; auto by default
    corrections = "corrections.csv"   # columns data, picture, label, shown; see `data.corrections`
    test = 0.12                       # the fraction of this source's pictures; by default the run's
    validation = 0.03                 # likewise
    epoch = 2600                      # the number of pictures of this source that an epoch uses

    [drawn]
    generator = "kaptcha"             # a name in `generators.GENERATORS`
    pictures = 4000                   # drawn before training starts; all are for training
    epoch = 1000

Only this module decides whether a path is a folder or such a file.
"""

import os
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from captcha_rt.charset import Charset
from captcha_rt.labels import AUTO, Labels, read_labels
from captcha_rt.progress import Watch
from captcha_rt.recipe import Recipe
from captcha_rt_train.data.corrections import read_corrections
from captcha_rt_train.data.samples import (
    Dataset,
    Sample,
    SourceSettings,
    characters_of,
    read_samples,
)
from captcha_rt_train.errors import TrainingError

_FOLDER_KEYS: Final = {"folder", "labels", "corrections", "test", "validation", "epoch"}
_GENERATOR_KEYS: Final = {"generator", "pictures", "epoch"}


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of labelled pictures, or a generator.

    Attributes:
        name: The source's name in the TOML file; empty for a folder by itself.
        folder: The folder; None for a generator.
        labels: The form of the folder's labels, as `captcha_rt.labels.read_labels` takes it.
        corrections: The right texts of wrongly labelled pictures, by file name.
        generator: The generator's name in `GENERATORS`; empty for a folder.
        pictures: The number of pictures that the generator draws; 0 for a folder.
        settings: How the source's samples are split and repeated.
    """

    name: str = ""
    folder: Path | None = None
    labels: str = AUTO
    corrections: Mapping[str, str] = field(default_factory=dict)
    generator: str = ""
    pictures: int = 0
    settings: SourceSettings = field(default_factory=SourceSettings)

    def name_of(self, picture: str) -> str:
        """A picture's name in the data set."""
        return f"{self.name}/{picture}" if self.name else picture

    def read_labels(self) -> Labels:
        """Reads the labels of the folder's pictures, and corrects them.

        Raises:
            FolderError: If the path is not a folder, or the folder holds no pictures.
            LabelError: If the labels don't have the given form, or fit several forms.
        """
        assert self.folder is not None  # noqa: S101  (only folders have labels)
        found = read_labels(self.folder, self.labels)
        items = tuple((path, self.corrections.get(path.name, text)) for path, text in found.items)
        return replace(found, items=items)


def find_sources(path: Path, labels: str = AUTO) -> list[Source]:
    """Finds the sources that a path stands for.

    Args:
        path: A folder of labelled pictures, or a TOML file of sources.
        labels: The form of the folder's labels. A TOML file names the form for each source.

    Returns:
        The sources, at least one; a folder is one source without a name.

    Raises:
        TrainingError: If the TOML file or a file of corrections is not valid.
    """
    if not path.is_file():
        return [Source(folder=path, labels=labels)]
    return [
        Source(
            name=name,
            folder=_path(path, table["folder"]) if "folder" in table else None,
            labels=table.get("labels", AUTO),
            corrections=(
                read_corrections(_path(path, table["corrections"]), name)
                if "corrections" in table
                else {}
            ),
            generator=table.get("generator", ""),
            pictures=table.get("pictures", 0),
            # All drawn pictures are for training: real pictures are for validation and test.
            settings=(
                SourceSettings(table.get("validation"), table.get("test"), table.get("epoch"))
                if "folder" in table
                else SourceSettings(0, 0, table.get("epoch"))
            ),
        )
        for name, table in parse_sources(path).items()
    ]


def parse_sources(file: Path) -> dict[str, dict[str, Any]]:
    """Reads and checks the tables of a TOML file of sources.

    Returns:
        The tables by the sources' names, at least one.

    Raises:
        TrainingError: If the file can't be read, or a table is not valid.
    """
    from captcha_rt_train.generators import GENERATORS  # matplotlib and Pillow: 0.3 s

    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TrainingError(f"can't read the sources in {file}: {error}") from error
    for name, table in tables.items():
        if not isinstance(table, dict) or ("folder" in table) == ("generator" in table):
            raise TrainingError(f"{file}: [{name}] needs either a folder or a generator")
        known = _FOLDER_KEYS if "folder" in table else _GENERATOR_KEYS
        if unknown := sorted(table.keys() - known):
            raise TrainingError(
                f"{file}: [{name}] has no setting {', '.join(unknown)}; "
                f"there are: {', '.join(sorted(known))}"
            )
        if "generator" in table and table["generator"] not in GENERATORS:
            raise TrainingError(
                f"{file}: no generator {table['generator']!r}; there are: {', '.join(GENERATORS)}"
            )
        pictures = table.get("pictures", 0)
        if "generator" in table and not (type(pictures) is int and pictures > 0):
            raise TrainingError(f"{file}: [{name}] needs a number of pictures above 0")
    if not tables:
        raise TrainingError(f"{file} names no source")
    return tables


def read_dataset(
    path: Path,
    recipe: Recipe,
    *,
    labels: str = AUTO,
    characters: str | None = None,
    blank: bool = True,
    seed: int = 0,
    watch: Watch = lambda items, _: items,
) -> Dataset:
    """Reads and draws all samples of a folder, or of the sources in a TOML file.

    A picture is skipped, with a reason, if it can't be decoded, if the recipe can't use it or gives
    an uncommon shape, or if its label is empty or holds a character outside of `characters`.

    Args:
        path: A folder of labelled pictures, or a TOML file of sources.
        recipe: The preprocessing.
        labels: The form of the folder's labels, as `captcha_rt.labels.read_labels` takes it.
        characters: The charset's characters in order; None takes those of the labels, sorted.
        blank: Whether the charset has a blank.
        seed: The seed of the generators.
        watch: Shows the progress while a folder's pictures are read.

    Raises:
        TrainingError: If the TOML file is not valid, or two sources give different shapes.
        FolderError, LabelError: As in `Source.read_labels`.
        CharsetError: If `characters` is no charset.
    """
    sources = find_sources(path, labels)
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    labels_by_source: dict[str, Labels] = {}
    for source in sources:
        if source.folder is None:
            samples += _draw(source, recipe, seed)
            continue
        found = labels_by_source[source.name] = source.read_labels()
        read, unusable = read_samples(
            found.items, source.folder, recipe, characters=characters, watch=watch
        )
        samples += [replace(s, name=source.name_of(s.name), source=source.name) for s in read]
        skipped += [(source.name_of(n), why) for n, why in (*found.problems, *unusable)]
    tensor_shape = _common_shape(samples)
    usable = tuple(s for s in samples if s.tensor.shape == tensor_shape)
    skipped += [
        (s.name, f"gives the shape {s.tensor.shape}, most give {tensor_shape}")
        for s in samples
        if s.tensor.shape != tensor_shape
    ]
    form, form_in_words = _describe_labels(labels_by_source)
    return Dataset(
        samples=usable,
        tensor_shape=tensor_shape,
        charset=Charset(characters or characters_of(usable), blank=0 if blank else None),
        skipped=tuple(skipped),
        form=form,
        labels=form_in_words,
        settings={source.name: source.settings for source in sources},
    )


def _describe_labels(by_source: Mapping[str, Labels]) -> tuple[str, str]:
    """The form of the labels as `--labels` takes it, and in words."""
    if "" in by_source:  # a folder by itself
        return by_source[""].form, by_source[""].description
    lines = [f"{name}: {found.description}" for name, found in by_source.items()]
    return "sources", "\n".join(lines)


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


def _draw(source: Source, recipe: Recipe, seed: int) -> list[Sample]:
    """Draws a generator's samples, each with its own seed."""
    from captcha_rt_train.generators import GENERATORS

    generate = GENERATORS[source.generator]

    def draw(index: int) -> Sample:
        label, picture = generate(np.random.default_rng([seed, index]))
        tensor = recipe.apply(picture)
        return Sample(None, source.name_of(str(index)), label, picture, tensor, source=source.name)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(draw, range(source.pictures)))


def _path(file: Path, written: str) -> Path:
    """A path in the TOML file: variables are replaced; relative paths start from its folder."""
    return file.parent / os.path.expandvars(written)
