"""Label files, which name pictures and their labels: CSV, JSON, JSON Lines, or text with tabs.

A file gives one table for each pair of columns that may hold the names and the labels. The module
`matching` finds out whether a table fits the pictures. Labels are text, never numbers: `012345`
keeps its zero.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePath
from typing import Any, Final, NamedTuple
from unicodedata import normalize

from captcha_rt.errors import LabelError
from captcha_rt.formats import SUFFIXES

TABLE_SUFFIXES: Final = frozenset({".csv", ".tsv", ".jsonl", ".json", ".txt"})

FOREIGN_SUFFIXES: Final = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), "a spreadsheet"),
    ".xml": "XML",
    **dict.fromkeys((".parquet", ".feather", ".arrow", ".orc", ".avro"), "a data frame"),
    **dict.fromkeys((".db", ".db3", ".sqlite", ".sqlite3", ".mdb", ".accdb"), "a database"),
    **dict.fromkeys((".pkl", ".pickle", ".npy", ".npz", ".mat"), "binary data"),
    **dict.fromkeys((".doc", ".docx", ".odt", ".rtf"), "a document"),
}
"""Files that may hold labels but aren't read, by their suffixes, in words."""

# The names of columns in lower case, with underscores for spaces and dashes, the likeliest first.
FILE_COLUMNS: Final = (
    *("filename", "file_name", "file", "filepath", "file_path", "path"),
    *("image", "image_path", "image_name", "img", "img_path", "picture", "name", "id", "image_id"),
)
LABEL_COLUMNS: Final = (
    *("label", "labels", "text", "captcha", "code", "solution", "answer"),
    *("transcription", "ground_truth", "gt", "word", "plate_text", "captcha_text"),
)

_MARKS: Final = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_AS_TEXT: Final = re.compile(r'="(.*)"', re.DOTALL)  # how Excel keeps the zeros of 0012: ="0012"


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


def read_tables(path: Path) -> list[Table]:
    """Reads a label file in all possible ways.

    Args:
        path: A `.csv` or `.tsv` (comma, semicolon or tab); a `.jsonl`; a `.json` with an object of
            labels by file, or a list of objects; or a `.txt` with a tab, comma, semicolon or space
            in each line. In UTF-8, or in UTF-16 with a byte order mark.

    Returns:
        One table for each pair of columns, those with the likelier column of names first. All text
        is in NFC. In a `.json`, lines are entries.

    Raises:
        LabelError: If the file can't be read, is damaged, or has no such columns.
    """
    text = read_text(path)
    try:
        if path.suffix.lower() == ".json":
            return _of_json(path, text)
        lines = list(io.StringIO(text, newline=""))
        if path.suffix.lower() == ".jsonl":
            return _of_objects(path, _parse_lines(path, lines))
        return _of_cells(path, lines)
    except LabelError:
        raise
    except (csv.Error, ValueError, RecursionError) as error:
        raise LabelError(f"{path.name} is damaged: {error}") from error


def read_text(path: Path) -> str:
    """Reads a label file as text.

    Raises:
        LabelError: If the file can't be read, or is not text in UTF-8 or UTF-16.
    """
    if foreign := FOREIGN_SUFFIXES.get(path.suffix.lower()):
        raise LabelError(
            f"{path.name} is {foreign}, which is not read: if it holds the labels, save them as "
            "CSV in UTF-8 with the columns filename and label"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelError(f"can't read {path.name}: {error.strerror}") from error
    try:
        text = data.decode(encoding_of(data))
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # another encoding; UTF-16 without its mark may be valid UTF-8
        raise LabelError(
            f"{path.name} is not UTF-8: save it as UTF-8 (in Excel as CSV UTF-8, in an editor with "
            "the encoding UTF-8)"
        )
    return text


def encoding_of(data: bytes) -> str:
    """Returns the encoding of a label file that its byte order mark names, or UTF-8."""
    named = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    return "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else named


def _of_json(path: Path, text: str) -> list[Table]:
    """Reads an object of labels by file, or a list of objects."""
    try:
        value = _parse(text)
    except json.JSONDecodeError as error:
        lines = text.splitlines()
        if error.msg != "Extra data" or len(lines) < 2:
            raise
        return _of_objects(path, _parse_lines(path, lines))  # JSON Lines under another name
    if isinstance(value, dict) and all(isinstance(label, dict) for label in value.values()):
        value = [{"file": file, **label} for file, label in value.items()]
    elif isinstance(value, dict) and any(isinstance(label, str) for label in value.values()):
        value = [{"file": file, "label": label} for file, label in value.items()]
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise LabelError(
            f'{path.name} is neither an object of labels by file, {{"1.png": "abcd"}}, nor a list '
            'of objects, [{"file": "1.png", "label": "abcd"}]'
        )
    return _of_objects(path, list(enumerate(value, 1)))


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


def _of_objects(path: Path, objects: Sequence[tuple[int, dict[str, Any]]]) -> list[Table]:
    """Reads objects, whose keys are the names of the columns."""
    rows: list[tuple[int, dict[str, str]]] = []
    for number, value in objects:
        texts = {clean(k): clean(v) for k, v in value.items() if isinstance(v, str)}
        rows.append((number, texts))
    names = list(dict.fromkeys(name for _, texts in rows for name in texts))
    return _with_header(
        path, names, [(line, [texts.get(name, "") for name in names]) for line, texts in rows]
    )


def _of_cells(path: Path, lines: Sequence[str]) -> list[Table]:
    """Reads lines of separated cells, with or without a header."""
    delimiter, lines = find_delimiter(path, lines)
    quoted = path.suffix.lower() != ".txt"
    reader = csv.reader(
        lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    )
    rows = [(reader.line_num, [clean(cell) for cell in row]) for row in reader]
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
        orders = ((0, 1), (1, 0))
        # `abcd.png,abcd` could name pictures in both columns, but a label has no suffix.
        named = [each for each in orders if all(_has_suffix(row, each[0]) for _, row in rows)]
        return [
            _table(path, *columns, ("1", "2"), rows)
            for columns in (named if len(named) == 1 else orders)
        ]
    raise LabelError(f"{path.name} {_lacks_columns(header)}")


def _has_suffix(cells: Sequence[str], column: int) -> bool:
    return column < len(cells) and PurePath(cells[column]).suffix.lower() in SUFFIXES


def find_delimiter(path: Path, lines: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Finds what separates cells; also returns the lines, without Excel's line `sep=;`."""
    filled = [line.strip() for line in lines if line.strip()]
    first = filled[0] if filled else ""
    if path.suffix.lower() == ".txt":
        # Between tabs all other characters are text. Without tabs, each line has one separator.
        separators = (d for d in "\t,; " if filled and all(line.count(d) == 1 for line in filled))
        tabs = any("\t" in line for line in filled)
        return "\t" if tabs else next(separators, "\t"), lines
    if path.suffix.lower() == ".tsv":
        return "\t", lines
    if marked := re.fullmatch("sep=(.)", first):
        return marked[1], [line if line.strip() != first else "\n" for line in lines]
    return max(",;\t", key=first.count), lines


def clean(text: str) -> str:
    """Returns a cell's text: in NFC, without spaces around it, and without Excel's `="..."`."""
    text = normalize("NFC", text).strip()
    wrapped = _AS_TEXT.fullmatch(text)
    return wrapped[1].replace('""', '"').strip() if wrapped else text


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
    source = f"{path.name}, columns {header[file]} and {header[label]}"
    found = []
    for line, cells in rows:
        padded = [*cells, *[""] * (max(file, label) + 1)]
        problem = _find_fault(cells, padded[label], len(header))
        found.append(Row(line, padded[file], padded[label], problem))
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
        f"label (such as label, text, captcha, code) in its header: {', '.join(header)[:200]}"
    )
