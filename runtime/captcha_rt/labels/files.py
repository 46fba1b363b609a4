"""Label files of a folder: finds them, reads them, and says why some are not used."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from unicodedata import normalize

from captcha_rt.errors import LabelError
from captcha_rt.labels.matching import Tree, match
from captcha_rt.labels.result import Labels
from captcha_rt.labels.stems import FIRST, LAST, STEM_FORMS
from captcha_rt.labels.tables import FOREIGN_SUFFIXES, TABLE_SUFFIXES, read_tables, read_text
from captcha_rt.pictures import is_picture, list_visible, name_below, stem_of

_SUFFIXES: Final = TABLE_SUFFIXES | FOREIGN_SUFFIXES.keys()


def find_label_files(tree: Tree) -> list[Path]:
    """Finds the files that may hold labels, in the folder itself and in the pictures' folder."""
    folders = sorted({tree.folder, *(path.parent for path in tree.pictures)})
    paths = (path for parent in folders for path in list_visible(parent))
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in _SUFFIXES and path.name.lower() != "thumbs.db"
        if path.is_file() and not is_picture(path)
    )


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
        f"{FIRST}:SEPARATOR, {LAST}:SEPARATOR, re:PATTERN, and label files in {folder}: "
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
    for file in files:
        try:
            candidates = read_label_file(tree, file, None)
        except LabelError as error:
            if file.suffix.lower() != ".txt" or _is_meant_as_labels(file, tree.pictures):
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
    tables = read_tables(file)
    if column:
        columns = list(dict.fromkeys(table.column for table in tables))
        tables = [table for table in tables if table.column == column]
        if not tables:
            raise LabelError(f"no label column {column!r} in {name}; there are {columns}")
    found: dict[str, Labels] = {}
    reasons: list[str] = []
    for table in tables:
        if table.column in found:  # read before, with a likelier file column
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


def _is_meant_as_labels(file: Path, pictures: Sequence[Path]) -> bool:
    """Whether a text that isn't read has a line for each picture, or a line begins with a name."""
    try:
        lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    except LabelError:  # in an unknown encoding
        return True
    names = {normalize("NFC", name) for path in pictures for name in (path.name, stem_of(path))}
    starts = {re.split(r"[\s,;:|=]", normalize("NFC", line))[0] for line in lines}
    return len(lines) == len(pictures) > 1 or not starts.isdisjoint(names)
