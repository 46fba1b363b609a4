"""The command `captcha-rt dataset`."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import typer

from captcha_rt.cli.options import JsonOption, QuietOption
from captcha_rt.cli.output import OK, SOME_FAILED, one_line, to_json
from captcha_rt.labels import AUTO
from captcha_rt_train.cli.options import LabelsOption, SourceArgument, show_reading

if TYPE_CHECKING:
    from captcha_rt_train.data.description import Description

_BAR_LENGTH: Final = 40  # characters of the longest bar


def dataset(
    folder: SourceArgument,
    labels: LabelsOption = AUTO,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Say what a folder of labelled pictures holds, and what is wrong with it."""
    from captcha_rt_train.data.description import describe

    description = describe(folder, labels, watch=show_reading(quiet))
    for note in description.notes if not quiet else ():
        typer.echo(one_line(note), err=True)
    if as_json:
        typer.echo(to_json(asdict(description), indent=2))
    else:
        for line in _lines(description, bars=sys.stdout.isatty()):
            typer.echo(one_line(line))
    raise typer.Exit(SOME_FAILED if description.unreadable else OK)


def _lines(found: "Description", *, bars: bool) -> Iterator[str]:
    wrong = [group for group in found.duplicates if not group.agree]
    yield f"pictures: {found.pictures}"
    form = "" if found.form == "sources" else f" (--labels {found.form})"
    yield f"labels: from {found.labels}{form}"
    yield f"sizes: {_counts(found.sizes)}"
    yield f"formats: {_counts(found.formats)}"
    if found.animations:
        yield (
            f"animations: {found.animations}; the first frame is read, unless a recipe begins with "
            'the step "frames"'
        )
    yield f"label lengths: {_counts(found.lengths)}"
    yield f"labels that several pictures have: {found.repeated_labels}"
    yield f"unreadable: {len(found.unreadable)}"
    yield f"problems of labels: {len(found.problems)}"
    yield f"groups of the same pixels: {len(found.duplicates)}, {len(wrong)} with different labels"
    yield f"characters: {len(found.characters)}: {''.join(found.characters)}"
    most = max(found.characters.values(), default=0)  # 0: only generators
    for character, count in found.characters.items():
        bar = "█" * max(1, round(_BAR_LENGTH * count / most))
        yield f"  {character} {bar + ' ' if bars else ''}{count}"
    for name, reason in found.unreadable:
        yield f"unreadable: {name}: {reason}"
    for name, reason in found.problems:
        yield f"problem: {name}: {reason}"
    for group in found.duplicates:
        shown = ", ".join(
            f"{path} ({label})" for path, label in zip(group.paths, group.labels, strict=True)
        )
        yield f"same pixels{'' if group.agree else ', different labels'}: {shown}"


def _counts(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{value} ({count})" for value, count in counts.items()) or "none"
