"""Label files as text: their encodings, what separates their cells, what programs add to these."""

import codecs
import re
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Final
from unicodedata import normalize

from captcha_rt.errors import LabelError
from captcha_rt.formats import SUFFIXES

FOREIGN_SUFFIXES: Final = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"), "a spreadsheet"),
    ".xml": "XML",
    **dict.fromkeys((".parquet", ".feather", ".arrow", ".orc", ".avro"), "a data frame"),
    **dict.fromkeys((".db", ".db3", ".sqlite", ".sqlite3", ".mdb", ".accdb"), "a database"),
    **dict.fromkeys((".pkl", ".pickle", ".npy", ".npz", ".mat"), "binary data"),
    **dict.fromkeys((".doc", ".docx", ".odt", ".rtf"), "a document"),
}
"""Files that may hold labels but aren't read, by their suffixes, in words."""

_MARKS: Final = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_AS_TEXT: Final = re.compile(r'="(.*)"', re.DOTALL)  # how Excel keeps the zeros of 0012: ="0012"

_NAMED: Final = re.compile(
    rf"(\S+(?:{'|'.join(map(re.escape, sorted(SUFFIXES)))}))(?:\s*([:=,;|])\s*|\s+)(\S.*)",
    re.IGNORECASE,
)
"""A line that begins with a picture's name: the name, a separator other than space, the rest."""


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


def find_delimiter(path: Path, lines: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Finds what separates cells.

    Returns:
        The separator, and the lines to cut at it: without Excel's line `sep=;`, and with a tab in
        place of what separates names and labels in a `.txt`.
    """
    filled = [line.strip() for line in lines if line.strip()]
    first = filled[0] if filled else ""
    if path.suffix.lower() == ".txt":
        # Between tabs all other characters are text. Without tabs, each line begins with a
        # picture's name, as in `1.png: 3 + 4 =`, or has one separator.
        separators = (d for d in "\t,; " if filled and all(line.count(d) == 1 for line in filled))
        tabs = any("\t" in line for line in filled)
        if not tabs and (named := _with_tabs(filled)):
            remaining = iter(named)
            return "\t", [next(remaining) if line.strip() else line for line in lines]
        return "\t" if tabs else next(separators, "\t"), lines
    if path.suffix.lower() == ".tsv":
        return "\t", lines
    if marked := re.fullmatch("sep=(.)", first):
        return marked[1], [line if line.strip() != first else "\n" for line in lines]
    delimiter = max(",;\t", key=first.count)
    if delimiter not in first and "|" in first:
        return "|", lines
    pairs = [line.split(" ") for line in filled]
    if delimiter not in first and all(len(p) == 2 and any(map(is_name, p)) for p in pairs):
        return " ", lines
    return delimiter, lines


def _with_tabs(lines: Sequence[str]) -> list[str] | None:
    """Puts a tab after the picture's name with which each line begins.

    Returns:
        The lines; None if one doesn't begin with a name, if names and labels aren't separated alike
        in all lines, or if other facts follow the names, as the sizes in `1.png 120 50`.
    """
    found = [match for match in map(_NAMED.fullmatch, lines) if match]
    separators = {match[2] for match in found}
    if len(found) < max(len(lines), 2) or len(separators) > 1:
        return None
    separator, rests = separators.pop(), [match[3] for match in found]
    if separator is None and all(len(numbers_in(rest)) > 1 for rest in rests):
        return None
    if separator in (",", ";", "|") and any(separator in rest for rest in rests):
        return None
    return [f"{match[1]}\t{match[3]}\n" for match in found]


def numbers_in(text: str) -> list[float]:
    """The numbers of a text that holds nothing else but spaces and commas between them."""
    try:
        return [float(word) for word in re.split(r"[\s,]+", text)]
    except ValueError:
        return []


def begins_with_name(text: str) -> bool:
    """Whether a text is a picture's name, or begins with one."""
    return is_name(text) or _NAMED.match(text) is not None


def clean(text: str) -> str:
    """Returns a cell's text: in NFC, without spaces around it, and without Excel's `="..."`."""
    text = normalize("NFC", text).strip()
    wrapped = _AS_TEXT.fullmatch(text)
    return wrapped[1].replace('""', '"').strip() if wrapped else text


def is_name(text: str) -> bool:
    """Whether a cell names a picture, since it ends with the suffix of one."""
    return PurePath(text).suffix.lower() in SUFFIXES
