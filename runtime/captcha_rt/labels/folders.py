"""Folders of labelled pictures: finds out how they are labelled, and reads the labels.

The way in which a folder's pictures are labelled is called the form of the labels. A wrong guess
would train a network on wrong labels, without a warning. So a form is only chosen if no other form
fits the folder; otherwise the error lists the forms to choose from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from captcha_rt.errors import FolderError, LabelError
from captcha_rt.labels.matching import match
from captcha_rt.labels.stems import STEM, STEM_FORMS, form_of, has_separator, label_in
from captcha_rt.labels.tables import TABLE_SUFFIXES, read_tables
from captcha_rt.pictures import find_pictures, name_below

AUTO = "auto"
FORMS_HELP = (
    "How the pictures are labelled: auto finds it out; stem (226md.png); stem-first, before the "
    "first -, _ or . (226md-2.png); stem-last, after the last (17-226md.png); or a file in the "
    "folder, .csv, .jsonl or .txt with tabs, as FILE or FILE:COLUMN (labels.csv:text)."
)


@dataclass(frozen=True, slots=True)
class Labels:
    """The labelled pictures of a folder.

    Attributes:
        form: The form of the labels, as `read_labels` takes it: `stem`, `labels.csv`, ...
        source: The form in words.
        items: The pictures' paths with their labels, sorted by path; at least one, and no label is
            empty.
        problems: What was skipped, each with the reason: pictures by their path below the folder,
            rows such as `labels.csv:17`, and label files that could not be used.
    """

    form: str
    source: str
    items: tuple[tuple[Path, str], ...]
    problems: tuple[tuple[str, str], ...]

    @property
    def description(self) -> str:
        """One line that says where the labels are from, and how many pictures have a label."""
        problems = f", {len(self.problems)} problems" if self.problems else ""
        return f"labels: from {self.source}; {len(self.items)} pictures{problems}"


def read_labels(folder: Path, form: str = AUTO) -> Labels:
    """Reads the labels of the pictures in a folder.

    The pictures are in the folder itself. If there are none, they are in the only sub-folder with
    pictures (`images/` beside `labels.csv`), or where the paths in the label file lead. Other
    sub-folders are not searched: they often hold rejected pictures, or other pictures with the same
    names.

    With `auto`, a label file is preferred to file names if at least half of its rows name pictures,
    or half of the pictures have a row.

    Args:
        folder: The folder.
        form: `auto`; `stem` (`226md.png`); `stem-first` or `stem-last`, the part before the first
            or after the last `-`, `_` or `.`; or a label file in the folder, such as `labels.csv`.
            If the file has several label columns, `labels.csv:text` names one. Without a header,
            the columns are counted from 1.

    Returns:
        The labels, and what was skipped.

    Raises:
        FolderError: If the folder doesn't exist, can't be read, or holds no pictures.
        LabelError: If the form is unknown or doesn't fit, or if `auto` finds no form or several;
            the message lists the forms to choose from.
    """
    pictures, no_pictures = _pictures(folder)
    if form in STEM_FORMS or form == AUTO:
        files = _label_files(folder, pictures) if form == AUTO else []
        found, refused = _from_files(folder, pictures, files)
        if found:
            return _only_one(folder, found)
        if no_pictures is not None:
            raise no_pictures
        return _from_stems(folder, pictures, form, refused)
    files = _label_files(folder, pictures)
    names = {name_below(file, folder): file for file in files}
    name, _, column = (form, "", "") if form in names else form.rpartition(":")
    if name not in names:
        raise LabelError(
            f"no such form of labels: {form!r}; there are {AUTO}, {', '.join(STEM_FORMS)}, and "
            f"label files in {folder}: {', '.join(names) or 'none'}"
        )
    return _only_one(folder, _from_file(folder, pictures, names[name], column))


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
        for path in sorted(p for p in _entries(folder) if p.is_dir()):
            try:
                below[path.name] = find_pictures(path)
            except FolderError:  # no pictures, or not readable
                continue
        if len(below) == 1:
            return next(iter(below.values())), None
        hint = f"; its sub-folders {', '.join(below)} hold some: name one" if below else ""
        return [], FolderError(f"{error}{hint}")


def _entries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise FolderError(f"can't read the folder {folder}: {error.strerror}") from error


def _label_files(folder: Path, pictures: Sequence[Path]) -> list[Path]:
    """Finds the files that may hold labels, in the folder itself and in the pictures' folder."""
    folders = sorted({folder, *(path.parent for path in pictures)})
    paths = (path for parent in folders for path in _entries(parent))
    return sorted(p for p in paths if p.suffix.lower() in TABLE_SUFFIXES and p.is_file())


def _from_files(
    folder: Path, pictures: Sequence[Path], files: Sequence[Path]
) -> tuple[list[Labels], list[tuple[str, str]]]:
    """Reads each label column of each file; also returns the files that don't fit, with reasons."""
    found: list[Labels] = []
    refused: list[tuple[str, str]] = []
    for file in files:
        try:
            candidates = _from_file(folder, pictures, file, None)
        except LabelError as error:
            refused.append((name_below(file, folder), str(error)))
        else:
            found += candidates
    return found, refused


def _from_file(
    folder: Path, pictures: Sequence[Path], file: Path, column: str | None
) -> list[Labels]:
    """Reads each label column of a file.

    Args:
        folder: The folder.
        pictures: The pictures that rows may name.
        file: The label file.
        column: The only column to read; `""` or None reads all columns. Only with None, columns of
            which few rows fit are refused.

    Returns:
        The labels in each column that fits; at least one.

    Raises:
        LabelError: If no column fits. The message says why the likeliest column doesn't.
    """
    name = name_below(file, folder)
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
            if found and len(tables[0].rows) == len(pictures):
                continue
            if not found:
                raise LabelError(
                    f"{tables[0].source}: {reasons[0]}; if its first row is a label, too, "
                    f"--labels {name}:{table.column}"
                )
        try:
            items, problems = match(table, folder, pictures, partly=column is not None)
        except LabelError as error:
            reasons.append(str(error))
        else:
            found[table.column] = Labels(f"{name}:{table.column}", table.source, items, problems)
    candidates = [labels for labels in found.values() if labels.items]
    if not candidates:
        raise LabelError(reasons[0] if reasons else f"no row of {name} gives a picture a label")
    if len(candidates) == 1 and not column:
        return [replace(candidates[0], form=name)]
    return candidates


def _only_one(folder: Path, found: Sequence[Labels]) -> Labels:
    """Returns the labels if all candidates agree: two label files may hold the same labels."""
    if len({labels.items for labels in found}) == 1:
        return found[0]
    raise _undecided(folder, found, "several label files or columns fit")


def _from_stems(
    folder: Path, pictures: Sequence[Path], form: str, refused: Sequence[tuple[str, str]]
) -> Labels:
    """Reads the labels in file names; `refused` are label files that don't fit, with reasons."""
    stems = [path.stem for path in pictures]
    chosen = form_of(stems) if form == AUTO else form
    if chosen is None:
        forms = STEM_FORMS if any(map(has_separator, stems)) else (STEM,)
        candidates = [_read_stems(folder, pictures, f) for f in forms]
        reasons = "".join(f"; {name} is of no use: {why}" for name, why in refused)
        raise _undecided(
            folder, candidates, f"the file names leave open what the labels are{reasons}"
        )
    if chosen != STEM and not any(map(has_separator, stems)):
        raise LabelError(
            f"--labels {chosen}: no file name in {folder} has a -, _ or ., as in "
            f"{pictures[0].name}; --labels {STEM} takes the whole name"
        )
    labels = _read_stems(folder, pictures, chosen, strict=form == AUTO)
    unused = [(name, f"not used: {why}") for name, why in refused if not name.endswith(".txt")]
    if not labels.items:
        raise LabelError(f"no file name in {folder} holds a label: {labels.problems[0]}")
    return replace(labels, problems=(*unused, *labels.problems))


def _read_stems(
    folder: Path, pictures: Sequence[Path], form: str, *, strict: bool = False
) -> Labels:
    """Reads labels in stems. If `strict`, the form `stem` skips the few stems with a separator."""
    items: list[tuple[Path, str]] = []
    problems: list[tuple[str, str]] = []
    for path in pictures:
        label = label_in(path.stem, form)
        if label is None:
            problems.append((name_below(path, folder), "no -, _ or . in its name"))
        elif strict and form == STEM and has_separator(path.stem):
            reason = "a -, _ or . in its name, unlike most; --labels stem takes it as it is"
            problems.append((name_below(path, folder), reason))
        elif not label:
            problems.append((name_below(path, folder), "empty label"))
        else:
            items.append((path, label))
    return Labels(form, STEM_FORMS[form], tuple(items), tuple(problems))


def _undecided(folder: Path, found: Sequence[Labels], what: str) -> LabelError:
    """Makes the error that lists the forms to choose from."""
    choices = [
        f"--labels {labels.form} ({labels.items[0][0].name} shows {labels.items[0][1]!r})"
        for labels in found
        if labels.items
    ]
    return LabelError(f"{folder}: {what}; choose one: {', '.join(choices)}")
