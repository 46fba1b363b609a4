"""Reads a list of suspects, as `captcha-rt suspects` writes it."""

import csv
from pathlib import Path
from unicodedata import normalize

from captcha_rt_train.errors import TrainingError
from captcha_rt_train.labelling.picture import Suggestion


def read_suspects(path: Path, folder: Path) -> list[tuple[str, str, Suggestion]]:
    """Reads a list of suspects.

    Args:
        path: A CSV file in UTF-8 with the columns `data`, `picture`, `label`, `shown` and
            `confidence`.
        folder: The folder of the pictures. If `data` is its name in some rows, others don't count.

    Returns:
        For each suspect the picture's path or name, its label, and what was read.

    Raises:
        TrainingError: If the file can't be read, or a column is missing.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(normalize("NFC", line) for line in file))
        own = [row for row in rows if row["data"] == folder.resolve().name] or rows
        return [
            (
                row["picture"],
                row["label"],
                Suggestion(row["shown"], float(row["confidence"]), path.name),
            )
            for row in own
        ]
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise TrainingError(f"can't read the suspects in {path}: {error!r}") from error
