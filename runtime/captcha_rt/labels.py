"""Folders of labelled pictures: finds out how the labels are written, and reads them.

A wrong guess would train on wrong labels without a word. So a form is taken only if it is the one
that fits the whole folder; otherwise the error lists what to choose from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from captcha_rt.errors import FolderError, LabelError
from captcha_rt.matching import match
from captcha_rt.pictures import find_pictures, name_below
from captcha_rt.stems import STEM, STEM_FORMS, form_of, has_separator, label_in
from captcha_rt.tables import TABLE_SUFFIXES, read_tables

AUTO = "auto"
FORMS_HELP = (
    "How the pictures are labelled: auto (found out); stem (226md.png); stem-first, before the "
    "first -, _ or . (226md-2.png); stem-last, after the last (17-226md.png); or a file in the "
    "folder, .csv, .jsonl or .txt with tabs, as FILE or FILE:COLUMN (labels.csv:text)."
)


@dataclass(frozen=True, slots=True)
class Labels:
    """A folder's labelled pictures.

    Attributes:
        form: How they are labelled, as `read_labels` takes it: `stem`, `labels.csv`, ...
        source: The same for people.
        items: The pictures with their labels, which are not empty, sorted by path; at least one.
        problems: Pictures (from the folder on) and rows (`labels.csv:17`) that were left out,
            each with its reason.
    """

    form: str
    source: str
    items: tuple[tuple[Path, str], ...]
    problems: tuple[tuple[str, str], ...]

    @property
    def description(self) -> str:
        """One line: where the labels are from, and how many there are."""
        problems = f", {len(self.problems)} problems" if self.problems else ""
        return f"labels: from {self.source}; {len(self.items)} pictures{problems}"


def read_labels(folder: Path, form: str = AUTO) -> Labels:
    """Reads the labels of a folder's pictures.

    Pictures lie in the folder itself. If it holds none, they lie in its only sub-folder that does
    (`images/` beside `labels.csv`), or wherever the paths in its label file lead. Other sub-folders
    are not entered: they often hold what was sorted out, or another set's pictures of the same
    names.

    With `auto`, a label file that fits at least half of its rows or of the pictures comes before
    file names.

    Args:
        folder: The folder.
        form: `auto`; `stem` (`226md.png`); `stem-first` and `stem-last`, the part before the
            first and after the last `-`, `_` or `.`; or a label file in the folder, `labels.csv`
            or, of several label columns, `labels.csv:text` (counted from 1 without a header).

    Raises:
        FolderError: If the folder is none, can't be read or holds no pictures.
        LabelError: If the form is unknown or doesn't fit, or if `auto` finds several that do, or
            none; the message lists what to choose from.
    """
    pictures, nothing = _pictures(folder)
    if form in STEM_FORMS or form == AUTO:
        files = _label_files(folder, pictures) if form == AUTO else []
        found, refused = _from_files(folder, pictures, files)
        if found:
            return _only_one(folder, found)
        if nothing is not None:
            raise nothing
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
    """The pictures of a folder, or of its only sub-folder with any.

    Raises:
        FolderError: If there are none.
    """
    found, nothing = _pictures(folder)
    if nothing is not None:
        raise nothing
    return found


def _pictures(folder: Path) -> tuple[list[Path], FolderError | None]:
    """The pictures of the folder, or of its only sub-folder with any; else why there are none."""
    try:
        return find_pictures(folder), None
    except FolderError as error:
        if not folder.is_dir():
            raise
        below: dict[str, list[Path]] = {}
        for path in sorted(p for p in _entries(folder) if p.is_dir()):
            try:
                below[path.name] = find_pictures(path)
            except FolderError:  # none there, or not to be read
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
    """The files that may hold labels, in the folder and in that of the pictures."""
    folders = sorted({folder, *(path.parent for path in pictures)})
    paths = (path for parent in folders for path in _entries(parent))
    return sorted(p for p in paths if p.suffix.lower() in TABLE_SUFFIXES and p.is_file())


def _from_files(
    folder: Path, pictures: Sequence[Path], files: Sequence[Path]
) -> tuple[list[Labels], list[tuple[str, str]]]:
    """What each label column of each file makes of the pictures, and why others make nothing."""
    found: list[Labels] = []
    refused: list[tuple[str, str]] = []
    for file in files:
        try:
            readings = _from_file(folder, pictures, file, None)
        except LabelError as error:
            refused.append((name_below(file, folder), str(error)))
        else:
            found += readings
    return found, refused


def _from_file(
    folder: Path, pictures: Sequence[Path], file: Path, column: str | None
) -> list[Labels]:
    """What each label column makes of the pictures.

    Args:
        folder: The folder.
        pictures: Where names are looked for.
        file: The label file.
        column: The only label column to try, and then if little fits; "" is any, None any that
            fits well.

    Raises:
        LabelError: If none fits; with the reason of the likeliest.
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
        if table.column in found:  # by a likelier file column
            continue
        if table is not tables[0] and table.by_order:
            # Below a header; without one it would shift all labels by a row.
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
    readings = [labels for labels in found.values() if labels.items]
    if not readings:
        raise LabelError(reasons[0] if reasons else f"no row of {name} gives a picture a label")
    if len(readings) == 1 and not column:
        return [replace(readings[0], form=name)]
    return readings


def _only_one(folder: Path, found: Sequence[Labels]) -> Labels:
    """The labels that all of them give; several label files may say the same."""
    if len({labels.items for labels in found}) == 1:
        return found[0]
    raise _undecided(folder, found, "several label files or columns fit")


def _from_stems(
    folder: Path, pictures: Sequence[Path], form: str, refused: Sequence[tuple[str, str]]
) -> Labels:
    """The labels that file names hold; `refused` are label files that can't be used."""
    stems = [path.stem for path in pictures]
    chosen = form_of(stems) if form == AUTO else form
    if chosen is None:
        forms = STEM_FORMS if any(map(has_separator, stems)) else (STEM,)
        readings = [_read_stems(folder, pictures, f) for f in forms]
        reasons = "".join(f"; {name} is of no use: {why}" for name, why in refused)
        raise _undecided(
            folder, readings, f"the file names leave open what the labels are{reasons}"
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
    """Reads stems; if strict, those with a separator among others without are left out."""
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
    choices = [
        f"--labels {labels.form} ({labels.items[0][0].name} shows {labels.items[0][1]!r})"
        for labels in found
        if labels.items
    ]
    return LabelError(f"{folder}: {what}; choose one: {', '.join(choices)}")
