"""Corrected labels: a list of what wrongly labelled pictures show, which people make by looking."""

import csv
from pathlib import Path

from captcha_rt_train.errors import TrainingError


def read_corrections(file: Path, data: str) -> dict[str, str]:
    """Reads what the wrongly labelled pictures of a source show.

    Args:
        file: A CSV file with the columns data, picture, label, shown.
        data: The source's name, as the column data has it.

    Returns:
        The texts that the pictures show, by file name.

    Raises:
        TrainingError: If the file can't be read, or lacks a column.
    """
    try:
        with file.open(newline="", encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
        return {row["picture"]: row["shown"] for row in rows if row["data"] == data}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise TrainingError(f"can't read the corrections in {file}: {error!r}") from error
