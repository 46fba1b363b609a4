"""The tables of `own.json`, in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks import markdown
from benchmarks.harness import Result
from benchmarks.markdown import bullets, milliseconds

Rows = Mapping[str, Mapping[str, Any]]


MINUTES: Final = 10
CPU_MS: Final = 0.5
FOUND: Final = 0.9
POINTS: Final = 0.5
"""What is wanted besides the exact match: the minutes of a training, the milliseconds of a picture,
the fraction of the wrong labels that is found, and the points of exact match that they may cost."""


def table(result: Result) -> str:
    """All tables, with what is not as wanted and what could not be measured."""
    parts = [kinds_table(result.get("kinds", {}))]
    if sizes := result.get("sizes"):
        parts += [accuracy_table(result["kinds"], sizes), runs_table(sizes)]
    if seeds := result.get("seeds"):
        parts.append(plateau_line(seeds) + "\n")
    if result.get("noise") or result.get("suspects"):
        parts.append(noise_table(result))
    if missed := [*below_target(result.get("sizes", {})), *costly(result)]:
        parts.append("Not as wanted:\n\n" + bullets(missed))
    if failed := failures(result):
        parts.append("Not measured:\n\n" + bullets(failed))
    return "\n".join(parts)


def kinds_table(kinds: Rows) -> str:
    """What each kind is like, and what drew it."""
    rows = [
        (
            name,
            kind.get("package", "real pictures"),
            kind.get("licence", ""),
            len(kind["characters"]),
            _span(kind["lengths"]),
            kind["sizes"][0] if len(kind["sizes"]) == 1 else f"{len(kind['sizes'])} sizes",
            f"{kind['untrained']:.1%}",
        )
        for name, kind in kinds.items()
    ]
    columns = ("kind", "package", "licence", "characters", "length", "pictures", "untrained")
    return markdown.table(columns, rows)


def accuracy_table(kinds: Rows, sizes: Rows) -> str:
    """The exact match on unseen pictures by kind and by the number of labelled pictures."""
    counts = sorted({row["pictures"] for row in sizes.values() if "failed" not in row})
    rows = [
        (
            name,
            len(kind["characters"]),
            *(_exact(sizes.get(f"{name} {count}", {})) for count in counts),
        )
        for name, kind in kinds.items()
    ]
    return markdown.table(("kind", "characters", *(f"{n:,} pictures" for n in counts)), rows)


def runs_table(sizes: Rows) -> str:
    """What each run says of itself, and what it costs."""
    rows = [
        (
            row["kind"],
            f"{row['pictures']:,}",
            f"{row['exact_match']:.1%}",
            _said(row["said"]),
            f"{row['seconds'] / 60:.1f} min",
            "" if row["cpu_seconds"] is None else f"{row['cpu_seconds'] / 60:.1f} min",
            f"{row['bytes'] / 1e6:.2f} MB",
            milliseconds(row["cpu_ms"]),
        )
        for row in sizes.values()
        if "failed" not in row
    ]
    columns = (
        *("kind", "labelled", "exact match", "the run's own", "training", "CPU", "model"),
        "a picture, CPU",
    )
    return markdown.table(columns, rows)


def below_target(sizes: Rows) -> list[str]:
    """The runs that read fewer pictures right than is wanted, a line each."""
    return [
        f"{key}: {row['exact_match']:.1%}, wanted {row['target']:.0%}"
        for key, row in sizes.items()
        if row.get("target") and row["exact_match"] < row["target"]
    ]


def plateau_line(seeds: Rows) -> str:
    """How many of the runs on few pictures end on the plateau, and which."""
    measured = {key: row for key, row in seeds.items() if "failed" not in row}
    stuck = [key for key, row in measured.items() if row["plateau"]]
    line = f"{len(stuck)} of {len(measured)} runs on 50 pictures end on the plateau"
    if measured:
        exact = [row["exact_match"] for row in measured.values()]
        line += f"; they read {min(exact):.1%} to {max(exact):.1%} right"
    return f"{line}{': ' if stuck else ''}{', '.join(stuck)}."


def noise_table(result: Result) -> str:
    """How many wrong labels were found, and what they cost."""
    rows = []
    for key in {**result.get("noise", {}), **result.get("suspects", {})}:
        noisy, found = (_measured(result, part, key) for part in ("noise", "suspects"))
        clean = _clean(result, noisy)
        rows.append(
            (
                key.split()[0],
                f"{found['found']} of {found['wrong']}" if found else "",
                found.get("false_alarms", ""),
                f"{found['seconds'] / 60:.1f} min" if found else "",
                f"{clean['exact_match']:.1%}" if clean else "",
                f"{noisy['exact_match']:.1%}" if noisy else "",
                f"{_points_lost(clean, noisy):.1f}" if clean and noisy else "",
            )
        )
    columns = (
        *("kind", "wrong labels found", "false alarms", "search"),
        *("exact match, right labels", "with wrong ones", "points lost"),
    )
    return markdown.table(columns, rows)


def costly(result: Result) -> list[str]:
    """The runs that take too long, and the wrong labels that are not found or cost too much."""
    lines = []
    for part in ("sizes", "seeds", "noise"):
        for key in result.get(part, {}):
            row = _measured(result, part, key)
            if row and row["seconds"] > 60 * MINUTES:
                lines.append(f"{key}: {row['seconds'] / 60:.1f} min, wanted {MINUTES}")
            if row and row["cpu_ms"] > CPU_MS:
                lines.append(f"{key}: {milliseconds(row['cpu_ms'])} a picture, wanted {CPU_MS}")
    for key in result.get("noise", {}):
        noisy = _measured(result, "noise", key)
        clean = _clean(result, noisy)
        if clean and (lost := _points_lost(clean, noisy)) > POINTS:
            lines.append(f"{key}: {lost:.1f} points lost, wanted {POINTS}")
    for key in result.get("suspects", {}):
        row = _measured(result, "suspects", key)
        if row and (row["found"] < FOUND * row["wrong"] or row["false_alarms"] > row["found"]):
            found = f"{row['found']} of {row['wrong']} found, {row['false_alarms']} false alarms"
            lines.append(f"{key}: {found}")
    return lines


def failures(result: Result) -> list[str]:
    """The kinds that are missing and the rows that failed, a line each."""
    found = [
        f"{name}: {row['missing']}"
        for name, row in result.get("missing", {}).items()
        if name not in result.get("kinds", {})
    ]
    for part in ("sizes", "seeds", "noise", "suspects"):
        rows = result.get(part, {}).items()
        found += [f"{key}: {row['failed']}" for key, row in rows if "failed" in row]
    return found


def _measured(result: Result, part: str, key: str) -> Mapping[str, Any]:
    """A row; empty if it failed or is not there."""
    row: Mapping[str, Any] = result.get(part, {}).get(key, {})
    return {} if "failed" in row else row


def _clean(result: Result, noisy: Mapping[str, Any]) -> Mapping[str, Any]:
    """The row on right labels that belongs to one on some wrong labels; empty without one."""
    return _measured(result, "sizes", f"{noisy['kind']} {noisy['pictures']}") if noisy else {}


def _points_lost(clean: Mapping[str, Any], noisy: Mapping[str, Any]) -> float:
    return round(100 * float(clean["exact_match"] - noisy["exact_match"]), 2)


def _exact(row: Mapping[str, Any]) -> str:
    if not row:
        return ""
    if "failed" in row:
        return "failed"
    low, high = row["interval"]
    missed = row["target"] is not None and row["exact_match"] < row["target"]
    exact = f"{row['exact_match']:.1%}{' (below)' if missed else ''}"
    return f"{exact}, {low:.1%} to {high:.1%}"


def _said(said: Rows) -> str:
    """The run's own accuracy: of the part `test` if there is one."""
    if not said:
        return ""
    found = said.get("test") or next(iter(said.values()))
    return f"{found['exact_match']:.1%} of {found['pictures']}"


def _span(ends: Sequence[int]) -> str:
    low, high = ends
    return str(low) if low == high else f"{low} to {high}"
