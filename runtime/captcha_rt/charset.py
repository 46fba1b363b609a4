"""The characters and the blank: the meaning of a model's classes."""

from collections.abc import Iterable
from dataclasses import dataclass

from captcha_rt.errors import CharsetError

__all__ = ["Charset"]


@dataclass(frozen=True, slots=True)
class Charset:
    """The characters of a model in the order of its classes, and the class of the blank.

    There is no convention for the blank's class: in Keras 3 it is the first class, in the keras.io
    captcha example and in TensorFlow's own op the last. So the class is stored here and looked up,
    never assumed.

    Attributes:
        characters: The characters, each a single code point. No character occurs twice.
        blank: The blank's class, in `0..len(characters)`; None for models without a blank.

    Raises:
        CharsetError: If there are no characters, a character occurs twice, or the blank is out of
            range.
    """

    characters: str
    blank: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str) or not self.characters:
            raise CharsetError(f"characters are a text of one or more, not {self.characters!r}")
        if self.blank is not None and type(self.blank) is not int:  # True is an int, too
            raise CharsetError(f"the blank is a class's number or None, not {self.blank!r}")
        doubled = sorted({c for c in self.characters if self.characters.count(c) > 1})
        if doubled:
            raise CharsetError(f"a charset holds each character once; doubled: {''.join(doubled)}")
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
        foreign = sorted(set(text) - set(self.characters))
        if foreign:
            raise CharsetError(
                f"{text!r} has characters outside of the charset "
                f"{self.characters!r}: {''.join(foreign)!r}"
            )
        return [self._skip_blank(self.characters.index(c)) for c in text]

    def decode(self, ids: Iterable[int]) -> str:
        """Turns class ids into a text.

        Args:
            ids: Class ids in `0..classes - 1`, without the blank.

        Returns:
            The text, one character per id.

        Raises:
            CharsetError: If an id is the blank or out of range.
        """
        return "".join(map(self._character, ids))

    def _skip_blank(self, index: int) -> int:
        return index + (self.blank is not None and index >= self.blank)

    def _character(self, class_id: int) -> str:
        if class_id == self.blank or not 0 <= class_id < self.classes:
            raise CharsetError(f"class {class_id} is no character of {self.characters!r}")
        return self.characters[class_id - (self.blank is not None and class_id > self.blank)]
