"""Label files of a folder: finds them, reads them, and says why some are not used."""

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from unicodedata import normalize

from captcha_rt.errors import FolderError, LabelError
from captcha_rt.labels.matching import Tree, match
from captcha_rt.labels.result import Labels
from captcha_rt.labels.stems import FIRST, LAST, STEM_FORMS
from captcha_rt.labels.tables import TABLE_SUFFIXES, Table, read_tables
from captcha_rt.labels.texts import FOREIGN_SUFFIXES, is_name, read_text
from captcha_rt.pictures import is_picture, list_visible, name_below, stem_of

_SMALL: Final = 2**20  # bytes of a label file beside a folder, at most
_SUFFIXES: Final = TABLE_SUFFIXES | FOREIGN_SUFFIXES.keys()


def find_label_files(tree: Tree) -> list[Path]:
    """Finds the files that may hold labels, in the folder itself and in the pictures' folder."""
    folders = {tree.folder, *(path.parent for path in tree.pictures)}
    return sorted(path for folder in folders for path in _label_files_in(folder))


def find_label_files_beside(tree: Tree) -> list[Path]:
    """Finds those in folders beside that of the pictures: `annotations` beside `images`."""
    here = {path.parent for path in tree.pictures}
    if tree.folder in here:
        return []
    folders = {path for path in list_visible(tree.folder) if path.is_dir()} - here
    return sorted(path for folder in folders for path in _label_files_in(folder))


def find_label_files_above(tree: Tree) -> list[Path]:
    """Finds those beside the folder, `labels.csv` beside `images`.

    Nobody has named that folder, which may hold anything: texts and large files aren't read, and
    answers of `captcha-rt solve` are no labels.
    """
    return [
        path
        for path in _label_files_in(tree.folder.resolve().parent)
        if path.suffix.lower() in TABLE_SUFFIXES - {".txt"} and _may_be_labels(path)
    ]


def _may_be_labels(path: Path) -> bool:
    """Whether a file beside the folder can be read, is small, and holds no answers."""
    try:
        return path.stat().st_size <= _SMALL and b'"confidence"' not in path.read_bytes()
    except OSError:
        return False


def _label_files_in(folder: Path) -> list[Path]:
    try:
        paths = list_visible(folder)
    except FolderError:  # it can't be read
        return []
    return [
        path
        for path in paths
        if path.suffix.lower() in _SUFFIXES and path.name.lower() != "thumbs.db"
        if path.is_file() and not is_picture(path)
    ]


def find_label_file(folder: Path, files: Sequence[Path], form: str) -> tuple[Path, str]:
    """Finds the label file and the column that a form names.

    Raises:
        LabelError: If there is no such file.
    """
    for name, column in ((form, ""), form.rpartition(":")[::2]):
        for path in (folder / name, Path(name)):
            if path.suffix.lower() in _SUFFIXES and os.path.isfile(path):  # noqa: PTH113  (never raises)
                # A path inside the folder is named from the folder on, as those of the pictures.
                below = path.resolve()
                if below.is_relative_to(folder.resolve()):
                    path = folder / below.relative_to(folder.resolve())
                return path, column
    names = ", ".join(name_below(file, folder) for file in files)
    raise LabelError(
        f"no such form of labels: {form!r}; there are auto, {', '.join(STEM_FORMS)}, "
        f"{FIRST}:SEPARATOR, {LAST}:SEPARATOR, re:PATTERN, beside, and label files in {folder}: "
        f"{names or 'none'}"
    )


def read_label_files(
    tree: Tree, files: Sequence[Path]
) -> tuple[list[Labels], list[tuple[Path, str]]]:
    """Reads each label column of each file; also returns the files that don't fit, with reasons.

    Texts that are not meant as labels are neither.
    """
    found: list[Labels] = []
    refused: list[tuple[Path, str]] = []
    names = {normalize("NFC", name) for p in tree.pictures for name in (p.name, stem_of(p))}
    for file in files:
        try:
            candidates = read_label_file(tree, file, None)
        except LabelError as error:
            if file.suffix.lower() != ".txt" or _is_meant_as_labels(file, tree.pictures, names):
                refused.append((file, str(error)))
        else:
            found += candidates
    return found, refused


def read_label_file(tree: Tree, file: Path, column: str | None) -> list[Labels]:
    """Reads each label column of a file.

    Args:
        tree: The pictures that rows may name.
        file: The label file.
        column: The only column to read; `""` or None reads all columns. Only with None, columns of
            which few rows fit are refused.

    Returns:
        The labels in each column that fits; at least one.

    Raises:
        LabelError: If no column fits. The message says why the likeliest column doesn't.
    """
    name = name_below(file, tree.folder)
    tables = read_tables(file, column or "")
    if column:
        columns = list(dict.fromkeys(table.column for table in tables))
        tables = [table for table in tables if table.column == column]
        if not tables:
            raise LabelError(f"no label column {column!r} in {name}; there are {columns}")
    found: dict[str, Labels] = {}
    reasons: list[str] = []
    refused: set[str] = set()  # columns of labels beside names that lead nowhere
    for table in tables:
        if table.column in found:  # read before, with a likelier file column
            continue
        if table.column in refused and not _holds_names(table):  # numbers would fit by chance
            continue
        if table is not tables[0] and table.by_order:
            # The first table takes the first row as a header, this one as a label. A wrong choice
            # would shift all labels by a row.
            if found and len(tables[0].rows) == len(tree.pictures):
                continue
            if not found:
                raise LabelError(
                    f"{tables[0].source}: {reasons[0]}; if its first row is a label, too, "
                    f"--labels {name}:{table.column}"
                )
        try:
            items, problems = match(table, tree, partly=column is not None)
        except LabelError as error:
            reasons.append(str(error))
            if _holds_names(table):
                refused.add(table.column)
        else:
            found[table.column] = Labels(
                f"{name}:{table.column}", table.source, items, problems, files=(file,)
            )
    candidates = [labels for labels in found.values() if labels.items]
    if not candidates:
        first = next((f": {why}" for labels in found.values() for _, why in labels.problems), "")
        raise LabelError(
            reasons[0] if reasons else f"no row of {name} gives a picture a label{first}"
        )
    if len(candidates) == 1 and not column:
        return [replace(candidates[0], form=name)]
    return candidates


def describe_refused(tree: Tree, refused: Sequence[tuple[Path, str]]) -> list[tuple[str, str]]:
    """Says why label files are not used; of many files of a kind, only the first are named."""
    found: list[tuple[str, str]] = []
    kinds = Counter(file.suffix.lower() for file, _ in refused)
    seen: Counter[str] = Counter()
    for file, reason in refused:
        suffix = file.suffix.lower()
        seen[suffix] += 1
        if seen[suffix] <= 2 or kinds[suffix] <= 3:
            found.append((name_below(file, tree.folder), f"not used: {reason}"))
        elif seen[suffix] == 3:
            found.append((f"{kinds[suffix] - 2} more {suffix} files", "not used either"))
    return found


def _holds_names(table: Table) -> bool:
    """Whether the column of names says by the suffixes that it is one."""
    return not table.by_order and 2 * sum(is_name(row.file) for row in table.rows) > len(table.rows)


def _is_meant_as_labels(file: Path, pictures: Sequence[Path], names: Collection[str]) -> bool:
    """Whether a text that isn't read has a line for each picture, or a line begins with a name."""
    try:
        lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    except LabelError:  # in an unknown encoding
        return True
    starts = {re.split(r"[\s,;:|=]", normalize("NFC", line))[0] for line in lines}
    return len(lines) == len(pictures) > 1 or not starts.isdisjoint(names)
