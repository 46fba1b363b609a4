"""Labels in file names: finds out which part of the names is the label.

A stem is a file name without its suffix. A single stem such as `12345-67890` doesn't say which part
is the label, but a whole folder of stems does. A counter takes all numbers of a range, the number
of a copy starts again for every text, and a hash is long and hexadecimal. The label is the only
part that is none of these. If there are two such parts, or none, the form stays open.

Nearly all stems of a folder are built alike: they have the same separators in the same order. A
stem that is built otherwise gives no label, since nobody knows which of its parts is the label. The
minus in `12-5=` is no separator.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from captcha_rt.errors import LabelError

STEM, FIRST, LAST = "stem", "stem-first", "stem-last"
STEM_FORMS: Final = (STEM, FIRST, LAST)
PATTERN: Final = "re:"
RARE: Final = 0.05  # up to this fraction of stems may have another form than the rest

# Any punctuation, with or without spaces around it, or spaces. The signs of a sum are none: + and *
# between digits, = at the end, and - in a sum that ends with =.
_PUNCTUATION = "!-),.:;@\\[-`{-~\u00a1\u00b7\u00bf\u2010-\u205e\u3001-\u301f\uff5e"
_SEPARATOR = re.compile(
    rf"\s*(?:[{_PUNCTUATION}]|-(?![0-9]+ ?=)|(?<![0-9])[+*]|[+*](?![0-9])|=(?=[^\W_]))\s*|\s+"
)
_NUMBERED = re.compile(r"([A-Za-z]*)([0-9]+)")
_MANY = 10  # pictures: that so many labels begin with 0, or follow one another, is no chance
_PARTS = 3  # of a set: for training, validation and testing
_FEWEST = 3  # with fewer pictures every number looks like a counter


@dataclass(frozen=True, slots=True)
class StemForm:
    """How to read the label in a stem.

    Attributes:
        kind: `stem`, `stem-first`, `stem-last` or `re:`.
        separator: The text between the label and the rest; empty for the separator that nearly all
            stems have beside the label.
        pattern: The regular expression, whose group is the label; only of the kind `re:`.
    """

    kind: str
    separator: str = ""
    pattern: re.Pattern[str] | None = None

    @property
    def name(self) -> str:
        """The form as `parse_form` reads it."""
        if self.pattern:
            return f"{PATTERN}{self.pattern.pattern}"
        return f"{self.kind}:{self.separator}" if self.separator else self.kind


def parse_form(form: str) -> StemForm | None:
    """Reads the name of a form: `stem`, `stem-first`, `stem-last:_`, `re:PATTERN`.

    Returns:
        The form; None if it is not about stems.

    Raises:
        LabelError: If the pattern is no regular expression with one group, or the separator is
            missing after the colon.
    """
    if form.startswith(PATTERN):
        try:
            pattern = re.compile(form.removeprefix(PATTERN))
        except (re.error, OverflowError, RecursionError) as error:
            raise LabelError(f"--labels {form}: no regular expression: {error}") from error
        if pattern.groups != 1:
            raise LabelError(
                f"--labels {form}: the pattern has {pattern.groups} groups, not 1: put ( ) around "
                "the label and (?: ) around other parts, as in re:^([^_]+)_"
            )
        return StemForm(PATTERN, pattern=pattern)
    kind, colon, separator = form.partition(":")
    if kind not in STEM_FORMS or (colon and kind == STEM):
        return None
    if colon and not separator:
        raise LabelError(f"--labels {form}: no separator after the colon, as in {kind}:_")
    return StemForm(kind, separator)


def structure(stem: str) -> str:
    """The separators of a stem in order, a character each: `-_` for `a - b_c`, a space for `a b`.

    Separators are punctuation, with or without spaces around it, and spaces; the signs of a sum are
    none.
    """
    return "".join(found.strip() or " " for found in _SEPARATOR.findall(stem.strip()))


def separators_beside(stems: Sequence[str], kind: str) -> list[str]:
    """Finds the separators beside the first or the last part of the stems.

    Args:
        stems: The stems.
        kind: `stem-first` or `stem-last`.

    Returns:
        The only separator if nearly all stems with a separator have it there; otherwise all, the
        most frequent first. None if no stem has a separator.
    """
    end = 0 if kind == FIRST else -1
    counts = Counter(found[end] for found in map(structure, stems) if found)
    found = [separator for separator, _ in counts.most_common()]
    return found[:1] if found and counts[found[0]] >= (1 - RARE) * counts.total() else found


def read_stems(
    stems: Sequence[str], form: StemForm, *, strict: bool = False
) -> list[tuple[str, str]]:
    """Reads the labels in stems.

    A stem without a separator is its own first part if it is the original of a copy (`abcd` beside
    `abcd-2`), or if many stems are so. It has no last part: `2` beside `1-747958` is a number
    without a label. A stem that is built unlike nearly all others has none either.

    Args:
        stems: The stems of a folder.
        form: The form. Without a separator in it, `separators_beside` finds only one.
        strict: Whether the form was found out: then texts with a separator are no labels of the
            form `stem`, and those of `stem-first` without the text beside them neither.

    Returns:
        For each stem the label and `""`, or `""` and the reason why it has no label.
    """
    if form.pattern:
        return [_by_pattern(stem, form.pattern) for stem in stems]
    if form.kind == STEM:
        reason = "in its name, unlike most; --labels stem takes it as it is"
        return [
            ("", f"{structure(stem)!r} {reason}") if strict and structure(stem) else _labelled(stem)
            for stem in stems
        ]
    (separator,) = [form.separator] if form.separator else separators_beside(stems, form.kind)
    cut = _cut_anywhere if form.separator else _cut_at_the_end
    parts = [cut(stem, form.kind, separator) for stem in stems]
    firsts = {part[0] for part in parts if part and part[0]}
    plain = parts.count(None) > RARE * len(parts)
    built = [s.count(separator) * separator if form.separator else structure(s) for s in stems]
    unusual = _find_unusual(stems, built, copies=strict)
    name = {" ": "space"}.get(separator, separator)
    result: list[tuple[str, str]] = []
    for stem, part in zip(stems, parts, strict=True):
        if stem in unusual and (part or not form.separator):
            result.append(("", "built unlike most names: rename it, or read it with re:PATTERN"))
        elif part:
            result.append(part)
        elif form.kind == FIRST and ((plain and not structure(stem)) or stem.strip() in firsts):
            result.append(_labelled(stem))
        else:
            result.append(("", f"no {name} in its name"))
    return result


def _cut_anywhere(stem: str, kind: str, separator: str) -> tuple[str, str] | None:
    """Cuts at the first or last separator, whatever else the stem holds."""
    if separator not in stem:
        return None
    return _labelled(
        stem.partition(separator)[0] if kind == FIRST else stem.rpartition(separator)[2]
    )


def _cut_at_the_end(stem: str, kind: str, separator: str) -> tuple[str, str] | None:
    """Cuts at the first or last of all separators, which must be the given one."""
    found = structure(stem)
    if not found:
        return None
    end = 0 if kind == FIRST else -1
    if found[end] != separator:
        place = kind.removeprefix("stem-")
        return "", (
            f"its {place} separator is {found[end]!r}, of most names {separator!r}; "
            f"--labels {kind}:{separator} cuts there"
        )
    return _labelled(_SEPARATOR.split(stem.strip())[end])


def _find_unusual(stems: Sequence[str], built: Sequence[str], *, copies: bool) -> set[str]:
    """The stems that are built unlike nearly all others.

    Args:
        stems: The stems.
        built: How each stem is built.
        copies: Whether stems that are built in two ways are texts and copies of them. Those that
            are neither are unusual, then.
    """
    usual, count = Counter(built).most_common(1)[0]
    if count >= (1 - RARE) * len(stems):
        return {stem for stem, found in zip(stems, built, strict=True) if found != usual}
    plain = _plain(stems)
    return {s for s in stems if copies and structure(s) and not _is_copy_of(s, plain)}


def _by_pattern(stem: str, pattern: re.Pattern[str]) -> tuple[str, str]:
    match = pattern.search(stem)
    if match is None or match[1] is None:
        return "", f"its name doesn't match {pattern.pattern}"
    return _labelled(match[1])


def _labelled(text: str) -> tuple[str, str]:
    return (text.strip(), "") if text.strip() else ("", "empty label")


def form_of(stems: Sequence[str]) -> str | None:
    """Finds the form of the labels in a folder's stems.

    Args:
        stems: The file names without their suffixes, at least one.

    Returns:
        `stem`, `stem-first` or `stem-last`; None if the form stays open.
    """
    structures = [structure(stem) for stem in stems]
    usual, count = Counter(structures).most_common(1)[0]
    if count < (1 - RARE) * len(stems):
        return FIRST if _are_copies_of_plain(stems) else None
    alike = [stem for stem, found in zip(stems, structures, strict=True) if found == usual]
    if not usual:
        return None if _are_no_labels(alike) else STEM
    if len(alike) < _FEWEST:
        return None
    parts = [_SEPARATOR.split(stem.strip()) for stem in alike]
    firsts, lasts = [p[0] for p in parts], [p[-1] for p in parts]
    for these, others in ((firsts, lasts), (lasts, firsts)):
        if _numbers(others) and (len(set(these)) == 1 or _are_series(these, others)):
            return None  # `img_0017.png`, `train_0017.png`
    open_forms = [FIRST] if _could_be_labels(firsts, lasts) else []
    open_forms += [LAST] if _could_be_labels(lasts, firsts) else []
    if len(usual) > 1 and _could_be_labels(["".join(p[1:-1]) for p in parts], firsts):
        return None  # `001_abcd_1.png`, whose middle no form reads
    return open_forms[0] if len(open_forms) == 1 else None


def _could_be_labels(parts: Sequence[str], others: Sequence[str]) -> bool:
    """Whether the parts may be labels; `others` are the parts at the other end of the stems."""
    return not (
        len(set(parts)) == 1
        or sum(not part.strip() for part in parts) > RARE * len(parts)
        or _is_counter(parts)
        or _is_copy_number(parts, others)
        or _is_hash(parts, 8)
    )


def _is_counter(parts: Sequence[str]) -> bool:
    """Whether the parts are a counter: whole numbers, each only once.

    The numbers of a counter start at 0 or 1 and have no gaps. Or they have different lengths and no
    leading zeros, and there are too many of them for labels, some of which would repeat: n random
    numbers from a range r are all different with a probability of exp(-n² / 2r), which is 0.7 % at
    n² = 10 r. Other numbers of equal length are no counter: somebody may have chosen labels that
    are all different.
    """
    numbers = _numbers(parts)
    if not numbers or len(set(numbers)) < len(numbers):
        return False
    span = max(numbers) - min(numbers) + 1
    if _counts_on(numbers):
        return True
    return _are_unpadded(parts) and len(numbers) ** 2 >= 10 * span


def _counts_on(numbers: Sequence[int]) -> bool:
    """Whether numbers go on from 0 or 1 without a gap, in any order."""
    start = min(numbers)
    return (
        start <= 1
        and len(numbers) >= _FEWEST
        and sorted(numbers) == [*range(start, start + len(numbers))]
    )


def _is_range(parts: Sequence[str]) -> bool:
    """Whether numbers of one length are part of a counter.

    They follow one another without a gap, from whatever number on, or all begin with 0: ten random
    labels do so in one of 10¹⁰ folders.
    """
    numbers = _numbers(parts) or []
    if len(set(numbers)) < max(len(parts), _MANY):
        return False
    no_gap = max(numbers) - min(numbers) == len(numbers) - 1
    return no_gap or all(part.startswith("0") for part in parts)


def _are_series(texts: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether the parts count the pictures of a few texts, as in `train_0001` and `test_0001`.

    Labels are more than three, or have fewer copies.
    """
    numbers = _numbers(parts)
    if not numbers or len(set(texts)) > _PARTS:
        return False
    of_text: dict[str, list[int]] = defaultdict(list)
    for text, number in zip(texts, numbers, strict=True):
        of_text[text].append(number)
    return all(len(found) >= _MANY and _counts_on(found) for found in of_text.values())


def _is_copy_number(parts: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether the parts number the copies of each text, always from the same number on."""
    numbers = _numbers(parts)
    if not numbers or not 0 <= min(numbers) <= 2:
        return False
    of_text: dict[str, list[int]] = defaultdict(list)
    for text, number in zip(texts, numbers, strict=True):
        of_text[text].append(number)
    if any(len(set(found)) < len(found) for found in of_text.values()):
        return False
    start = min(numbers)
    gapless = sum(sorted(f) == list(range(start, start + len(f))) for f in of_text.values())
    # If some pictures were removed there are gaps, but few texts have more than 3 copies.
    few = sum(number <= 3 for number in numbers)
    return gapless >= 0.9 * len(of_text) or few >= 0.9 * len(numbers)


def _is_hash(parts: Sequence[str], shortest: int) -> bool:
    """Whether the parts are hashes: hexadecimal, of one length, and nearly all different.

    Parts of digits alone count as hashes from 10 digits on, as time stamps have them.
    """
    if len({len(part) for part in parts}) != 1 or len(set(parts)) < 0.9 * len(parts):
        return False
    if not all(re.fullmatch("[0-9a-fA-F]+", part) for part in parts):
        return False
    return len(parts[0]) >= (10 if _numbers(parts) else shortest)


def _are_no_labels(stems: Sequence[str]) -> bool:
    """Whether whole stems are no labels: numbers (`1`, `17`; `img001`), time stamps or hashes."""
    if len(stems) < _FEWEST:
        return False
    matches = [match for match in map(_NUMBERED.fullmatch, stems) if match]
    prefixes, numbers = [match[1] for match in matches], [match[2] for match in matches]
    if len(matches) < len(stems) or not (len(set(prefixes)) == 1 or _are_series(prefixes, numbers)):
        return _is_hash(stems, 12)
    if any(prefixes):
        return True
    stamps = _is_hash(stems, 12) and len({stem[0] for stem in stems}) == 1
    return _are_unpadded(stems) or _is_counter(stems) or _is_range(stems) or stamps


def _are_copies_of_plain(stems: Sequence[str]) -> bool:
    """Whether nearly all stems with a separator, as `abcd-2`, are copies of a stem `abcd`."""
    plain = _plain(stems)
    split = [stem for stem in stems if structure(stem)]
    good = sum(_is_copy_of(stem, plain) for stem in split)
    return good >= 0.9 * len(split) and len(separators_beside(stems, FIRST)) == 1


def _plain(stems: Sequence[str]) -> set[str]:
    return {stem.strip() for stem in stems if not structure(stem)}


def _is_copy_of(stem: str, plain: set[str]) -> bool:
    first, *rest = _SEPARATOR.split(stem.strip())
    return len(rest) == 1 and first in plain and _numbers(rest) is not None


def _are_unpadded(parts: Sequence[str]) -> bool:
    """Whether whole numbers have different lengths and no leading zeros."""
    padded = any(len(part) > 1 and part.startswith("0") for part in parts)
    return not padded and len({len(part) for part in parts}) > 1


def _numbers(parts: Sequence[str]) -> list[int] | None:
    """Converts the parts to whole numbers; None if one is no number, or has over 18 digits."""
    if all(re.fullmatch("[0-9]{1,18}", part) for part in parts):
        return [int(part) for part in parts]
    return None
