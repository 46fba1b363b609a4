"""Puts JSON lines, an answer each, together into one file of such lines or of Parquet."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any, Final

from captcha_rt.errors import InstallationError
from captcha_rt.files import write_atomically

_ROWS: Final = 50_000  # of a group of rows of a Parquet file


def merge(parts: Iterable[str], output: Path) -> Counter[str]:
    """Writes the rows of files into one file, in order, in bounded memory.

    Args:
        parts: JSON lines as `answer_to_json` makes them, with `path`; several texts of them.
        output: The file to write: Parquet if its suffix is `.parquet`, otherwise JSON lines.

    Returns:
        The number of rows by the type of their error; those without one are `""`.

    Raises:
        InstallationError: If pyarrow is missing for Parquet.
        OSError: If a file can't be read or written.
    """
    counts: Counter[str] = Counter()
    with write_atomically(output) as file:
        if output.suffix.lower() == ".parquet":
            _write_parquet(_counted(parts, counts), file)
        else:
            with file.open("w", encoding="utf-8", newline="\n") as lines:
                for line, _ in _counted(parts, counts):
                    lines.write(line)
    return counts


def _counted(parts: Iterable[str], counts: Counter[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of all parts and what they say; their errors are counted."""
    for part in parts:
        for line in StringIO(part):  # splits at "\n" alone
            row = json.loads(line)
            counts[row["error"]["type"] if "error" in row else ""] += 1
            yield line, row


def check_parquet() -> None:
    """Raises an InstallationError if Parquet can't be written."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise InstallationError(
            f'a .parquet file needs pyarrow: pip install "captcha-rt[dask]" ({error})'
        ) from error


def _write_parquet(rows: Iterable[tuple[str, dict[str, Any]]], file: Path) -> None:
    """Writes rows; a column is null where a row hasn't it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number, count = pa.string(), pa.float64(), pa.int64()
    schema = pa.schema(
        {
            "path": text,
            "text": text,
            "confidence": number,
            "characters": pa.list_(pa.struct({"text": text, "confidence": number})),
            "model": text,
            "alternatives": pa.list_(pa.struct({"text": text, "probability": number})),
            "value": count,
            "frames": count,
            "error": pa.struct({"type": text, "message": text}),
        }
    )
    with pq.ParquetWriter(file, schema) as writer:
        ahead: list[dict[str, Any]] = []
        for _, row in rows:
            ahead.append(row)
            if len(ahead) == _ROWS:
                writer.write_table(pa.Table.from_pylist(ahead, schema))
                ahead.clear()
        writer.write_table(pa.Table.from_pylist(ahead, schema))
