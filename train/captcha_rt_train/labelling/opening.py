"""Opens a folder to label it: its pictures, the labels that they have, and the file to keep up."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Final

from captcha_rt.archives import is_archive
from captcha_rt.errors import FolderError, LabelError
from captcha_rt.labels import AUTO, NO_ROW, Labels, parse_form, pictures_of, read_labels
from captcha_rt.labels.beside import BESIDE
from captcha_rt.labels.files import find_label_file, find_label_files, read_label_files
from captcha_rt.labels.matching import Tree
from captcha_rt.labels.stems import structure
from captcha_rt.pictures import find_pictures, name_below, stem_of, walk
from captcha_rt_train.labelling.table import LabelTable, new_table, read_table, unwritable

NO_LABELS: Final = "none"
"""The form of labels that doesn't look for any."""

_NO_LABEL: Final = "no label in"  # so begin the reasons of `read_labels`
_NOT_USED: Final = "not used"

LABEL_FILE: Final = "labels.csv"
"""The label file in a folder whose labels aren't in a CSV yet."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A folder to label.

    Attributes:
        folder: The folder.
        pictures: Each picture's path below the folder, and its path; sorted, at least one.
        labels: The labels by the pictures' paths below the folder; none is empty.
        empty: The pictures that have a row without a label.
        table: The label file to keep up.
        source: Where the labels come from, in words; empty if there are none.
        notes: Lines on what was noticed.
    """

    folder: Path
    pictures: tuple[tuple[str, Path], ...]
    labels: dict[str, str]
    empty: frozenset[str]
    table: LabelTable
    source: str
    notes: tuple[str, ...] = ()


def open_folder(folder: Path, form: str = AUTO, out: Path | None = None) -> Opened:
    """Opens a folder.

    The labels are kept up in the CSV that they come from; otherwise in a new `labels.csv`, which
    starts with all labels that the folder has.

    Args:
        folder: The folder of pictures.
        form: How the pictures are labelled, as `read_labels` takes it, or `none`.
        out: The label file to keep up, in place of that one. If it exists, it holds the labels.

    Raises:
        FolderError: If there is no such folder, or it holds no pictures.
        LabelError: If the labels could be read in several ways, or their file can't be kept up. The
            message says what to type.
    """
    if is_archive(folder):
        raise FolderError(
            f"{folder} is an archive: unpack it, and name the folder, where the labels are kept"
        )
    if out is not None and out.suffix.lower() != ".csv":
        raise LabelError(f"-o {out}: labels are written as CSV: name a .csv file")
    if out is not None and not out.parent.is_dir():
        raise FolderError(f"not a folder: {out.parent}")
    if out is not None and out.exists():
        form = str(out.resolve())
    labels = _read(folder, form)
    pictures, tree = _pictures(folder, labels)
    table, empty = _table(tree, form, labels, out)
    found = {name_below(path, folder): label for path, label in labels.items} if labels else {}
    left_out = {*unwritable([name for name, _ in pictures])}
    shown = tuple((name, path) for name, path in pictures if name not in left_out)
    if not shown:
        raise FolderError(f"the names of the pictures in {folder} can't be written into a CSV")
    names = {name for name, _ in shown}
    found = {name: label for name, label in found.items() if name in names}
    notes = _notes(folder, form, labels, [path for _, path in pictures])
    if left_out:
        notes.append(
            f"{len(left_out)} pictures are left out, since a row can't name them: rename "
            f"{min(left_out)!r}"
        )
    source = labels.source if labels else ""
    return Opened(folder, shown, found, frozenset(empty & names), table, source, tuple(notes))


def _notes(folder: Path, form: str, labels: Labels | None, pictures: Sequence[Path]) -> list[str]:
    """Says where the labels may be wrong."""
    if labels is None:
        parted = sum(bool(structure(stem_of(path))) for path in pictures)
        if form == AUTO and 2 * parted > len(pictures):  # `17-abcd.png`, but also `img_0017.png`
            return ["if the file names hold labels, say where: --labels stem-last or stem-first"]
        return []
    notes = []
    if form == AUTO and parse_form(labels.form) is not None:
        notes.append("the file names are taken for labels; if they are none: --labels none")
    # What has no label yet is what the page is for.
    expected = (NO_ROW, _NO_LABEL, _NOT_USED)
    problems = [name for name, why in labels.problems if not why.startswith(expected)]
    if problems:
        notes.append(
            f"{len(problems)} labels don't fit, {problems[0]} first; all of them: "
            f"captcha-rt dataset {quote(str(folder))}"
        )
    return notes


def read_again(opened: Opened) -> LabelTable:
    """Reads the label file anew, since another program has changed it.

    Raises:
        LabelError: If it can't be kept up any more.
    """
    folder = opened.folder
    tree = Tree(folder, list(walk(folder)), _found(folder))
    return read_table(opened.table.path, tree, opened.table.column, opened.source)


def form_for_others(opened: Opened, labels: Sequence[tuple[Path, str]]) -> str:
    """Returns the form that other commands need to read these labels; empty if they need none.

    Args:
        opened: The folder.
        labels: The pictures with their labels, sorted by path.
    """
    try:
        if read_labels(opened.folder).items == tuple(labels):
            return ""
    except LabelError:
        pass
    path = opened.table.path
    return name_below(path.resolve(), opened.folder.resolve())


def _read(folder: Path, form: str) -> Labels | None:
    """Reads the labels; None if the folder has none.

    Raises:
        LabelError: If the labels could be read in several ways, or don't have the given form.
    """
    if form == NO_LABELS:
        return None
    try:
        return read_labels(folder, form)
    except LabelError:
        if form != AUTO:
            if not (folder / form).is_file() or not _is_empty(folder / form, folder):
                raise
            return None
        tree = Tree(folder, list(walk(folder)), _found(folder))
        found, _ = read_label_files(tree, find_label_files(tree))
        if found:  # several files or columns fit
            raise
        return None


def _label_file(folder: Path, form: str) -> tuple[Path | None, str]:
    """The label file that a form names, and its column; None if the form is about names."""
    if form in (AUTO, NO_LABELS, BESIDE) or parse_form(form) is not None:
        return None, ""
    return find_label_file(folder, (), form)


def _is_empty(file: Path, folder: Path) -> bool:
    """Whether a label file can be kept up, but holds no label yet."""
    try:
        table = read_table(file, Tree(folder, list(walk(folder)), _found(folder)))
    except LabelError:
        return False
    return not any(table.labels.values())


def _found(folder: Path) -> list[Path]:
    """The pictures in a folder or its only sub-folder with pictures; may be none."""
    try:
        return pictures_of(folder)
    except FolderError:
        if not folder.is_dir():
            raise
        return []


def _pictures(folder: Path, labels: Labels | None) -> tuple[list[tuple[str, Path]], Tree]:
    """Finds the pictures: those in the folder, or where the paths in the label file lead."""
    pictures = _found(folder)
    if labels is not None:
        parents = {path.parent for path, _ in labels.items} - {path.parent for path in pictures}
        pictures = [*pictures, *(path for parent in parents for path in find_pictures(parent))]
    if not pictures:
        pictures_of(folder)  # raises the error that says where pictures are
    paths = sorted(pictures)
    tree = Tree(folder, list(walk(folder)), _found(folder))
    return [(name_below(path, folder), path) for path in paths], tree


def _check_table(path: Path, tree: Tree) -> None:
    """Says what is wrong with a label file that can't be read.

    Raises:
        LabelError: If it can't be.
    """
    try:
        read_table(path, tree)
    except LabelError as error:
        raise LabelError(f"{error}; mend it, or name another file with -o") from error


def _table(
    tree: Tree, form: str, labels: Labels | None, out: Path | None
) -> tuple[LabelTable, set[str]]:
    """Opens the label file to keep up; also returns the pictures with a row without a label."""
    folder = tree.folder
    if out is not None and not out.exists():
        return new_table(out, folder), set()
    file, column = _label_file(folder, labels.form if labels else form)
    if labels is not None and file is not None:
        table = read_table(file, tree, column, labels.source)
    else:
        path = file or folder / LABEL_FILE
        if not path.exists():
            return new_table(path, folder), set()
        if form == NO_LABELS or not _is_empty(path, folder):
            if form != NO_LABELS:
                _check_table(path, tree)
            raise LabelError(
                f"{path} is there, but its labels are not used: name another file with -o, or the "
                f"labels with --labels {path.name}"
            )
        table = read_table(path, tree)
    return table, {name for name, label in table.labels.items() if not label}
