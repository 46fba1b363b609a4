"""Finds the picture that each row of a label file names."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path, PureWindowsPath
from shlex import quote
from typing import Final, NamedTuple
from unicodedata import normalize

from captcha_rt.errors import LabelError
from captcha_rt.labels.tables import Row, Table
from captcha_rt.pictures import find_pictures, is_hidden, is_picture, name_below, stem_of

NO_ROW: Final = "no row in"
"""How the reason begins why a picture has no label: a label file leaves it out."""


class Match(NamedTuple):
    """The result of `match`.

    Attributes:
        items: The pictures with their labels, sorted by path.
        problems: The rows and pictures that were skipped, each with the reason.
    """

    items: tuple[tuple[Path, str], ...]
    problems: tuple[tuple[str, str], ...]


class Tree:
    """The files of a folder and below, found by their paths in NFC, with or without the suffix."""

    def __init__(self, folder: Path, files: Sequence[Path], pictures: Sequence[Path]) -> None:
        """Takes the files; they are sorted by their names when a name is looked for.

        Args:
            folder: The folder.
            files: All files in the folder and below, hidden ones included.
            pictures: The pictures of the folder itself or of its only sub-folder with pictures; may
                be empty.
        """
        self.folder = folder
        self.files = files
        self.pictures = pictures

    def at(self, path: str, bases: Iterable[Path]) -> list[Path]:
        """The pictures at a path, relative to the first of some folders that has one.

        The path may fit several pictures, as `7` fits `7.png` and `7.jpg`.
        """
        for base in bases:
            key = self._key(base / path)
            named = self._by_path.get(key) or self._by_stem.get(key) or []
            if pictures := [*filter(is_picture, named)]:
                return pictures
        return []

    def near(self, path: str, bases: Iterable[Path], *, any_case: bool) -> list[Path]:
        """As `at`, but a picture's suffix doesn't count: `7.tif` fits `7.png`, made from it.

        With `any_case`, the case doesn't count either.
        """
        for base in bases:
            full = base / path
            key = self._key(full.with_name(stem_of(full)))
            named = self._by_folded.get(key.casefold()) if any_case else self._by_stem.get(key)
            if pictures := [*filter(is_picture, named or [])]:
                return pictures
        return []

    def below(self, path: str) -> list[Path]:
        """The pictures in any sub-folder whose paths end so.

        A name alone is not looked for in folders that have a name in common: two folders may both
        number their pictures from 1 on.
        """
        path = normalize("NFC", path)
        named = self._by_name.get(path.rpartition("/")[2], [])
        return [
            file
            for file in named
            if f"/{self._key(file)}".endswith(f"/{path}")
            or f"/{self._key(file.with_name(stem_of(file)))}".endswith(f"/{path}")
            if "/" in path or file.parent not in self._twins
            if is_picture(file)
        ]

    def _key(self, path: Path) -> str:
        return normalize("NFC", name_below(path, self.folder))

    @cached_property
    def _visible(self) -> list[Path]:
        return [path for path in self.files if not is_hidden(path)]

    @cached_property
    def _by_path(self) -> dict[str, list[Path]]:
        return _group(self._visible, self._key)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _group(self._visible, lambda path: self._key(path.with_name(stem_of(path))))

    @cached_property
    def _by_folded(self) -> dict[str, list[Path]]:
        return _group(
            self._visible, lambda path: self._key(path.with_name(stem_of(path))).casefold()
        )

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        by_name = _group(self._visible, lambda path: normalize("NFC", path.name))
        by_stem = _group(self._visible, lambda path: normalize("NFC", stem_of(path)))
        return by_stem | by_name

    @cached_property
    def _twins(self) -> set[Path]:
        """The folders that have the name of a picture in common with another folder."""
        groups = _group(self._visible, lambda path: normalize("NFC", path.name)).values()
        return {p.parent for group in groups if len(group) > 1 for p in group if is_picture(p)}


def match(table: Table, tree: Tree, *, partly: bool = False) -> Match:
    """Gives each picture the label in its row of a table.

    A row names its picture by a path, with or without the suffix, relative to the label file, to
    the pictures' folder or to the folder. If few rows do, the path may also begin in a sub-folder.
    If no path leads to a picture, the first parts of the paths are dropped: the pictures were moved
    after the table was written. A row whose picture isn't there may mean one that no other row
    names, with another suffix: it was converted since. If no name fits at all, the case may differ,
    too: some systems know none.

    Args:
        table: The rows.
        tree: The files. Problems name pictures by their path below the tree's folder.
        partly: Whether to accept a table of which only few rows and pictures fit.

    Returns:
        The pictures that have one label. The problems are rows that name no picture, have no label
        or one that can't be right, pictures with different labels, and pictures without a row, as
        far as they are in the same folder as a picture that has a row.

    Raises:
        LabelError: If less than half of the rows name a picture and less than half of the pictures
            have a row (with `partly`: if no row names a picture); or if the table has no column of
            names, and the rows can't be assigned to pictures in order.
    """
    problems: list[tuple[str, str]] = []
    labels: dict[Path, list[Row]] = defaultdict(list)
    if table.by_order and not partly:
        _refuse_one_row_more(table, tree.pictures)
    for row, found in pair_rows(table, tree):
        where = f"{table.path.name}:{row.line}"
        if len(found) == 1:
            labels[found[0]].append(row)
        elif found:
            names = ", ".join(name_below(path, tree.folder) for path in found)
            problems.append((where, f"several pictures fit {row.file!r}: {names}"))
        else:
            problems.append((where, f"no such picture: {row.file!r}" if row.file else "no picture"))
    fitting = sum(map(len, labels.values()))
    folders = sorted({path.parent for path in labels})
    here = {path for parent in folders for path in find_pictures(parent)} or set(tree.pictures)
    little = 2 * fitting < len(table.rows) and 2 * len(labels) < len(here)
    if not labels or (little and not partly):
        example = next((f": {p[1]}" for p in problems), "")
        raise LabelError(
            f"{table.source}: {fitting} of {len(table.rows)} rows fit pictures{example}"
        )
    items = []
    for path, rows in labels.items():
        name = name_below(path, tree.folder)
        texts = {row.label: row.line for row in rows}
        if wrong := next((row for row in rows if row.problem), None):
            problems.append((name, f"{table.path.name}:{wrong.line}: {wrong.problem}"))
        elif not all(texts):
            lines = ", ".join(str(row.line) for row in rows if not row.label)
            problems.append((name, f"no label in {table.path.name}:{lines}"))
        elif len(texts) > 1:
            said = ", ".join(f"{text!r} in row {line}" for text, line in texts.items())
            problems.append((name, f"different labels: {said}"))
        else:
            items.append((path, rows[0].label))
    missing = sorted(here - labels.keys())
    problems += [(name_below(path, tree.folder), f"{NO_ROW} {table.path.name}") for path in missing]
    return Match(tuple(sorted(items)), tuple(problems))


def pair_rows(table: Table, tree: Tree) -> list[tuple[Row, list[Path]]]:
    """Returns the rows in order, each with the pictures that it may name.

    Raises:
        LabelError: If the table has no column of names, and the rows can't be assigned in order.
    """
    if table.by_order:
        pairs = _assign_in_order(table, tree.pictures)
        return [(row, [path] if path else []) for row, path in pairs]
    bases = [*dict.fromkeys((table.path.parent, *(p.parent for p in tree.pictures), tree.folder))]
    paths = [_split(row.file) for row in table.rows]

    def look(dropped: int) -> list[list[Path]]:
        tails = [_join(parts[dropped:]) for parts in paths]
        return [tree.at(tail, bases) if tail else [] for tail in tails]

    found = look(0)
    if 2 * sum(map(bool, found)) < len(paths):
        tails = map(_join, paths)
        found = [
            pictures or (tree.below(tail) if tail else [])
            for pictures, tail in zip(found, tails, strict=True)
        ]
    dropped = 1
    while not any(found) and dropped < max(map(len, paths), default=0):
        found = look(dropped)
        if 2 * sum(map(bool, found)) < len(paths):
            found = []
        dropped += 1
    if not any(found):
        found = [tree.at(parts[-1], bases) if parts else [] for parts in paths]
    any_case = not any(found)
    taken = {picture for pictures in found for picture in pictures}
    for number, parts in enumerate(paths):
        if not found[number] and (tail := _join(parts)):
            near = tree.near(tail, bases, any_case=any_case)
            found[number] = [picture for picture in near if picture not in taken]
    return list(zip(table.rows, found, strict=True))


def _split(path: str) -> tuple[str, ...]:
    """The parts of a path with slashes of either kind; a name with a colon has no drive."""
    return PureWindowsPath(path).parts if re.search(r"[/\\]", path) else (path,) if path else ()


def _join(parts: Sequence[str]) -> str:
    """The path of some parts; empty if it would lead out of the folder."""
    leads_out = ".." in parts or (len(parts) > 1 and PureWindowsPath(parts[0]).anchor)
    return "" if leads_out else "/".join(parts)


def _group(paths: Iterable[Path], key: Callable[[Path], str]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        groups[key(path)].append(path)
    return dict(groups)


def _assign_in_order(table: Table, pictures: Sequence[Path]) -> list[tuple[Row, Path | None]]:
    """Gives row n the picture with the number n, or the n-th picture in natural order.

    Raises:
        LabelError: If there are not as many rows as pictures, and the pictures are not numbered
            from 1 on; or if the two ways disagree, but each may be right.
    """
    rows, count = table.rows, len(pictures)
    in_order = sorted(pictures, key=_natural)
    digits = all(re.fullmatch("[0-9]{1,9}", stem_of(path)) for path in pictures)
    of_number = {int(stem_of(path)): path for path in pictures} if digits else {}
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


def _refuse_one_row_more(table: Table, pictures: Sequence[Path]) -> None:
    """Refuses rows of which the first may be a header; not if a picture has the last row's number.

    Raises:
        LabelError: If nobody knows whether the first row is a label.
    """
    rows, name = table.rows, table.path.name
    if table.column != "1" or len(rows) != len(pictures) + 1:
        return
    if not any(stem_of(path) == str(len(rows)) for path in pictures):
        raise LabelError(
            f"{table.source}: one row more than there are pictures: if the first one is a name, "
            f"--labels {quote(f'{name}:{rows[0].label}')}; if it is a label, "
            f"--labels {quote(f'{name}:1')}"
        )


def _natural(path: Path) -> list[tuple[int, str]]:
    """A sort key that puts `2.png` before `10.png`."""
    pieces = re.split("([0-9]+)", stem_of(path))
    return [(int(p), "") if p.isdecimal() and p.isascii() else (-1, p) for p in pieces]
