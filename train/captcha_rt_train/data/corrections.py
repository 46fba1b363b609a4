"""Corrections: the right labels of wrongly labelled pictures, as people found them by looking."""

import csv
from pathlib import Path
from unicodedata import normalize

from captcha_rt_train.errors import TrainingError


def read_corrections(file: Path, data: str) -> dict[str, str]:
    """Reads the corrected labels of one source.

    Args:
        file: A CSV file in UTF-8 with the columns `data` (the source's name), `picture` (the file
            name), `label` and `shown` (the right text).
        data: The source's name; rows of other sources are ignored.

    Returns:
        The right texts by file name, both in NFC.

    Raises:
        TrainingError: If the file can't be read, or a column is missing.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as table:
            rows = list(csv.DictReader(normalize("NFC", line) for line in table))
        return {row["picture"]: row["shown"] for row in rows if row["data"] == data}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise TrainingError(f"can't read the corrections in {file}: {error!r}") from error
