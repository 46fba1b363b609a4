"""What `captcha-rt export` prints."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from captcha_rt.cli.output import SOME_FAILED, fail

if TYPE_CHECKING:
    from captcha_rt_export.export import Report
    from captcha_rt_export.int8 import Int8Report


def print_report(report: "Report", out: Path, *, source: str = "", original: str) -> None:
    """Prints what was made and checked.

    Args:
        report: What an export made.
        out: The file.
        source: What it was made from, for a model that was trained elsewhere.
        original: What it was compared with.
    """
    from captcha_rt_export.parity import BATCHES

    operators = ", ".join(f"{operator} {count}" for operator, count in report.operators.items())
    origin = f", from {source}" if source else ""
    typer.echo(f"{out}: {report.size:,} bytes, model {report.manifest.name}{origin}")
    typer.echo(f"operators: {operators}")
    typer.echo(
        f"checked against {original} on {report.pictures} pictures at batch "
        f"{', '.join(map(str, BATCHES))}: same texts, largest difference "
        f"{report.parity.probability:.1e} in probability, {report.parity.score:.1e} in the scores"
    )
    if report.int8 is not None:
        typer.echo(_table(report.int8))


def end(only_answer: str | None, pictures: int, instead: str, following: str) -> None:
    """Says what to type next; ends the command if a model answers all pictures with one text.

    Args:
        only_answer: The text that all pictures are answered with; None if the texts differ.
        pictures: The number of pictures.
        instead: What else may be the reason.
        following: What to type next.
    """
    if only_answer is not None:
        fail(
            f"the model answers all {pictures} pictures with {only_answer or 'nothing'}: it has "
            f"learned nothing, or {instead}",
            SOME_FAILED,
        )
    typer.echo(f"next: {following}")


def _table(report: "Int8Report") -> str:
    """The forms as they were measured, one a line."""
    width = max(len(candidate.form) for candidate in report.candidates)
    lines = [f"{'':{width}}       bytes  ms a picture  right of {report.pictures}"]
    for candidate in report.candidates:
        taken = "  taken" if candidate == report.chosen else ""
        lines.append(
            f"{candidate.form:{width}}  {candidate.size:10,}  {candidate.milliseconds:12.3f}  "
            f"{candidate.right:>{len(str(report.pictures)) + 9}}{taken}"
        )
    return "\n".join(lines)
