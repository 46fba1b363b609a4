"""The label file that the page keeps up: a CSV whose other rows and columns stay as they are."""

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from unicodedata import normalize

from captcha_rt.errors import LabelError
from captcha_rt.files import write_atomically
from captcha_rt.labels.matching import Tree, pair_rows
from captcha_rt.labels.tables import Row, Table, read_tables
from captcha_rt.labels.texts import clean, encoding_of, find_delimiter, read_text
from captcha_rt.pictures import name_below

SUFFIXES: Final = (".csv", ".tsv")
"""The suffixes of the files that can be kept up."""

HEADER: Final = ("filename", "label")


@dataclass(frozen=True, slots=True)
class Form:
    """How a label file is written.

    Attributes:
        encoding: The encoding; with a byte order mark if the file had one.
        delimiter: What separates cells.
        newline: What ends a line.
        intro: Excel's line `sep=;` before the header, with its end; or nothing.
    """

    encoding: str = "utf-8"
    delimiter: str = ","
    newline: str = "\n"
    intro: str = ""


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The rows of a label file, as they were read.

    Attributes:
        path: The file; it need not exist yet.
        prefix: The file's own folder below the pictures', with a slash; new rows leave it out.
        lines: The cells of each line, the header included.
        places: The places of the columns of names and of labels in a line, from 0 on.
        named: The picture that a line names, by the line's place: its path below the folder.
        form: How the file is written.
        seen: The file's signature just before it was read; None if there was no file.
        column: The column of labels that was asked for; empty if none was.
    """

    path: Path
    prefix: str = ""
    lines: tuple[tuple[str, ...], ...] = (HEADER,)
    places: tuple[int, int] = (0, 1)
    named: Mapping[int, str] = field(default_factory=dict)
    form: Form = Form()
    seen: tuple[int, int, int] | None = None
    column: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """The label of each picture that has rows; empty if it has none, or several.

        A row with more cells than there are columns has none: its label was cut at a separator.
        """
        found: dict[str, set[str]] = {}
        for place, name in self.named.items():
            cells = self.lines[place]
            text = "" if any(cells[self._width :]) else _cell(cells, self.places[1])
            found.setdefault(name, set()).add(text)
        return {name: texts.pop() if len(texts) == 1 else "" for name, texts in found.items()}

    def render(self, labels: Mapping[str, str | None]) -> str:
        """Returns the text of the file with new labels.

        A row changes only if its label does. A picture without a row gets one at the end.

        Args:
            labels: The label by the picture's name; empty if nobody can read the picture; None if
                it has no label yet.
        """
        name_place, label_place = self.places
        out = io.StringIO()
        writer = csv.writer(out, delimiter=self.form.delimiter, lineterminator=self.form.newline)
        for place, cells in enumerate(self.lines):
            label = labels.get(self.named.get(place, ""))
            cut = any(cells[self._width :])
            if label is not None and (cut or label != _cell(cells, label_place)):
                cells = (*cells, *[""] * (label_place + 1 - len(cells)))  # a line may be short
                cells = (*cells[:label_place], label, *cells[label_place + 1 : self._width])
            writer.writerow(cells)
        known = {*self.named.values()}
        for name, label in labels.items():
            if label is not None and name not in known:
                row = [""] * self._width
                row[name_place], row[label_place] = self.written(name), label
                writer.writerow(row)
        return self.form.intro + out.getvalue()

    @property
    def _width(self) -> int:
        """The number of columns."""
        first = next((len(cells) for cells in self.lines if any(cells)), 0)
        return max(first, 2, *(place + 1 for place in self.places))

    def without_label(self, name: str) -> "LabelTable":
        """The file with an empty label in the rows of a picture."""
        label = self.places[1]
        lines = (
            (*cells[:label], "", *cells[label + 1 :]) if self.named.get(place) == name else cells
            for place, cells in enumerate(self.lines)
        )
        return replace(self, lines=tuple(lines))

    def write(self, labels: Mapping[str, str | None]) -> None:
        """Writes the file with new labels, as `render` returns it.

        Raises:
            OSError: If the file can't be written; it is then as it was.
        """
        text = self.render(labels)
        with write_atomically(self.path) as partial:
            partial.write_bytes(text.encode(self.form.encoding))

    def written(self, name: str) -> str:
        """A picture's name as a new row holds it: its path from the file's folder on."""
        return name.removeprefix(self.prefix)


def new_table(path: Path, folder: Path) -> LabelTable:
    """Returns a label file without rows, for the pictures of a folder."""
    parent, top = path.parent.resolve(), folder.resolve()
    inside = parent != top and parent.is_relative_to(top)
    return LabelTable(path, f"{name_below(parent, top)}/" if inside else "")


def read_table(path: Path, tree: Tree, column: str = "", source: str = "") -> LabelTable:
    """Reads a label file to keep it up.

    Args:
        path: The file.
        tree: The pictures that rows may name.
        column: The column with the labels; empty for the likeliest one.
        source: The columns in words, as `Labels.source` has them; empty for the likeliest ones.

    Raises:
        LabelError: If the file can't be read, or its rows can't be kept up: it is neither CSV nor
            TSV, has no column of names, or names pictures by paths that no longer lead to them.
    """
    seen = signature(path)
    name = name_below(path, tree.folder)
    if path.suffix.lower() not in SUFFIXES:
        raise LabelError(
            f"the labels come from {name}; the page writes only CSV: name a new one with "
            f"-o {path.with_suffix('.csv').name}; it starts with the labels of {name}"
        )
    tables = read_tables(path, column)
    tables = [t for t in tables if column in ("", t.column)] or tables
    table = next((t for t in tables if t.source == source), tables[0])
    if table.by_order:
        raise LabelError(
            f"{name} has no column with the names of the pictures, so it can't be kept up: name "
            "another file with -o; it starts with these labels"
        )
    form, numbered = _read_lines(path)
    if form.delimiter == " ":
        raise LabelError(
            f"{name} has spaces between names and labels, so it can't be kept up: name another "
            "file with -o; it starts with these labels"
        )
    of_line = {line: place for place, (line, _) in enumerate(numbered)}
    named: dict[int, str] = {}
    for row, found in pair_rows(table, tree):
        if len(found) == 1:
            named[of_line[row.line]] = name_below(found[0], tree.folder)
    lines = tuple(cells for _, cells in numbered)
    prefix = new_table(path, tree.folder).prefix
    read = LabelTable(path, prefix, lines, table.places, named, form, seen, column)
    _check_new_rows(read, table, tree)
    return read


def _check_new_rows(read: LabelTable, table: Table, tree: Tree) -> None:
    """Checks that new rows beside the old ones lead to their pictures.

    Raises:
        LabelError: If they don't: the old rows have paths that were right in another place.
    """
    known = {*read.named.values()}
    new = [name_below(path, tree.folder) for path in tree.pictures]
    new = [name for name in new if name not in known]
    rows = (*table.rows, *(Row(0, read.written(name), "x") for name in new))
    found = pair_rows(replace(table, rows=rows), tree)
    right = sum(len(pictures) == 1 for _, pictures in found)
    if right < len(read.named) + len(new):
        example = next(row.file for row in table.rows)
        raise LabelError(
            f"{name_below(read.path, tree.folder)} names its pictures by paths from another place "
            f"({example}), so it can't be kept up: name another file with -o; it starts with these "
            "labels"
        )


def _read_lines(path: Path) -> tuple[Form, list[tuple[int, tuple[str, ...]]]]:
    """Reads the cells of each line, with the line's number as `Row.line` has it."""
    text = read_text(path)
    raw = list(io.StringIO(text, newline=""))
    delimiter, lines = find_delimiter(path, raw)
    intro = next((line for line, kept in zip(raw, lines, strict=True) if line != kept), "")
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    numbered = [(reader.line_num, tuple(row)) for row in reader]
    if intro:
        numbered = numbered[1:]
    while numbered and not any(numbered[-1][1]):
        del numbered[-1]
    newline = "\r\n" if "\r\n" in text else "\n"
    with path.open("rb") as file:
        encoding = encoding_of(file.read(4))
    return Form(encoding, delimiter, newline, intro), numbered


def signature(path: Path) -> tuple[int, int, int] | None:
    """Returns what changes when a file is written; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def unwritable(names: Collection[str]) -> list[str]:
    """Finds the names that a row can't hold so that it leads to this picture alone."""
    seen: dict[str, int] = {}
    for name in names:
        seen[clean(name)] = seen.get(clean(name), 0) + 1
    return [name for name in names if seen[clean(name)] > 1 or not _can_be_written(name)]


def _can_be_written(name: str) -> bool:
    return (
        all(character.isprintable() for character in name)  # a byte that is no UTF-8 isn't
        and "\\" not in name
        and clean(name) == normalize("NFC", name)
    )


def _cell(cells: tuple[str, ...], place: int) -> str:
    return clean(cells[place]) if place < len(cells) else ""
