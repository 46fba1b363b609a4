"""The characters of a foreign network: as told, as the file holds them, or as the labels say."""

import string
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from captcha_rt.charset import Charset, shorten
from captcha_rt.errors import CharsetError
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.alignment import is_stand_in, stand_ins

_DIGITS, _LOWER, _UPPER = string.digits, string.ascii_lowercase, string.ascii_uppercase
_ORDERS: Final = (
    *(_DIGITS, _LOWER, _UPPER, _DIGITS + _LOWER, _DIGITS + _UPPER, _LOWER + _DIGITS),
    *(_UPPER + _DIGITS, _LOWER + _UPPER, _UPPER + _LOWER, _DIGITS + _LOWER + _UPPER),
    *(_DIGITS + _UPPER + _LOWER, _LOWER + _UPPER + _DIGITS, _UPPER + _LOWER + _DIGITS),
    *(string.printable[:94], "".join(sorted(string.printable[:94]))),
)
"""The orders in which people number all digits and letters."""


def parse_blank(text: str | None, classes: int) -> int | None:
    """Reads `--blank`: first, last or a class's number; none, and no option, are None.

    Raises:
        ExportError: If the text is something else, or there is no such class.
    """
    words = {None: None, "none": None, "first": 0, "last": classes - 1}
    if text in words:
        return words[text]
    try:
        blank = int(str(text))
    except ValueError:
        blank = -1
    if not 0 <= blank < classes:
        raise ExportError(
            f"--blank {text}: the network has {classes} classes; type --blank first, --blank last, "
            f"--blank none, or a number in 0..{classes - 1}"
        )
    return blank


def characters_of(texts: Sequence[str]) -> str:
    """The characters of a vocabulary: U+FFFD and private ones stand for what is no character.

    `[UNK]`, an empty text, U+FFFD and whatever has more than one character are none, and neither
    is a character that has a class already.
    """
    others = stand_ins()
    found: dict[str, None] = {}  # in order
    for text in texts:
        is_character = len(text) == 1 and not is_stand_in(text) and text not in found
        found[text if is_character else next(others)] = None
    return "".join(found)


@lru_cache(maxsize=64)  # all ways to read a network ask for a few; one may have thousands
def charset_of(characters: str, blank: int | None, classes: int, where: str) -> Charset:
    """Makes a charset that has as many classes as the network.

    Args:
        characters: The characters in the order of the classes; U+FFFD may stand several times.
        blank: The blank's class.
        classes: The number of the network's classes.
        where: Where the characters are from, for the message.

    Raises:
        ExportError: If there are too many or too few characters.
    """
    wanted = classes - (blank is not None)
    where = shorten(where)
    if len(characters) != wanted:
        raise ExportError(
            f"{where} has {len(characters)} characters; the network has {classes} classes, "
            + (f"one of them the blank, so it takes {wanted}" if blank is not None else "no blank")
            + ": name as many in order by --charset, with � for each class that stands for none"
            + (f", or say where the blank is by --blank {_other(len(characters), classes)}")
        )
    doubled = [c for c, n in Counter(characters).items() if n > 1 and not is_stand_in(c)]
    if doubled:
        raise ExportError(f"{where} has {doubled[0]!r} twice; each character has one class")
    try:
        return Charset(characters_of(characters), blank)
    except CharsetError as error:
        raise ExportError(f"{where}: {error}") from error


def _other(characters: int, classes: int) -> str:
    return "none" if characters == classes else "first or --blank last"


def complete(known: Mapping[int, str], ids: Sequence[int]) -> dict[int, str]:
    """Names the classes that no picture showed, where a common order leaves no choice.

    Args:
        known: The character of each class that was seen.
        ids: All classes but the blank, in order.

    Returns:
        The characters of the other classes; empty unless the seen ones all stand where one common
        order of as many characters has them.
    """
    for order in _ORDERS:
        if len(order) == len(ids):
            expected = dict(zip(ids, order, strict=True))
            if all(expected[index] == character for index, character in known.items()):
                return {index: c for index, c in expected.items() if index not in known}
    return {}
