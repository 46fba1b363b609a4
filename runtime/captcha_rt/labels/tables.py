"""Label files, which name pictures and their labels: CSV, JSON, JSON Lines, or text.

A file gives one table for each pair of columns that may hold the names and the labels. The module
`matching` finds out whether a table fits the pictures. Labels are text, never numbers: `012345`
keeps its zero.
"""

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

from captcha_rt.errors import LabelError
from captcha_rt.labels.texts import begins_with_name, clean, find_delimiter, is_name, read_text

TABLE_SUFFIXES: Final = frozenset({".csv", ".tsv", ".jsonl", ".json", ".txt"})

# The names of columns in lower case, with underscores for spaces and dashes, the likeliest first.
FILE_COLUMNS: Final = (
    *("filename", "file_name", "file", "filepath", "file_path", "path"),
    *("image", "image_path", "image_name", "img", "img_path", "picture", "name", "id", "image_id"),
)
LABEL_COLUMNS: Final = (
    *("label", "labels", "text", "captcha", "code", "solution", "answer"),
    *("transcription", "ground_truth", "gt", "word", "plate_text", "captcha_text"),
)
UNSURE_COLUMNS: Final = ("words", "string", "target")  # of labels, if no other column is
FILE_NAMES: Final = frozenset(FILE_COLUMNS)
LABEL_NAMES: Final = frozenset({*LABEL_COLUMNS, *UNSURE_COLUMNS})


class Row(NamedTuple):
    """One row of a label file.

    Attributes:
        line: The line in the file, counted from 1.
        file: The picture's path or name; may be empty.
        label: The label; may be empty.
        problem: Why the label can't be right; empty if nothing speaks against it.
    """

    line: int
    file: str
    label: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """One way to read a label file.

    Attributes:
        path: The file.
        column: The column with the labels: its name, or without a header its number from 1 on.
        source: The file and the columns in words.
        rows: The rows in order.
        by_order: Whether the table has no column of names, so that row n belongs to picture n.
        places: The places of the columns of names and of labels in a line, from 0 on.
    """

    path: Path
    column: str
    source: str
    rows: tuple[Row, ...]
    by_order: bool = False
    places: tuple[int, int] = (0, 0)


def read_tables(path: Path, asked: str = "") -> list[Table]:
    """Reads a label file in all possible ways.

    Args:
        path: A `.csv` or `.tsv` (comma, semicolon, tab or bar); a `.jsonl`; a `.json` with an
            object of labels by file, or a list of objects; or a `.txt` whose lines begin with a
            picture's name, or have a tab, comma, semicolon or space each. In UTF-8, or in UTF-16
            with a byte order mark.
        asked: The name of a column that holds the labels, whatever its name, or without a header
            its number; empty if nobody has named one.

    Returns:
        One table for each pair of columns, those with the likelier column of names first. All text
        is in NFC. In a `.json`, lines are entries.

    Raises:
        LabelError: If the file can't be read, is damaged, or has no such columns.
    """
    text = read_text(path)
    try:
        if path.suffix.lower() == ".json":
            return _of_json(path, text, asked)
        lines = list(io.StringIO(text, newline=""))
        if path.suffix.lower() == ".jsonl":
            return _of_objects(path, _parse_lines(path, lines), asked)
        return _of_cells(path, lines, asked)
    except LabelError:
        raise
    except (csv.Error, ValueError, RecursionError) as error:
        raise LabelError(f"{path.name} is damaged: {error}") from error


def _of_json(path: Path, text: str, asked: str) -> list[Table]:
    """Reads an object of labels by file, or a list of objects."""
    try:
        value = _parse(text)
    except json.JSONDecodeError as error:
        lines = text.splitlines()
        if error.msg != "Extra data" or len(lines) < 2:
            raise
        parsed = _parse_lines(path, lines)  # JSON Lines under another name
        return _of_objects(path, parsed, asked)
    if isinstance(value, dict) and all(isinstance(label, dict) for label in value.values()):
        value = [{"file": file, **label} for file, label in value.items()]
    elif isinstance(value, dict) and any(isinstance(label, str) for label in value.values()):
        value = [{"file": file, "label": label} for file, label in value.items()]
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise LabelError(
            f'{path.name} is neither an object of labels by file, {{"1.png": "abcd"}}, nor a list '
            'of objects, [{"file": "1.png", "label": "abcd"}]'
        )
    return _of_objects(path, list(enumerate(value, 1)), asked)


def _parse_lines(path: Path, lines: Iterable[str]) -> list[tuple[int, dict[str, Any]]]:
    """Parses JSON Lines: each line is an object."""
    objects: list[tuple[int, dict[str, Any]]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        value = _parse(line)
        if not isinstance(value, dict):
            raise LabelError(f"{path.name}:{number}: not an object: {line.strip()[:80]}")
        objects.append((number, value))
    return objects


def _parse(text: str) -> Any:  # noqa: ANN401  (any JSON value)
    """Parses JSON; numbers keep their digits as written, and each key occurs once."""

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(key for n, (key, _) in enumerate(pairs) if key in dict(pairs[:n]))
            raise ValueError(f"it has the key {twice!r} twice")
        return found

    return json.loads(text, parse_int=str, parse_float=str, object_pairs_hook=check)


def _of_objects(
    path: Path, objects: Sequence[tuple[int, dict[str, Any]]], asked: str
) -> list[Table]:
    """Reads objects, whose keys are the names of the columns."""
    rows: list[tuple[int, dict[str, str]]] = []
    for number, value in objects:
        texts = {clean(k): clean(v) for k, v in value.items() if isinstance(v, str)}
        rows.append((number, texts))
    names = list(dict.fromkeys(name for _, texts in rows for name in texts))
    cells = [(line, [texts.get(name, "") for name in names]) for line, texts in rows]
    return _with_header(path, names, cells, asked)


def _of_cells(path: Path, lines: Sequence[str], asked: str) -> list[Table]:
    """Reads lines of separated cells, with or without a header."""
    delimiter, lines = find_delimiter(path, lines)
    reader = csv.reader(
        lines,
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if path.suffix.lower() == ".txt" else csv.QUOTE_MINIMAL,
        skipinitialspace=True,
    )
    rows = _without_empty_columns([(reader.line_num, [*map(clean, row)]) for row in reader])
    while rows and not any(rows[-1][1]):
        del rows[-1]
    all_rows, rows = rows, [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise LabelError(f"{path.name} is empty")
    header = rows[0][1]
    known = {_plain(name) for name in header}
    width = max(len(cells) for _, cells in rows)
    if width == 1:
        # Empty rows are kept. Otherwise each later label would go to the picture before its own.
        counted = [(line, cells or [""]) for line, cells in all_rows[all_rows.index(rows[0]) :]]
        return _of_one_column(path, counted, asked)
    if known & FILE_NAMES and (known & LABEL_NAMES or (asked and asked in header)):
        return _with_header(path, header, rows[1:], asked)
    numbers = [str(number) for number in range(1, width + 1)]
    # `abcd.png,abcd` could name pictures in both columns, but a label has no suffix.
    named = [c for c in range(width) if all(_has_suffix(row, c) for _, row in rows)]
    if asked in numbers:
        files = [c for c in named or range(width) if c != int(asked) - 1]
        return [_table(path, file, int(asked) - 1, numbers, rows) for file in files]
    # The first row of `filename,split` is a header, and nothing says that a split is a label.
    if width == 2 and not known & FILE_NAMES:
        files = named if len(named) == 1 else [0, 1]
        return [_table(path, file, 1 - file, numbers, rows) for file in files]
    raise LabelError(f"{path.name} {_lacks_columns(header)}")


def _of_one_column(path: Path, rows: Sequence[tuple[int, list[str]]], asked: str) -> list[Table]:
    """Reads labels alone, or names alone, which are of no use."""
    if path.suffix.lower() == ".txt":
        raise LabelError(f"{path.name} has no tab between picture and label")
    if any(begins_with_name(cells[0]) for _, cells in rows if cells):
        raise LabelError(f"{path.name} names pictures, without a column of labels")
    # `code` may be the header or the first label; the number of pictures decides.
    header = rows[0][1][0]
    is_known = _plain(header) in LABEL_NAMES or asked == header
    with_header = _by_order(path, header, rows[1:]) if is_known else []
    return [*with_header, *_by_order(path, "1", rows)]


def _without_empty_columns(rows: list[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """The rows without the empty columns after the second that separators at their ends make."""
    filled = (n for _, cells in rows for n, cell in enumerate(cells, 1) if cell)
    width = max(2, max(filled, default=0))
    return [(line, cells[:width]) for line, cells in rows]


def _has_suffix(cells: Sequence[str], column: int) -> bool:
    return column < len(cells) and is_name(cells[column])


def _with_header(
    path: Path, header: Sequence[str], rows: Sequence[tuple[int, list[str]]], asked: str
) -> list[Table]:
    """Makes one table for each pair of a column of names and a column of labels."""
    known = [_plain(name) for name in header]
    files = [known.index(name) for name in FILE_COLUMNS if name in known]
    labels = [known.index(name) for name in LABEL_COLUMNS if name in known]
    labels = labels or [known.index(name) for name in UNSURE_COLUMNS if name in known]
    if asked and asked in header:
        labels = [header.index(asked)]
        files = [file for file in files if file not in labels]
    if not files or not labels:
        raise LabelError(f"{path.name} {_lacks_columns(header)}")
    return [_table(path, file, label, header, rows) for label, file in product(labels, files)]


def _table(
    path: Path,
    file: int,
    label: int,
    header: Sequence[str],
    rows: Sequence[tuple[int, list[str]]],
) -> Table:
    source = f"{path.name}, columns {header[file]} and {header[label]}"
    texts = [cells[label] if label < len(cells) else "" for _, cells in rows]
    quoted = all(text[:1] == text[-1:] == '"' and len(text) > 2 for text in texts)
    if quoted and path.suffix.lower() == ".txt":  # where single quotes are text
        texts = [text[1:-1] for text in texts]
    found = []
    for (line, cells), text in zip(rows, texts, strict=True):
        name = cells[file] if file < len(cells) else ""
        found.append(Row(line, name, text, _find_fault(cells, text, len(header))))
    return Table(path, header[label], source, tuple(found), places=(file, label))


def _find_fault(cells: Sequence[str], label: str, columns: int) -> str:
    """Why a row's label can't be right; empty if nothing speaks against it."""
    if any(cells[columns:]):
        return f"{len(cells)} cells for {columns} columns: quote a label that holds a separator"
    return "a line break in the label: a quote may not be closed" if "\n" in label else ""


def _by_order(path: Path, column: str, rows: Sequence[tuple[int, list[str]]]) -> list[Table]:
    found = tuple(Row(line, "", cells[0]) for line, cells in rows)
    source = f"{path.name}, column {column}, row n for picture n"
    return [Table(path, column, source, found, by_order=True)]


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _lacks_columns(header: Sequence[str]) -> str:
    return (
        f"has no column for the picture (such as filename, file, image, path, id) or none for the "
        f"label (such as label, text, captcha, code) in its header: {', '.join(header)[:200]}; "
        "--labels FILE:COLUMN names another one"
    )
