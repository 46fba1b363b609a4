"""Corrections: the right labels of wrongly labelled pictures, as people found them by looking."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from captcha_rt.pictures import name_below
from captcha_rt_train.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Corrections:
    """The right texts of wrongly labelled pictures.

    Attributes:
        name: The name of the file that they stand in.
        texts: The right text by the picture, its path below the folder or its name, and the label
            that is wrong, as `_key` makes them.
    """

    name: str = ""
    texts: Mapping[tuple[str, str], str] = field(default_factory=dict)

    @property
    def by_name(self) -> dict[str, str]:
        """The right texts by the pictures' names, of a folder without sub-folders."""
        return {picture: text for (picture, _), text in self.texts.items()}

    def apply(
        self, items: Sequence[tuple[Path, str]], folder: Path
    ) -> tuple[tuple[tuple[Path, str], ...], str]:
        """Corrects labels. A name alone counts if one picture has it together with the label.

        Args:
            items: The pictures with their labels.
            folder: The pictures' folder.

        Returns:
            The pictures with corrected labels, and a note on corrections that fit no picture;
            empty if all do.
        """
        keys = [_key(name_below(path, folder), text) for path, text in items]
        named = Counter((name.rpartition("/")[2], text) for name, text in keys)
        used = set()
        corrected = []
        for (path, text), (name, label) in zip(items, keys, strict=True):
            by_name = (name.rpartition("/")[2], label)
            key = (name, label) if named[by_name] > 1 or by_name not in self.texts else by_name
            used.add(key)
            corrected.append((path, self.texts.get(key, text)))
        left = [key for key in self.texts if key not in used]
        if not left:
            return tuple(corrected), ""
        name, label = left[0]
        return tuple(corrected), (
            f"{len(left)} of {len(self.texts)} corrections in {self.name} fit no picture, or "
            f"several: {name}, labelled {label}, first"
        )


def read_corrections(file: Path, data: str) -> Corrections:
    """Reads the corrected labels of one source.

    Args:
        file: A CSV file in UTF-8 with the columns `data` (the source's name), `picture` (its path
            below the source's folder, or its name), `label` (the wrong one) and `shown` (the right
            text).
        data: The source's name; rows of other sources are ignored.

    Returns:
        The corrections.

    Raises:
        TrainingError: If the file can't be read, or a column is missing.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as table:
            rows = list(csv.DictReader(normalize("NFC", line) for line in table))
        texts = {
            _key((row["picture"] or "").replace("\\", "/"), row["label"] or ""): row["shown"] or ""
            for row in rows
            if row["data"] == data
        }
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise TrainingError(f"can't read the corrections in {file}: {error!r}") from error
    return Corrections(file.name, texts)


def _key(picture: str, label: str) -> tuple[str, str]:
    """What a correction is found by; the labels may have been folded when it was written."""
    return normalize("NFC", picture), normalize("NFC", label).casefold()
