"""Finds which character each class stands for, by comparing what a network reads with the labels.

A network's classes are numbers. The order of the characters is in the notebook, and may be random:
`list(set(characters))` differs from one start of Python to the next. But where a picture is read as
many classes as its label has characters, each class stands beside its character; over some dozen
pictures this says what the classes mean, whatever their order.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNKNOWN: Final = "\ufffd"
"""What the first class reads as that has no character; the next ones read as private characters."""

_PRIVATE: Final = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))


def stand_ins() -> Iterator[str]:
    """What classes read as that have no character, in turn: each class needs another one."""
    yield UNKNOWN
    yield from map(chr, chain(*_PRIVATE))


def is_stand_in(text: str) -> bool:
    """Whether a text is one of `stand_ins`."""
    return text == UNKNOWN or (len(text) == 1 and any(ord(text) in r for r in _PRIVATE))


@dataclass(frozen=True, slots=True)
class Alignment:
    """The meaning of the classes, with what speaks for it.

    Attributes:
        characters: The character of each class that was seen, by the class.
        seen: How often each class stood beside a label's character.
        agreed: How often it stood beside its own.
        compared: The number of pictures that were read as many classes as their labels have
            characters.
    """

    characters: Mapping[int, str]
    seen: Mapping[int, int]
    agreed: Mapping[int, int]
    compared: int

    @property
    def share(self) -> float:
        """The share of the characters beside which their own class stood, in 0..1."""
        return sum(self.agreed.values()) / max(1, sum(self.seen.values()))

    def read(self, ids: Sequence[int]) -> str:
        """The text of some classes; a class without a character is read as U+FFFD."""
        return "".join(self.characters.get(index, UNKNOWN) for index in ids)


def read_paths(best: NDArray[np.intp], decoder: str, blank: int | None) -> list[tuple[int, ...]]:
    """The classes that a network reads, without a charset.

    Args:
        best: `(P, T)`, the best class of each time step.
        decoder: `"ctc"` merges repeats and drops the blank; others drop the blank.
        blank: The blank's class; None if there is none.

    Returns:
        For each picture the ids of its classes.
    """
    keep = np.ones(best.shape, bool)
    if decoder == "ctc":
        keep[:, 1:] = best[:, 1:] != best[:, :-1]
    if blank is not None:
        keep &= best != blank
    return [tuple(row[kept].tolist()) for row, kept in zip(best, keep, strict=True)]


def align(paths: Sequence[Sequence[int]], labels: Sequence[str]) -> Alignment:
    """Gives each class the character that it most often stands beside.

    Pairs are taken in the order of how often they occur; a character goes to one class only.

    Args:
        paths: The classes that each picture was read as.
        labels: The labels of the same pictures.
    """
    fitting = [(p, label) for p, label in zip(paths, labels, strict=True) if len(p) == len(label)]
    pairs = Counter(pair for path, label in fitting for pair in zip(path, label, strict=True))
    characters: dict[int, str] = {}
    agreed: dict[int, int] = {}
    taken: set[str] = set()
    for (index, character), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        if index not in characters and character not in taken:
            characters[index], agreed[index] = character, count
            taken.add(character)
    seen = Counter(index for path, _ in fitting for index in path)
    return Alignment(characters, seen, agreed, len(fitting))
