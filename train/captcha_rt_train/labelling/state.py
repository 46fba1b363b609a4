"""The labels of a folder while people work on them: each change is saved before it counts."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from threading import RLock
from typing import Final

from captcha_rt.errors import CaptchaRTError
from captcha_rt_train.labelling.marks import Marks, read_marks, write_marks
from captcha_rt_train.labelling.opening import Opened, read_again
from captcha_rt_train.labelling.picture import Picture, Suggestion
from captcha_rt_train.labelling.table import signature

MAX_UNDO: Final = 1000
"""The number of changes that can be undone."""

_PAUSE: Final = 60.0  # seconds without a label that are no work


@dataclass(frozen=True, slots=True)
class Change:
    """A change that can be undone.

    Attributes:
        tab: Who made it.
        place: The picture's place.
        label: What the label was.
        checked: Whether it was marked as checked.
        before: The version before.
        version: The version since.
    """

    tab: str
    place: int
    label: str | None
    checked: bool
    before: int
    version: int


class ConflictError(CaptchaRTError):
    """The picture was changed since the page last saw it.

    Attributes:
        place: The picture's place.
    """

    def __init__(self, place: int) -> None:
        """Takes the picture's place."""
        super().__init__("the label was changed in another tab")
        self.place = place


class Labelling:
    """The pictures of a folder and their labels. Safe to use from several threads.

    Attributes:
        opened: The folder.
    """

    def __init__(
        self, opened: Opened, work: Path, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Takes the labels of an opened folder.

        Args:
            opened: The folder.
            work: The page's hidden folder, which holds the marks.
            now: The clock, in seconds.
        """
        self.opened = opened
        self._work = work
        self._now = now
        self._lock = RLock()
        self._stamp = 0
        self._changes: deque[Change] = deque(maxlen=MAX_UNDO)
        self._times: deque[float] = deque(maxlen=200)
        marks = read_marks(work)
        self._table = opened.table
        self._pictures = [
            Picture(
                name,
                path,
                _label_of(name, opened, marks),
                checked=name in marks.checked and marks.checked[name] == opened.labels.get(name),
            )
            for name, path in opened.pictures
        ]
        self._seen = self._table.seen

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self._pictures)

    def __getitem__(self, place: int) -> Picture:
        """The picture at a place, from 0 on."""
        return self._pictures[place]

    @property
    def pictures(self) -> list[Picture]:
        """The pictures in order."""
        with self._lock:
            return list(self._pictures)

    @property
    def stamp(self) -> int:
        """The number of changes so far, suggestions included."""
        return self._stamp

    def items(self) -> list[tuple[Path, str]]:
        """The pictures that have a label, sorted by path, as `Labels.items` has them."""
        return sorted((p.path, p.label) for p in self.pictures if p.label)

    def since(self, stamp: int) -> list[tuple[int, Picture]]:
        """The pictures that were changed after a stamp, with their places."""
        return [(i, picture) for i, picture in enumerate(self.pictures) if picture.stamp > stamp]

    def set_label(self, place: int, version: int, label: str, tab: str = "") -> Picture:
        """Gives a picture a label, and saves it.

        If the picture has a label already, the new one is marked as checked, also if it is equal.

        Args:
            place: The picture's place.
            version: The version that the label was when the page saw it.
            label: The label, as `clean_label` returns it; empty if nobody can read the picture.
            tab: Who changes it; `undo` takes back the changes of the same tab first.

        Raises:
            ConflictError: If the label has another version.
            OSError: If it can't be saved; nothing is changed then.
            LabelError: If another program has damaged the label file.
        """
        with self._lock:
            self._merge()
            before = self._pictures[place]
            if before.version != version:
                raise ConflictError(place)
            checked = bool(label) and before.label is not None
            self._save(place, label, checked=checked)
            after = self._pictures[place]
            self._changes.append(
                Change(tab, place, before.label, before.checked, version, after.version)
            )
            self._times.append(self._now())
            return after

    def undo(self, tab: str = "") -> int | None:
        """Takes back the last change of a tab; if it has none, the last change of all.

        Returns:
            The picture's place; None if there is nothing to take back.

        Raises:
            ConflictError: If the label was changed by another tab since. The change is forgotten.
            OSError, LabelError: As in `set_label`.
        """
        with self._lock:
            self._merge()
            own = [change for change in self._changes if change.tab == tab] or [*self._changes]
            if not own:
                return None
            last = own[-1]
            if self._pictures[last.place].version != last.version:
                self._changes.remove(last)
                raise ConflictError(last.place)
            self._save(last.place, last.label, checked=last.checked)
            self._changes.remove(last)
            version = self._pictures[last.place].version
            for i, change in enumerate(self._changes):  # the one before may be undone, too
                if change.place == last.place and change.version == last.before:
                    self._changes[i] = replace(change, version=version)
            return last.place

    def suggest(self, place: int, suggestion: Suggestion | None, problem: str = "") -> None:
        """Takes what a model reads in a picture, or why it can't."""
        with self._lock:
            listed = self._pictures[place].listed
            if not listed:
                self._put(place, suggestion=suggestion, problem=problem)
            elif problem:
                self._put(place, problem=problem)

    def list_suspects(self, suspects: Iterable[tuple[str, str, Suggestion]]) -> int:
        """Takes a list of suspects.

        Args:
            suspects: The picture's path below its folder, or its name; the label that is suspected;
                and what was read.

        Returns:
            The number of suspects whose picture is here, with that label; `suspects --fold-case`
            lists labels in lower case.
        """
        by_name: dict[str, list[int]] = {}
        for i, picture in enumerate(self.pictures):
            by_name.setdefault(picture.path.name, []).append(i)
        by_path = {picture.name: [i] for i, picture in enumerate(self.pictures)}
        count = 0
        with self._lock:
            for name, label, suggestion in suspects:
                for place in by_path.get(name) or by_name.get(name, []):
                    own = self._pictures[place].label or ""
                    if label in (own, own.lower()) and own != suggestion.text:
                        self._put(place, suggestion=suggestion, listed=True)
                        count += 1
        return count

    def pace(self) -> float | None:
        """The number of labels a minute, without pauses; None before the fifth label."""
        times = list(self._times)
        gaps = [b - a for a, b in pairwise(times) if b - a < _PAUSE]
        return 60 * len(gaps) / max(sum(gaps), 0.001) if len(gaps) >= 4 else None

    def _put(self, place: int, **changes: object) -> None:
        self._stamp += 1
        picture = self._pictures[place]
        self._pictures[place] = replace(picture, stamp=self._stamp, **changes)  # type: ignore[arg-type]

    def _save(self, place: int, label: str | None, *, checked: bool) -> None:
        """Saves a label, and then takes it."""
        before = self._pictures[place]
        saved = [*self._pictures]
        saved[place] = replace(before, label=label, checked=checked)
        self._write(saved, before, saved[place])
        self._put(place, label=label, checked=checked, version=before.version + 1)

    def _write(self, saved: Sequence[Picture], before: Picture, after: Picture) -> None:
        """Writes what a change of one picture concerns: the label file, the marks, or both."""
        marks, old = _marks(saved), _marks(self._pictures)
        if marks != old:
            write_marks(self._work, marks)
        if before.label != after.label:
            table = self._table
            # A label that is taken back may be in the file as read again after another program.
            taken_back = before.label if after.label is None else None
            if taken_back and table.labels.get(after.name) == taken_back:
                table = table.without_label(after.name)
            try:
                table.write({picture.name: picture.label for picture in saved})
            except OSError:
                if marks != old:
                    _write_quietly(self._work, old)
                raise
            self._table = table
            self._seen = signature(table.path)

    def _merge(self) -> None:
        """Takes over labels that another program has written into the label file meanwhile.

        A label that is only missing there is written again: nobody loses labels to a file that
        another program was just about to write.
        """
        seen = signature(self._table.path)
        if seen is not None and seen != self._seen:
            self._table = read_again(self.opened)
            seen = self._table.seen
            for place, picture in enumerate(self._pictures):
                label = self._table.labels.get(picture.name)
                if label and label != picture.label:
                    self._put(place, label=label, checked=False, version=picture.version + 1)
        self._seen = seen


def _label_of(name: str, opened: Opened, marks: Marks) -> str | None:
    """The label that a picture starts with; an empty one only counts with its mark."""
    marked = name in opened.empty and name in marks.unreadable
    return opened.labels.get(name, "" if marked else None)


def _marks(pictures: Sequence[Picture]) -> Marks:
    return Marks(
        frozenset(p.name for p in pictures if p.label == ""),
        {p.name: p.label for p in pictures if p.checked and p.label},
    )


def _write_quietly(work: Path, marks: Marks) -> None:
    with suppress(OSError):
        write_marks(work, marks)
