"""What wrongly labelled pictures show: a list that people make, by looking."""

import csv
from pathlib import Path

from captcha_rt_train.errors import TrainingError


def read_corrections(file: Path, data: str) -> dict[str, str]:
    """What the wrongly labelled pictures of a set show, by file name.

    Args:
        file: A CSV file with the columns data, picture, label, shown.
        data: The set's name, in the column data.

    Raises:
        TrainingError: If it can't be read, or lacks a column.
    """
    try:
        with file.open(newline="", encoding="utf-8") as table:
            rows = list(csv.DictReader(table))
        return {row["picture"]: row["shown"] for row in rows if row["data"] == data}
    except (OSError, KeyError, UnicodeDecodeError) as error:
        raise TrainingError(f"can't read the corrections in {file}: {error!r}") from error
