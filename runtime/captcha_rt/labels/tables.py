"""Label files, which name pictures and their labels: CSV, JSON Lines, or text with tabs.

A file gives one table for each pair of columns that may hold the names and the labels. The module
`matching` finds out whether a table fits the pictures. Labels are text, never numbers: `012345`
keeps its zero.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

from captcha_rt.errors import LabelError

TABLE_SUFFIXES: Final = frozenset({".csv", ".tsv", ".jsonl", ".txt"})

# The names of columns in lower case, with underscores for spaces and dashes, the likeliest first.
FILE_COLUMNS: Final = (
    *("filename", "file_name", "file", "filepath", "file_path", "path"),
    *("image", "image_path", "image_name", "img", "img_path", "picture", "name", "id", "image_id"),
)
LABEL_COLUMNS: Final = (
    *("label", "labels", "text", "captcha", "code", "solution", "answer"),
    *("transcription", "ground_truth", "gt", "word"),
)


class Row(NamedTuple):
    """One row of a label file.

    Attributes:
        line: The line in the file, counted from 1.
        file: The picture's path or name; may be empty.
        label: The label; may be empty.
    """

    line: int
    file: str
    label: str


@dataclass(frozen=True, slots=True)
class Table:
    """One way to read a label file.

    Attributes:
        path: The file.
        column: The column with the labels: its name, or without a header its number from 1 on.
        source: The file and the columns in words.
        rows: The rows in order.
        by_order: Whether the table has no column of names, so that row n belongs to picture n.
    """

    path: Path
    column: str
    source: str
    rows: tuple[Row, ...]
    by_order: bool = False


def read_tables(path: Path) -> list[Table]:
    """Reads a label file in all possible ways.

    Args:
        path: A `.csv` or `.tsv` (comma, semicolon or tab), a `.jsonl`, or a `.txt` with tabs; in
            UTF-8, with or without a byte order mark.

    Returns:
        One table for each pair of columns, those with the likelier column of names first.

    Raises:
        LabelError: If the file can't be read, is damaged, or has no such columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(file)
    except UnicodeDecodeError as error:
        raise LabelError(f"{path.name} is not UTF-8: save it as UTF-8") from error
    except OSError as error:
        raise LabelError(f"can't read {path.name}: {error.strerror}") from error
    try:
        if path.suffix.lower() == ".jsonl":
            return _of_objects(path, lines)
        return _of_cells(path, lines)
    except LabelError:
        raise
    except (csv.Error, ValueError, RecursionError) as error:
        raise LabelError(f"{path.name} is damaged: {error}") from error


def _of_objects(path: Path, lines: Iterable[str]) -> list[Table]:
    """Reads JSON Lines: each line is an object, whose keys are the names of the columns."""
    rows: list[tuple[int, dict[str, str]]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        # Numbers keep their digits as written.
        value: Any = json.loads(line, parse_int=str, parse_float=str)
        if not isinstance(value, dict):
            raise LabelError(f"{path.name}:{number}: not an object: {line.strip()[:80]}")
        texts = {k: v.strip() for k, v in value.items() if isinstance(v, str)}
        rows.append((number, texts))
    names = list(dict.fromkeys(name for _, texts in rows for name in texts))
    return _with_header(
        path, names, [(line, [texts.get(name, "") for name in names]) for line, texts in rows]
    )


def _of_cells(path: Path, lines: Sequence[str]) -> list[Table]:
    """Reads lines of separated cells, with or without a header."""
    first = next((line for line in lines if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    if path.suffix.lower() in (".txt", ".tsv"):
        delimiter = "\t"
    quoted = path.suffix.lower() != ".txt"
    reader = csv.reader(
        lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    )
    rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    while rows and not any(rows[-1][1]):
        del rows[-1]
    all_rows, rows = rows, [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise LabelError(f"{path.name} is empty")
    header = rows[0][1]
    known = [_plain(name) for name in header]
    width = max(len(cells) for _, cells in rows)
    if width == 1:
        if path.suffix.lower() == ".txt":
            raise LabelError(f"{path.name} has no tab between picture and label")
        # Empty rows are kept. Otherwise each later label would go to the picture before its own.
        counted = [(line, cells or [""]) for line, cells in all_rows[all_rows.index(rows[0]) :]]
        # `code` may be the header or the first label; the number of pictures decides.
        with_header = _by_order(path, header[0], counted[1:]) if known[0] in LABEL_COLUMNS else []
        return [*with_header, *_by_order(path, "1", counted)]
    if set(known) & set(LABEL_COLUMNS) and set(known) & set(FILE_COLUMNS):
        return _with_header(path, header, rows[1:])
    if width == 2:
        return [_table(path, *columns, ("1", "2"), rows) for columns in ((0, 1), (1, 0))]
    raise LabelError(f"{path.name} {_lacks_columns(header)}")


def _with_header(
    path: Path, header: Sequence[str], rows: Sequence[tuple[int, list[str]]]
) -> list[Table]:
    """Makes one table for each pair of a column of names and a column of labels."""
    known = [_plain(name) for name in header]
    files = [known.index(name) for name in FILE_COLUMNS if name in known]
    labels = [known.index(name) for name in LABEL_COLUMNS if name in known]
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
    width = max(file, label) + 1
    padded = ((line, [*cells, *[""] * width]) for line, cells in rows)
    source = f"{path.name}, columns {header[file]} and {header[label]}"
    found = tuple(Row(line, cells[file], cells[label]) for line, cells in padded)
    return Table(path, header[label], source, found)


def _by_order(path: Path, column: str, rows: Sequence[tuple[int, list[str]]]) -> list[Table]:
    found = tuple(Row(line, "", cells[0]) for line, cells in rows)
    source = f"{path.name}, column {column}, row n for picture n"
    return [Table(path, column, source, found, by_order=True)]


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _lacks_columns(header: Sequence[str]) -> str:
    return (
        f"has no column for the picture (such as filename, file, image, path, id) or none for the "
        f"label (such as label, text, captcha, code) in its header: {', '.join(header)[:200]}"
    )
