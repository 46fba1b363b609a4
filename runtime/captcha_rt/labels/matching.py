"""Finds the picture that each row of a label file names."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import NamedTuple

from captcha_rt.errors import LabelError
from captcha_rt.labels.tables import Row, Table
from captcha_rt.pictures import SUFFIXES, find_pictures, name_below


class Match(NamedTuple):
    """The result of `match`.

    Attributes:
        items: The pictures with their labels, sorted by path.
        problems: The rows and pictures that were skipped, each with the reason.
    """

    items: tuple[tuple[Path, str], ...]
    problems: tuple[tuple[str, str], ...]


def match(table: Table, folder: Path, pictures: Sequence[Path], *, partly: bool = False) -> Match:
    """Gives each picture the label in its row of a table.

    A row names its picture by the path relative to the label file, or by the file name of one of
    `pictures`, with or without the suffix. If no path in the table leads to a file, only the last
    parts of the paths are used: the pictures were moved after the table was written.

    Args:
        table: The rows.
        folder: The folder. Problems name pictures by their path below this folder.
        pictures: The pictures that a name without a path may mean; may be empty.
        partly: Whether to accept a table of which only few rows and pictures fit.

    Returns:
        The pictures that have one label. The problems are rows that name no picture or have no
        label, pictures with different labels, and pictures without a row, as far as they are in the
        same folder as a picture that has a row.

    Raises:
        LabelError: If less than half of the rows name a picture and less than half of the pictures
            have a row (with `partly`: if no row names a picture); or if the table has no column of
            names, and the rows can't be assigned to pictures in order.
    """
    problems: list[tuple[str, str]] = []
    labels: dict[Path, list[Row]] = defaultdict(list)
    for row, path in _pairs(table, pictures):
        where = f"{table.path.name}:{row.line}"
        if path is None:
            problems.append((where, f"no such picture: {row.file!r}" if row.file else "no picture"))
        else:
            labels[path].append(row)
    fitting = sum(map(len, labels.values()))
    folders = sorted({path.parent for path in labels})
    here = {path for parent in folders for path in find_pictures(parent)} or set(pictures)
    little = 2 * fitting < len(table.rows) and 2 * len(labels) < len(here)
    if not labels or (little and not partly):
        example = next((f": {p[1]}" for p in problems), "")
        raise LabelError(
            f"{table.source}: {fitting} of {len(table.rows)} rows fit pictures{example}"
        )
    items = []
    for path, rows in labels.items():
        texts = {row.label: row.line for row in rows}
        if not all(texts):
            lines = ", ".join(str(row.line) for row in rows if not row.label)
            problems.append((name_below(path, folder), f"no label in {table.path.name}:{lines}"))
        elif len(texts) > 1:
            said = ", ".join(f"{text!r} in row {line}" for text, line in texts.items())
            problems.append((name_below(path, folder), f"different labels: {said}"))
        else:
            items.append((path, rows[0].label))
    missing = sorted(here - labels.keys())
    problems += [(name_below(path, folder), f"no row in {table.path.name}") for path in missing]
    return Match(tuple(sorted(items)), tuple(problems))


def _pairs(table: Table, pictures: Sequence[Path]) -> list[tuple[Row, Path | None]]:
    """Returns the rows in order, each with its picture or None."""
    if table.by_order:
        return _assign_in_order(table, pictures)
    names = {path.name: path for path in pictures}
    stems = Counter(path.stem for path in pictures)  # a stem of two pictures names neither
    names = {path.stem: path for path in pictures if stems[path.stem] == 1} | names
    by_path = [_follow(row.file, table.path.parent) for row in table.rows]
    moved = not any(by_path)
    pairs: list[tuple[Row, Path | None]] = []
    for row, path in zip(table.rows, by_path, strict=True):
        parts = PureWindowsPath(row.file).parts  # accepts both kinds of slash
        named = names.get(parts[-1]) if parts and (moved or len(parts) == 1) else None
        pairs.append((row, path or named))
    return pairs


def _follow(name: str, base: Path) -> Path | None:
    """Finds the picture at a path of several parts; it must not leave the label file's folder."""
    written = PureWindowsPath(name)
    if len(written.parts) < 2 or written.anchor or ".." in written.parts:
        return None
    path = base.joinpath(*written.parts)
    if path.suffix.lower() in SUFFIXES and os.path.isfile(path):  # noqa: PTH113  (never raises)
        return path
    found = [p for p in (path.with_name(path.name + s) for s in SUFFIXES) if os.path.isfile(p)]  # noqa: PTH113
    return found[0] if len(found) == 1 else None


def _assign_in_order(table: Table, pictures: Sequence[Path]) -> list[tuple[Row, Path | None]]:
    """Gives row n the picture with the number n, or the n-th picture in natural order.

    Raises:
        LabelError: If there are not as many rows as pictures, and the pictures are not numbered
            from 1 on; or if the two ways disagree, but each may be right.
    """
    rows, count = table.rows, len(pictures)
    in_order = sorted(pictures, key=_natural)
    digits = all(re.fullmatch("[0-9]{1,9}", path.stem) for path in pictures)
    of_number = {int(path.stem): path for path in pictures} if digits else {}
    numbered = len(of_number) == count and min(of_number, default=0) >= 1
    by_number = [of_number.get(n) if numbered else None for n in range(1, len(rows) + 1)]
    fitting = count - by_number.count(None) if len(rows) == count else 0
    if len(rows) == count and (fitting == count or fitting < 0.9 * count):
        return list(zip(rows, in_order, strict=True))
    if numbered and len(rows) != count:
        return list(zip(rows, by_number, strict=True))
    raise LabelError(
        f"{table.source}: {len(rows)} rows for {count} pictures"
        + (", whose numbers have gaps" if numbered else "")
        + "; name the pictures in a column of their own"
    )


def _natural(path: Path) -> list[tuple[int, str]]:
    """A sort key that puts `2.png` before `10.png`."""
    pieces = re.split("([0-9]+)", path.stem)
    return [(int(p), "") if p.isdecimal() and p.isascii() else (-1, p) for p in pieces]
