"""Copies that file managers and browsers make, such as `abcd (1).png` beside `abcd.png`.

A copy is only known by the original beside it: `abcd 2.png` alone may hold the text `abcd 2`. Where
the content of both is equal, the copy is left out; otherwise it would be in training and in
validation. Another content is another picture of the same text: a browser that downloads a second
`abcd.png` names it `abcd (1).png`.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from captcha_rt.formats import SUFFIXES
from captcha_rt.labels.stems import RARE

# The word for a copy in the languages whose file managers write it into the name.
_WORD: Final = (
    "(?:copy|kopie|copie|copia|cópia|còpia|kopia|kópia|kopi|kopio|kopya|koopia|kopija|copi|"
    "копия|копія|копие|kópie|αντίγραφο|副本|复件|複製|複本|拷贝|コピー|복사본|사본|"
    "bản sao|salinan|สำเนา|نسخة|עותק|प्रतिलिपि)"
)
_NUMBER: Final = "[0-9]{1,3}"
# Windows, KDE, browsers: `abcd (1)`, `abcd(1)`, and with the wide brackets of Chinese and Japanese.
_IN_BRACKETS: Final = rf" ?[(\uff08]{_NUMBER}[)\uff09]"
_SUFFIX: Final = "|".join(map(re.escape, sorted(SUFFIXES)))

_MARKS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(.+) - {_WORD}(?:{_IN_BRACKETS})?",  # Windows: `abcd - Copy (2)`
        rf"(.+) \((?:[^()]+ )?{_WORD}(?: {_NUMBER})?\)",  # GNOME: `abcd (another copy)`
        rf"(.+?)(?: |的|の| の){_WORD}(?: ?{_NUMBER})?",  # macOS: `abcd copy 2`
        rf"{_WORD}(?: \({_NUMBER}\))? (?:of|von|de|di|van|av|af) (.+)",  # Windows XP, Google Drive
        rf"(.+){_IN_BRACKETS}",
        rf"(.+)(?:{_SUFFIX})(?:\.{_NUMBER}|~|\.bak|\.orig|\.old)",  # wget and editors: `abcd.png.1`
    )
)
_NUMBERED: Final = re.compile(rf"(.+) {_NUMBER}")  # macOS: `abcd 2`, which may also be a text
# A word in any language; only equal content shows that it means a copy.
_ANY_WORD: Final = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(.+) - [^\W\d_]+(?:{_IN_BRACKETS})?",
        r"(.+) \([^()]+\)",
        rf"(.+) [^\W\d_]+(?: {_NUMBER})?",
    )
)


class Copies(NamedTuple):
    """What `find_copies` found.

    Attributes:
        stems: The stem of each picture that is left, for a copy that of its original.
        equal: The copies with the content of another picture, which are left out.
        other: The copies with a content of their own, which are left.
    """

    stems: dict[Path, str]
    equal: tuple[Path, ...]
    other: tuple[Path, ...]

    def describe(self) -> str:
        """One line on the copies; empty if there are none."""
        parts = []
        if self.equal:
            parts.append(f"{_some(self.equal)} left out, with the content of another picture")
        if self.other:
            parts.append(f"{_some(self.other)} taken as other pictures of the same text")
        return f"copies: {'; '.join(parts)}" if parts else ""


def looks_like_copy(stem: str) -> bool:
    """Whether a stem has the mark of a copy that hardly any text has: `abcd (1)`, `abcd copy`."""
    return any(mark.fullmatch(stem) for mark in _MARKS)


def find_copies(stems: Mapping[Path, str]) -> Copies:
    """Finds the pictures that are copies of another one beside them.

    Args:
        stems: The stem of each picture.

    Returns:
        The pictures that are left, in order, and the copies.
    """
    texts = set(stems.values())
    spaced = [stem for stem in texts if " " in stem and not _is_marked(stem)]
    # Among texts with spaces, `room 2` is another text than `room`.
    certain = _MARKS if len(spaced) > RARE * len(texts) else (*_MARKS, _NUMBERED)
    surely = {path: _original(stem, texts, certain) for path, stem in stems.items()}
    likely = {
        path: surely[path] or _original(stem, texts, (*_MARKS, _NUMBERED, *_ANY_WORD))
        for path, stem in stems.items()
    }
    groups: dict[str, list[Path]] = defaultdict(list)
    for path, original in likely.items():
        groups[original or stems[path]].append(path)
    left = dict(stems)
    equal: list[Path] = []
    other: list[Path] = []
    for text, group in groups.items():
        copies = [path for path in group if likely[path] is not None]
        contents = {_content(path) for path in group if likely[path] is None} if copies else set()
        for path in copies:
            content = _content(path)
            if content in contents:
                equal.append(path)
                del left[path]
            elif surely[path] is not None:
                other.append(path)
                left[path] = text
            contents.add(content)
    return Copies(left, tuple(sorted(equal)), tuple(sorted(other)))


def _is_marked(stem: str) -> bool:
    return looks_like_copy(stem) or _NUMBERED.fullmatch(stem) is not None


def _original(stem: str, stems: Collection[str], marks: Sequence[re.Pattern[str]]) -> str | None:
    """The stem that a stem is a copy of, or a copy of a copy; None if there is none."""
    found: list[str] = []
    seen = {stem}
    open_stems = [stem]
    while open_stems:
        marked = open_stems.pop()
        matches = filter(None, (mark.fullmatch(marked) for mark in marks))
        bases = {match[1].strip() for match in matches} - seen
        seen |= bases
        open_stems += bases
        found += (base for base in bases if base in stems)
    return min(found, key=len, default=None)  # of `abcd copy` and `abcd`, the latter


def _content(path: Path) -> bytes:
    """A hash of the file's bytes; of a file that can't be read, its own name."""
    try:
        # With 16 bytes, two of 10 million files have the same hash with a probability of 1e-25.
        return blake2b(path.read_bytes(), digest_size=16).digest()
    except OSError:
        return bytes(path)


def _some(paths: Collection[Path]) -> str:
    """The number of files, and the names of the first three."""
    names = ", ".join(path.name for path in sorted(paths)[:3])
    return f"{len(paths)} ({names}{', ...' if len(paths) > 3 else ''})"
