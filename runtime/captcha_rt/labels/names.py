"""Labels in the names of pictures: finds out their form, and reads them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import quote
from typing import NamedTuple
from unicodedata import normalize

from captcha_rt.errors import LabelError
from captcha_rt.labels.copies import find_copies, looks_like_copy
from captcha_rt.labels.result import Labels, undecided
from captcha_rt.labels.stems import (
    FIRST,
    LAST,
    PATTERN,
    STEM,
    STEM_FORMS,
    StemForm,
    form_of,
    read_stems,
    separators_beside,
    structure,
)
from captcha_rt.pictures import name_below, stem_of


class Names(NamedTuple):
    """The stems of a folder's pictures.

    Attributes:
        folder: The folder. Problems name pictures by their path below it.
        stems: The stem of each picture in NFC, of a copy that of its original. Copies with the
            content of another picture are left out.
        lonely: The pictures of `stems` that look like copies, without an original beside them.
        note: One line on the copies; empty if there are none.
    """

    folder: Path
    stems: dict[Path, str]
    lonely: frozenset[Path]
    note: str

    @property
    def certain(self) -> list[str]:
        """The different stems of the pictures that don't look like copies without an original."""
        stems = (stem for path, stem in self.stems.items() if path not in self.lonely)
        return list(dict.fromkeys(stems))

    def read(
        self, form: StemForm, *, strict: bool = False
    ) -> tuple[tuple[tuple[Path, str], ...], tuple[tuple[str, str], ...]]:
        """Reads the labels.

        Args:
            form: The form.
            strict: Whether names that are built unlike most have no label.

        Returns:
            The pictures with their labels, in order; and those without, with the reasons.
        """
        lonely = set() if form.kind == PATTERN else self.lonely
        paths = [path for path in self.stems if path not in lonely]
        read = read_stems([self.stems[path] for path in paths], form, strict=strict)
        labels = dict(zip(paths, read, strict=True))
        reason = "named like a copy of a picture that isn't here: rename or remove it"
        everything = ((path, *labels.get(path, ("", reason))) for path in self.stems)
        items: list[tuple[Path, str]] = []
        problems: list[tuple[str, str]] = []
        for path, label, problem in everything:
            if problem:
                problems.append((name_below(path, self.folder), problem))
            else:
                items.append((path, label))
        return tuple(items), tuple(problems)


def find_names(folder: Path, pictures: Sequence[Path]) -> Names:
    """Finds the stems of pictures, and sorts out the copies.

    Args:
        folder: The folder.
        pictures: The pictures, in the folder or in one below it.
    """
    # Names that were written on a Mac are decomposed: é is two characters there.
    copies = find_copies({path: normalize("NFC", stem_of(path)).strip() for path in pictures})
    lonely = frozenset(path for path, stem in copies.stems.items() if looks_like_copy(stem))
    if 2 * len(lonely) > len(copies.stems):  # not copies: names such as `captcha (17)`
        lonely = frozenset()
    return Names(folder, copies.stems, lonely, copies.describe())


def find_out(
    names: Names, not_used: Iterable[tuple[str, str]], above: Sequence[Labels] = ()
) -> Labels:
    """Finds out which part of the file names is the label, and reads it.

    Args:
        names: The names.
        not_used: Label files that could not be used, with the reasons.
        above: Labels in files beside the folder.

    Raises:
        LabelError: If the form stays open, or a file beside the folder gives other labels.
    """
    chosen = form_of(names.certain) if names.certain else STEM
    if chosen is None:
        candidates = [_read(names, form) for kind in STEM_FORMS for form in _forms_of(names, kind)]
        reasons = "".join(
            f"; {name} is of no use: {why.removeprefix('not used: ')}" for name, why in not_used
        )
        what = f"the file names leave open what the labels are{reasons}"
        label = f"captcha-rt label {quote(str(names.folder))}"
        instead = f"if they hold none, type them: {label}"
        if any(len(structure(stem)) > 1 for stem in names.certain):
            instead = f"a part in the middle: --labels 're:^[^_]+_([^_]+)_'; {instead}"
        raise undecided(names.folder, [*above, *candidates], what, instead)
    found = read_names(names, StemForm(chosen), strict=True)
    labelled = dict(found.items)
    others = [
        labels
        for labels in above
        if any(labelled.get(path, text) != text for path, text in labels.items)
    ]
    if others:
        what = "the file names may be the labels, but a file beside the folder gives others"
        raise undecided(names.folder, [found, *others], what)
    return found


def read_names(names: Names, form: StemForm, *, strict: bool = False) -> Labels:
    """Reads the labels in file names in a form.

    Raises:
        LabelError: If no name has such a part, or the names have several separators there.
    """
    if form.kind in (FIRST, LAST) and not form.separator:
        forms = _forms_of(names, form.kind)
        example = next(iter(names.stems)).name
        if not forms:
            raise LabelError(
                f"--labels {form.name}: no file name in {names.folder} has a separator, as in "
                f"{example}; --labels {STEM} takes the whole name"
            )
        if len(forms) > 1:
            what = f"--labels {form.name}: the file names have several separators there"
            raise undecided(names.folder, [_read(names, f) for f in forms], what)
    labels = _read(names, form, strict=strict)
    if not labels.items:
        problem = ": ".join(labels.problems[0])
        raise LabelError(
            f"--labels {form.name}: no file name in {names.folder} has a label: {problem}"
        )
    return labels


def _forms_of(names: Names, kind: str) -> list[StemForm]:
    """The forms of a kind that fit the names: one for each separator if there are several."""
    if kind == STEM:
        return [StemForm(STEM)]
    separators = separators_beside(names.certain, kind)
    return [StemForm(kind, s if len(separators) > 1 else "") for s in separators]


def _read(names: Names, form: StemForm, *, strict: bool = False) -> Labels:
    items, problems = names.read(form, strict=strict)
    separator = form.separator or "".join(separators_beside(names.certain, form.kind)[:1])
    shown = {" ": "space"}.get(separator, separator)
    places = {
        FIRST: f"the file names before the first {shown}",
        LAST: f"the file names after the last {shown}",
    }
    source = f"the file names by {form.pattern.pattern}" if form.pattern else "the file names"
    return Labels(form.name, places.get(form.kind, source), items, problems, (names.note,))
