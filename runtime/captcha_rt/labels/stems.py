"""Labels in file names: finds out which part of the names is the label.

A stem is a file name without its suffix. A single stem such as `12345-67890` doesn't say which part
is the label, but a whole folder of stems does. A counter takes all numbers of a range, the number
of a copy starts again for every text, and a hash is long and hexadecimal. The label is the only
part that is none of these. If there are two such parts, or none, the form stays open.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

STEM, FIRST, LAST = "stem", "stem-first", "stem-last"
STEM_FORMS: Final = {
    STEM: "the file names",
    FIRST: "the file names before the first -, _ or .",
    LAST: "the file names after the last -, _ or .",
}
RARE: Final = 0.05  # up to this fraction of stems may have another form than the rest

_SEPARATOR = re.compile(r"[-_.]")
_NUMBERED = re.compile(r"([A-Za-z]*)([0-9]+)")
_FEWEST = 3  # with fewer pictures every number looks like a counter


def has_separator(stem: str) -> bool:
    """Whether a stem has several parts."""
    return _SEPARATOR.search(stem) is not None


def label_in(stem: str, form: str) -> str | None:
    """Reads the label in a stem.

    A stem without a separator is its own first part (`abcd` beside `abcd-2`), but has no last part:
    `2` beside `1-747958` is a number without a label.

    Args:
        stem: A file name without its suffix.
        form: One of `STEM_FORMS`.

    Returns:
        The label; `""` if the part is empty; None if there is no such part.
    """
    if form == STEM:
        return stem.strip()
    parts = _SEPARATOR.split(stem)
    if form == FIRST:
        return parts[0].strip()
    return parts[-1].strip() if len(parts) > 1 else None


def form_of(stems: Sequence[str]) -> str | None:
    """Finds the form of the labels in a folder's stems.

    Args:
        stems: The file names without their suffixes.

    Returns:
        One of `STEM_FORMS`; None if the form stays open.
    """
    split = [stem for stem in stems if has_separator(stem)]
    if len(split) <= RARE * len(stems):
        return None if _are_no_labels([s for s in stems if not has_separator(s)]) else STEM
    if len(split) < (1 - RARE) * len(stems):
        return FIRST if _are_copies_of_plain(stems) else None
    if len(split) < _FEWEST:
        return None
    parts = [_SEPARATOR.split(stem) for stem in split]
    firsts, lasts = [p[0] for p in parts], [p[-1] for p in parts]
    for these, others in ((firsts, lasts), (lasts, firsts)):
        if len(set(these)) == 1 and _numbers(others):
            return None  # `img_0017.png`
    open_forms = [FIRST] if _could_be_labels(firsts, lasts) else []
    open_forms += [LAST] if _could_be_labels(lasts, firsts) else []
    deep = [p for p in parts if len(p) > 2]
    if len(deep) > RARE * len(parts) and _could_be_labels(
        ["".join(p[1:-1]) for p in deep], [p[0] for p in deep]
    ):
        return None  # `001_abcd_1.png`, whose middle no form reads
    return open_forms[0] if len(open_forms) == 1 else None


def _could_be_labels(parts: Sequence[str], others: Sequence[str]) -> bool:
    """Whether the parts may be labels; `others` are the parts at the other end of the stems."""
    return not (
        len(set(parts)) == 1
        or sum(not part.strip() for part in parts) > RARE * len(parts)
        or _is_counter(parts)
        or _is_copy_number(parts, others)
        or _is_hash(parts, shortest=8)
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
    if min(numbers) <= 1 and span == len(numbers) >= _FEWEST:
        return True
    return _are_unpadded(parts) and len(numbers) ** 2 >= 10 * span


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


def _is_hash(parts: Sequence[str], *, shortest: int) -> bool:
    """Whether the parts are hashes: hexadecimal, of one length, and nearly all different.

    Parts of digits alone count as hashes from 10 digits on, as time stamps have them.
    """
    if len({len(part) for part in parts}) != 1 or len(set(parts)) < 0.9 * len(parts):
        return False
    if not all(re.fullmatch("[0-9a-fA-F]+", part) for part in parts):
        return False
    return len(parts[0]) >= (max(10, shortest) if _numbers(parts) else shortest)


def _are_no_labels(stems: Sequence[str]) -> bool:
    """Whether whole stems are no labels: numbers (`1`, `17`; `img001`) or hashes."""
    if len(stems) < _FEWEST:
        return False
    matches = [_NUMBERED.fullmatch(stem) for stem in stems]
    prefixes = {match[1] if match else None for match in matches}
    if len(prefixes) == 1 and None not in prefixes:
        return prefixes != {""} or _are_unpadded(stems) or _is_counter(stems)
    return _is_hash(stems, shortest=16)


def _are_copies_of_plain(stems: Sequence[str]) -> bool:
    """Whether nearly all stems with a separator, as `abcd-2`, are copies of a stem `abcd`."""
    plain = {stem for stem in stems if not has_separator(stem)}
    split = [_SEPARATOR.split(stem) for stem in stems if has_separator(stem)]
    good = sum(len(p) == 2 and p[0] in plain and _numbers(p[1:]) is not None for p in split)
    return good >= 0.9 * len(split)


def _are_unpadded(parts: Sequence[str]) -> bool:
    """Whether whole numbers have different lengths and no leading zeros."""
    padded = any(len(part) > 1 and part.startswith("0") for part in parts)
    return not padded and len({len(part) for part in parts}) > 1


def _numbers(parts: Sequence[str]) -> list[int] | None:
    """Converts the parts to whole numbers; None if one is no number, or has over 18 digits."""
    if all(re.fullmatch("[0-9]{1,18}", part) for part in parts):
        return [int(part) for part in parts]
    return None
