"""Sources of samples: one folder, or a TOML file that names folders and generators.

A zip or tar file of a folder may stand wherever a folder may.

Each table of the file describes one source; the table's name is the source's name:

    [thsrc]
    folder = "$CAPTCHA_DATA/thsrc"    # or an archive; relative to this file, unless absolute
    labels = "labels.csv"             # as --labels takes it; auto by default
    corrections = "corrections.csv"   # columns data, picture, label, shown; see `data.corrections`
    test = 0.12                       # the fraction of this source's pictures; by default the run's
    validation = 0.03                 # likewise; 1 leaves none for training
    epoch = 2600                      # the number of pictures of this source that an epoch uses

    [drawn]
    generator = "kaptcha"             # a name in `generators.GENERATORS`
    pictures = 4000                   # drawn before training starts; all are for training
    epoch = 1000

Only this module decides whether a path is a folder, an archive or such a file.
"""

import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from captcha_rt.archives import is_archive, unpack
from captcha_rt.charset import Charset
from captcha_rt.errors import FolderError, LabelError
from captcha_rt.labels import (
    AUTO,
    NO_ROW,
    Labels,
    find_label_file,
    parse_form,
    read_labels,
)
from captcha_rt.progress import Watch, unwatched
from captcha_rt.recipe import Recipe
from captcha_rt_train.data.corrections import Corrections, read_corrections
from captcha_rt_train.data.samples import (
    Dataset,
    Sample,
    SourceSettings,
    characters_of,
    compose_characters,
    fold_label,
    part_by_shape,
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
        corrections: The right texts of wrongly labelled pictures.
        generator: The generator's name in `GENERATORS`; empty for a folder.
        pictures: The number of pictures that the generator draws; 0 for a folder.
        settings: How the source's samples are split and repeated.
        without: Pictures and label files of the folder that another source has.
        fold_case: Whether the labels are folded to lower case.
        note: One line on the folder: the archive that it comes from; empty if there is nothing.
        found: The folder's labels as they are written, if they were read before.
    """

    name: str = ""
    folder: Path | None = None
    labels: str = AUTO
    corrections: Corrections = field(default_factory=Corrections)
    generator: str = ""
    pictures: int = 0
    settings: SourceSettings = field(default_factory=SourceSettings)
    without: frozenset[Path] = frozenset()
    fold_case: bool = False
    note: str = ""
    found: Labels | None = field(default=None, repr=False)

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
        found = self.found or read_labels(self.folder, self.labels, without=self.without)
        items, unused = self.corrections.apply(found.items, self.folder)
        if self.fold_case:
            items = tuple((path, fold_label(text)) for path, text in items)
        return replace(found, items=items, notes=(*filter(None, [self.note, unused]), *found.notes))


def is_sources_file(path: Path) -> bool:
    """Whether a path is a TOML file of sources, and neither a folder nor an archive."""
    return path.is_file() and not is_archive(path)


def find_sources(path: Path, labels: str = AUTO, *, validation: str | None = None) -> list[Source]:
    """Finds the sources that a path stands for.

    Args:
        path: A folder of labelled pictures, an archive of one, or a TOML file of sources.
        labels: The form of the folder's labels. A TOML file names the form for each source.
        validation: What validates, in place of a part of the sources: a folder of labelled
            pictures, an archive of one, or a label file for pictures in `path`. It is a source
            named `validation`.

    Returns:
        The sources, at least one; a folder is one source without a name.

    Raises:
        ArchiveError: If an archive can't be unpacked.
        TrainingError: If the TOML file or a file of corrections is not valid, or `validation` is
            neither a folder nor a label file, or its pictures have no labels.
    """
    if is_sources_file(path):
        sources = _parse_sources(path)
    else:
        path, note = unpack(path)
        sources = [Source(folder=path, labels=labels, note=note)]
    if validation is None:
        return sources
    held_back, taken = _find_validation(path, labels, validation)
    own = [replace(s, settings=replace(s.settings, validation=0), without=taken) for s in sources]
    return [*own, held_back]


def _find_validation(path: Path, labels: str, validation: str) -> tuple[Source, frozenset[Path]]:
    """The source whose pictures all validate, and the files that are not for training."""
    form = labels
    try:
        folder, note = unpack(Path(validation))
        is_known = folder.is_dir() or _is_label_file(path, validation)
        if parse_form(validation) or not is_known or folder.resolve() == path.resolve():
            raise TrainingError(
                f"--validation {validation}: neither a fraction, nor another folder, nor a label "
                "file"
            )
        if not folder.is_dir():
            folder, form = path, validation
        elif not (parse_form(labels) or (folder / labels).is_file()):
            form = AUTO  # the two folders' label files have different names
        found = read_labels(folder, form)
    except (FolderError, LabelError) as error:
        raise TrainingError(f"--validation {validation}: {error}") from error
    if folder == path:  # a list: the pictures that it leaves out are for training
        problems = (problem for problem in found.problems if not problem[1].startswith(NO_ROW))
        found = replace(found, problems=tuple(problems))
    settings = SourceSettings(validation=1, test=0)
    source = Source("validation", folder, form, settings=settings, note=note, found=found)
    return source, frozenset((*found.files, *(file for file, _ in found.items)))


def _is_label_file(folder: Path, form: str) -> bool:
    """Whether a form of labels names a file for a folder's pictures, with a column or without."""
    try:
        find_label_file(folder, (), form)
    except LabelError:
        return False
    return True


def _parse_sources(path: Path) -> list[Source]:
    tables = parse_sources(path)
    opened = {
        name: unpack(_path(path, table["folder"]))
        for name, table in tables.items()
        if "folder" in table
    }
    return [
        Source(
            name=name,
            folder=opened[name].folder if name in opened else None,
            note=opened[name].note if name in opened else "",
            labels=table.get("labels", AUTO),
            corrections=(
                read_corrections(_path(path, table["corrections"]), name)
                if "corrections" in table
                else Corrections()
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
        for name, table in tables.items()
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
    watch: Watch = unwatched,
    validation: str | None = None,
    fold_case: bool = False,
) -> Dataset:
    """Reads and draws all samples of a folder, or of the sources in a TOML file.

    A picture is skipped, with a reason, if it can't be decoded, if the recipe can't use it or gives
    an uncommon shape, or if its label is empty or holds a character outside of `characters`.

    Args:
        path: A folder of labelled pictures, an archive of one, or a TOML file of sources.
        recipe: The preprocessing.
        labels: The form of the folder's labels, as `captcha_rt.labels.read_labels` takes it.
        characters: The charset's characters in order; None takes those of the labels, sorted.
        blank: Whether the charset has a blank.
        seed: The seed of the generators.
        watch: Shows the progress while a folder's pictures are read.
        validation: What validates, as `find_sources` takes it.
        fold_case: Whether labels and `characters` are folded to lower case.

    Raises:
        TrainingError: If the TOML file is not valid, or two sources give different shapes.
        FolderError, LabelError: As in `Source.read_labels`.
        CharsetError: If `characters` is no charset.
    """
    sources = find_sources(path, labels, validation=validation)
    sources = [replace(source, fold_case=fold_case) for source in sources]
    characters = compose_characters(characters, fold_case=fold_case) if characters else characters
    found = {s.name: s.read_labels() for s in sources if s.folder is not None}
    samples: list[Sample] = []
    skipped: list[tuple[str, str]] = []
    for source in sources:
        if source.folder is None:
            samples += _draw(source, recipe, seed)
            continue
        labelled = found[source.name]
        read, unusable = read_samples(
            labelled.items, source.folder, recipe, characters=characters, watch=watch
        )
        samples += [replace(s, name=source.name_of(s.name), source=source.name) for s in read]
        skipped += [(source.name_of(name), why) for name, why in (*labelled.problems, *unusable)]
    tensor_shape, usable, misfits = part_by_shape(samples)
    return Dataset(
        samples=usable,
        tensor_shape=tensor_shape,
        charset=Charset(characters or characters_of(usable), blank=0 if blank else None),
        skipped=(*skipped, *misfits),
        form=found[""].form if "" in found else "sources",  # "": a folder by itself
        labels="\n".join(_name_lines(found, lambda labels: (labels.description,))),
        settings={source.name: source.settings for source in sources},
        notes=_name_lines(found, lambda labels: labels.remarks),
    )


def _name_lines(
    found: Mapping[str, Labels], lines: Callable[[Labels], Iterable[str]]
) -> tuple[str, ...]:
    """Lines on the labels of each source, with its name in front if it has one."""
    return tuple(
        f"{name}: {line}" if name else line
        for name, labels in found.items()
        for line in lines(labels)
    )


def _draw(source: Source, recipe: Recipe, seed: int) -> list[Sample]:
    """Draws a generator's samples, each with its own seed."""
    from captcha_rt_train.generators import GENERATORS

    generate = GENERATORS[source.generator]

    def draw(index: int) -> Sample:
        label, picture = generate(np.random.default_rng([seed, index]))
        tensor = recipe.apply(picture)
        label = fold_label(label) if source.fold_case else label
        return Sample(None, source.name_of(str(index)), label, picture, tensor, source=source.name)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(draw, range(source.pictures)))


def _path(file: Path, written: str) -> Path:
    """A path in the TOML file: variables are replaced; relative paths start from its folder."""
    return file.parent / os.path.expandvars(written)
