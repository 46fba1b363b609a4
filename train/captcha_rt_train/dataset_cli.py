"""The command `captcha-rt dataset`."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from captcha_rt.commands import SOME_FAILED, one_line
from captcha_rt.labels import AUTO, FORMS_HELP
from captcha_rt.progress import track
from captcha_rt_train.dataset import Description, describe

BAR = 40  # characters of the longest bar

dataset_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataset_app.command("dataset")
def dataset_command(
    folder: Annotated[Path, typer.Argument(help="A folder of labelled pictures.")],
    labels: Annotated[str, typer.Option(help=FORMS_HELP)] = AUTO,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Say what a folder of labelled pictures holds, and what is wrong with it."""
    description = describe(
        folder, labels, watch=lambda items, total: track(items, total, what="reading", quiet=quiet)
    )
    if as_json:
        typer.echo(json.dumps(asdict(description), indent=2))
    else:
        for line in _lines(description, bars=sys.stdout.isatty()):
            typer.echo(one_line(line))
    raise typer.Exit(SOME_FAILED if description.unreadable else 0)


def _lines(found: Description, *, bars: bool) -> Iterator[str]:
    wrong = [twins for twins in found.twins if not twins.agree]
    yield f"pictures: {found.pictures}"
    yield f"labels: from {found.labels} (--labels {found.form})"
    yield f"sizes: {_counts(found.sizes)}"
    yield f"formats: {_counts(found.formats)}"
    yield f"label lengths: {_counts(found.lengths)}"
    yield f"labels that several pictures have: {found.repeated_labels}"
    yield f"unreadable: {len(found.unreadable)}"
    yield f"problems of labels: {len(found.problems)}"
    yield f"groups of the same pixels: {len(found.twins)}, {len(wrong)} with different labels"
    yield f"characters: {len(found.characters)}: {''.join(found.characters)}"
    most = max(found.characters.values())
    for character, count in found.characters.items():
        bar = "█" * max(1, round(BAR * count / most))
        yield f"  {character} {bar + ' ' if bars else ''}{count}"
    for name, reason in found.unreadable:
        yield f"unreadable: {name}: {reason}"
    for name, reason in found.problems:
        yield f"problem: {name}: {reason}"
    for twins in found.twins:
        shown = ", ".join(
            f"{path} ({label})" for path, label in zip(twins.paths, twins.labels, strict=True)
        )
        yield f"same pixels{'' if twins.agree else ', different labels'}: {shown}"


def _counts(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{value} ({count})" for value, count in counts.items()) or "none"
