"""Writes results in Markdown."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table, with a line break at the end.

    Args:
        header: The columns' titles.
        rows: The cells of each row, one for each column.
    """
    lines = [_row(header), "|" + "---|" * len(header), *map(_row, rows)]
    return "\n".join(lines) + "\n"


def bullets(lines: Iterable[str]) -> str:
    """A list with an item a line; without lines, an item that says so."""
    return "".join(f"- {line}\n" for line in lines) or "- nothing that was measured\n"


def milliseconds(value: float) -> str:
    """A time with three decimals below 1 ms, two below 10 ms, and none above."""
    return f"{value:.{3 if value < 1 else 2 if value < 10 else 0}f} ms"


def span(values: Sequence[float]) -> str:
    """The range of some milliseconds, such as `12 to 15 ms`."""
    low, high = milliseconds(min(values)), milliseconds(max(values))
    return low if low == high else f"{low.removesuffix(' ms')} to {high}"


def _row(cells: Iterable[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
