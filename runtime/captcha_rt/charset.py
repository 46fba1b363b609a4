"""The characters and the blank: the meaning of a model's classes."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from captcha_rt.errors import CharsetError

__all__ = ["Charset"]

_SHOWN: Final = 100
"""The characters that a message shows of a charset; Chinese ones have thousands."""


@dataclass(frozen=True, slots=True)
class Charset:
    """The characters of a model in the order of its classes, and the class of the blank.

    There is no convention for the blank's class: in Keras 3 it is the first class, in the keras.io
    captcha example and in TensorFlow's own op the last. So the class is stored here and looked up,
    never assumed.

    Attributes:
        characters: The characters, each a single code point of Unicode. No character occurs twice.
        blank: The blank's class, in `0..len(characters)`; None for models without a blank.

    Raises:
        CharsetError: If there are no characters, a character occurs twice or is half of a surrogate
            pair, or the blank is out of range.
    """

    characters: str
    blank: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str) or not self.characters:
            raise CharsetError(f"characters are a text of one or more, not {self.characters!r}")
        if self.blank is not None and type(self.blank) is not int:  # True is an int, too
            raise CharsetError(f"the blank is a class's number or None, not {self.blank!r}")
        if len(set(self.characters)) < len(self.characters):
            doubled = "".join(sorted(c for c, n in Counter(self.characters).items() if n > 1))
            raise CharsetError(f"a charset holds each character once; doubled: {shorten(doubled)}")
        if not is_unicode(self.characters):
            raise CharsetError("a charset's characters are Unicode, not halves of surrogate pairs")
        if self.blank is not None and not 0 <= self.blank <= len(self.characters):
            raise CharsetError(
                f"the blank is class {self.blank}, but there are only "
                f"{len(self.characters) + 1} classes with it"
            )

    @property
    def classes(self) -> int:
        """The number of classes, including the blank."""
        return len(self.characters) + (self.blank is not None)

    def encode(self, text: str) -> list[int]:
        """Turns a text into class ids.

        Args:
            text: A text of this charset's characters; may be empty.

        Returns:
            One class id per character, in `0..classes - 1`, never the blank.

        Raises:
            CharsetError: If the text has a character outside of the charset.
        """
        ids = _class_ids(self.characters, self.blank)
        try:
            return [ids[character] for character in text]
        except KeyError:
            foreign = "".join(sorted(set(text) - ids.keys()))
            raise CharsetError(
                f"{shorten(text)!r} has characters outside of the charset "
                f"{shorten(self.characters)!r}: {shorten(foreign)!r}"
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """Turns class ids into a text.

        Args:
            ids: Class ids in `0..classes - 1`, without the blank.

        Returns:
            The text, one character per id.

        Raises:
            CharsetError: If an id is the blank or out of range.
        """
        characters = _characters(self.characters, self.blank)
        try:
            return "".join(map(characters.__getitem__, ids))
        except KeyError as error:
            raise CharsetError(
                f"class {error.args[0]} is no character of {shorten(self.characters)!r}"
            ) from None


def shorten(characters: str) -> str:
    """The first characters of a long text, for a message."""
    return characters if len(characters) <= _SHOWN else f"{characters[:_SHOWN]}…"


def is_unicode(text: str) -> bool:
    """Whether a text can be written: halves of surrogate pairs, which JSON may hold, can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(maxsize=8)
def _class_ids(characters: str, blank: int | None) -> dict[str, int]:
    """The class of each character; with thousands of characters a search for each takes long."""
    skipped = len(characters) if blank is None else blank
    return {c: index + (index >= skipped) for index, c in enumerate(characters)}


@lru_cache(maxsize=8)
def _characters(characters: str, blank: int | None) -> dict[int, str]:
    """The character of each class."""
    return {class_id: c for c, class_id in _class_ids(characters, blank).items()}
