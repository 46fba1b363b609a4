"""Folders of labelled pictures: finds out how they are labelled, and reads the labels.

The way in which a folder's pictures are labelled is called the form of the labels. A wrong guess
would train a network on wrong labels, without a warning. So a form is only chosen if no other form
fits the folder; otherwise the error lists the forms to choose from.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Final

from captcha_rt.errors import FolderError, LabelError
from captcha_rt.labels.beside import BESIDE, find_texts, read_texts
from captcha_rt.labels.files import (
    describe_refused,
    find_label_file,
    find_label_files,
    find_label_files_above,
    find_label_files_beside,
    read_label_file,
    read_label_files,
)
from captcha_rt.labels.matching import Tree
from captcha_rt.labels.names import find_names, find_out, read_names
from captcha_rt.labels.result import Labels, only_one
from captcha_rt.labels.stems import parse_form
from captcha_rt.pictures import (
    NO_PICTURES,
    describe_passed_over,
    find_pictures,
    list_visible,
    name_below,
    walk,
)

AUTO = "auto"
FORMS_HELP = (
    "How the pictures are labelled: auto finds it out; stem (226md.png); stem-first, before the "
    "first separator (226md-2.png); stem-last, after the last (17-226md.png); stem-first:_ names "
    "the separator; re:PATTERN, a regular expression whose group is the label; beside, in a text "
    "beside each picture (1.txt); or a file in the folder, .csv, .json, .jsonl or .txt, as FILE or "
    "FILE:COLUMN (labels.csv:text)."
)
_NAMED: Final = 5  # sub-folders, at most
_SPLIT_NAMES: Final = (("train", "training"), ("val", "valid", "validation", "dev", "test"))


def read_labels(folder: Path, form: str = AUTO, *, without: Collection[Path] = ()) -> Labels:
    """Reads the labels of the pictures in a folder.

    The pictures are in the folder itself. If there are none, they are in the only sub-folder with
    pictures (`images/` beside `labels.csv`), or where the paths in the label file lead. Other
    sub-folders are not searched: they often hold rejected pictures, or other pictures with the same
    names. Hidden files are no pictures. The copies that file managers make of a picture
    (`abcd (1).png` beside `abcd.png`) have its label; they are left out if their content is equal,
    too.

    With `auto`, a label file is preferred to texts beside the pictures, and these to file names, if
    at least half of its rows name pictures, or half of the pictures have a row.

    Args:
        folder: The folder.
        form: `auto`; `stem` (`226md.png`); `stem-first` or `stem-last`, the part before the first
            or after the last separator, a `-`, `_`, `.` or space; with a separator of its own as
            `stem-first:_`; `re:PATTERN`, where the pattern's only group finds the label in the
            name without the suffix; `beside`, in a text beside each picture, `1.txt` or `1.gt.txt`
            beside `1.png`; or a label file, such as `labels.csv`. `labels.csv:text` names the
            column of the labels. Without a header, the columns are counted from 1.
        without: Pictures and label files that are left out, without being listed.

    Returns:
        The labels, and what was skipped.

    Raises:
        FolderError: If the folder doesn't exist, can't be read, or holds no pictures.
        LabelError: If the form is unknown or doesn't fit, or if `auto` finds no form or several;
            the message lists the forms to choose from.
    """
    pictures, no_pictures = _pictures(folder)
    tree = Tree(folder, list(walk(folder)), pictures)
    left_out = {path.resolve() for path in without}  # two forms of a path are equal then
    stem_form = parse_form(form)
    if form == AUTO:
        labels, files = _find_form(tree, no_pictures, left_out)
    elif no_pictures is not None and (stem_form is not None or form == BESIDE):
        raise no_pictures
    elif stem_form is not None:
        labels, files = read_names(find_names(folder, pictures), stem_form), []
    elif form == BESIDE:
        labels = read_texts(tree, find_texts(tree, partly=True), partly=True)
        files = [*labels.files]
    else:
        there = [path for path in find_label_files(tree) if path.resolve() not in left_out]
        file, column = find_label_file(folder, there, form)
        if not file.is_relative_to(folder):
            # The file may be in a folder above: then its files are those of the folder, too.
            files_there = dict.fromkeys((*tree.files, *walk(file.parent)))
            tree = Tree(folder, list(files_there), pictures)
        labels, files = only_one(folder, read_label_file(tree, file, column)), [file]
    return _finish(labels, tree, files, left_out)


def _find_form(
    tree: Tree, no_pictures: FolderError | None, left_out: Collection[Path]
) -> tuple[Labels, list[Path]]:
    """Finds out how a folder is labelled, as `read_labels` does with `auto`.

    Args:
        tree: The folder.
        no_pictures: The error to raise if names have to give the labels, and there are none.
        left_out: The resolved paths of files that are not looked at.

    Returns:
        The labels, and the label files that were looked at.

    Raises:
        FolderError: As given.
        LabelError: If no form fits, or several.
    """
    texts = find_texts(tree)
    skipped = {*texts.values()}

    def read(files: Sequence[Path]) -> tuple[list[Labels], list[tuple[Path, str]]]:
        kept = [path for path in files if path not in skipped and path.resolve() not in left_out]
        return read_label_files(tree, kept)

    found, refused = read(find_label_files(tree))
    if texts and not found:
        try:
            found = [read_texts(tree, texts)]
        except LabelError as error:
            refused.append((next(iter(texts.values())), str(error)))
    if not found:
        found, refused_beside = read(find_label_files_beside(tree))
        refused += refused_beside
    not_used = describe_refused(tree, refused)
    if found:
        labels = only_one(tree.folder, found)
    elif no_pictures is not None:
        raise no_pictures
    else:
        above, _ = read(find_label_files_above(tree))
        labels = find_out(find_names(tree.folder, tree.pictures), not_used, above)
    files = [*dict(refused), *(file for each in found for file in each.files)]
    return replace(labels, problems=(*not_used, *labels.problems)), files


def pictures_of(folder: Path) -> list[Path]:
    """Finds the pictures of a folder, or of its only sub-folder with pictures if it has none.

    Args:
        folder: The folder.

    Returns:
        The paths, sorted by name; at least one.

    Raises:
        FolderError: If there are no pictures.
    """
    found, no_pictures = _pictures(folder)
    if no_pictures is not None:
        raise no_pictures
    return found


def _pictures(folder: Path) -> tuple[list[Path], FolderError | None]:
    """Finds the pictures as `pictures_of` does; otherwise returns the error, not raised."""
    try:
        return find_pictures(folder), None
    except FolderError as error:
        if not folder.is_dir():
            raise
        below: dict[str, list[Path]] = {}
        folders = [path for path in list_visible(folder) if path.is_dir()]
        for path in folders:
            try:
                below[path.name] = find_pictures(path)
            except FolderError:  # no pictures, or not readable
                continue
        if len(below) == 1:
            return next(iter(below.values())), None
        message = str(error)
        if below:
            names = [*below][:_NAMED]
            shown = ", ".join([*names, "..."] if len(below) > _NAMED else names)
            message = f"{NO_PICTURES} {folder}; its sub-folders {shown} hold some: name one"
        if len(below) > _NAMED:
            message += (
                f"; or list the pictures of all in {folder / 'labels.csv'}, "
                "with the columns filename (a/1.png) and label"
            )
        train, held_back = ([p for p in folders if p.name.lower() in n] for n in _SPLIT_NAMES)
        if train and held_back:
            parts = f"{quote(str(train[0]))} --validation {quote(str(held_back[0]))}"
            message += f", or train on both: captcha-rt train {parts}"
        return [], FolderError(message)


def _finish(
    labels: Labels, tree: Tree, files: Sequence[Path], left_out: Collection[Path]
) -> Labels:
    """Leaves out what is to be left out, and adds the notes.

    Raises:
        LabelError: If no picture is left.
    """
    hidden = {p for p in tree.files if p.resolve() in left_out} if left_out else set()
    items = tuple((path, label) for path, label in labels.items if path not in hidden)
    if not items:
        raise LabelError(f"no labelled picture in {tree.folder} is left")
    names = {name_below(path, tree.folder) for path in hidden}
    problems = tuple(problem for problem in labels.problems if problem[0] not in names)
    folders = {path.parent for path, _ in labels.items} - {path.parent for path in tree.pictures}
    used = {*tree.pictures, *files, *hidden}
    used |= {path for folder in folders for path in find_pictures(folder)}
    notes = (*labels.notes, describe_passed_over(tree.files, used, tree.folder))
    return replace(
        labels,
        items=items,
        problems=problems,
        notes=tuple(filter(None, notes)),
        files=tuple(files),
    )
