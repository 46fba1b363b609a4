"""The labels of a folder, and the choice between several ways to read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from captcha_rt.errors import LabelError
from captcha_rt.labels.hints import find_hints


@dataclass(frozen=True, slots=True)
class Labels:
    """The labelled pictures of a folder.

    Attributes:
        form: The form of the labels, as `read_labels` takes it: `stem`, `labels.csv`, ...
        source: The form in words.
        items: The pictures' paths with their labels in NFC, sorted by path; at least one, and no
            label is empty.
        problems: What was skipped, each with the reason: pictures by their path below the folder,
            rows such as `labels.csv:17`, and label files that could not be used.
        notes: Lines on files: those that were passed over, copies that were left out.
        files: The label files that were read.
    """

    form: str
    source: str
    items: tuple[tuple[Path, str], ...]
    problems: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes, and hints at labels that look wrong, a line each."""
        return (*self.notes, *find_hints([label for _, label in self.items]))

    @property
    def description(self) -> str:
        """One line that says where the labels are from, and how many pictures have a label."""
        problems = f", {len(self.problems)} problems" if self.problems else ""
        return f"labels: from {self.source}; {len(self.items)} pictures{problems}"


def only_one(folder: Path, found: Sequence[Labels]) -> Labels:
    """Returns the labels if all candidates agree: two label files may hold the same labels."""
    if len({labels.items for labels in found}) == 1:
        return found[0]
    what = "several label files or columns fit"
    pictures = [{path for path, _ in labels.items} for labels in found]
    if len(set().union(*pictures)) == sum(map(len, pictures)):
        what += " different pictures (to train on one and validate on another: --validation FILE)"
    raise undecided(folder, found, what)


def undecided(folder: Path, found: Sequence[Labels], what: str, instead: str = "") -> LabelError:
    """Makes the error that lists the forms to choose from, and what else may be done."""
    choices = [
        f"--labels {quote(labels.form)} ({labels.items[0][0].name} shows {labels.items[0][1]!r})"
        for labels in found
        if labels.items
    ]
    listed = f"{folder}: {what}; choose one: {', '.join(choices)}"
    return LabelError(f"{listed}; {instead}" if instead else listed)
