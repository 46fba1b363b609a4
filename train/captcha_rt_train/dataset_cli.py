"""The command `captcha-rt dataset`."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from captcha_rt.commands import SOME_FAILED, one_line
from captcha_rt.labels import AUTO, FORMS_HELP
from captcha_rt.progress import Watch, track
from captcha_rt_train.dataset import Description, describe

BAR = 40  # characters of the longest bar

dataset_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataset_app.command("dataset")
def dataset_command(
    folder: Annotated[Path, typer.Argument(help="A folder of labelled pictures.")],
    labels: Annotated[str, typer.Option(help=FORMS_HELP)] = AUTO,
    suspects: Annotated[
        bool,
        typer.Option(
            "--suspects", help="List the labels that networks contradict, trained on the others."
        ),
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="Where these are trained; a stopped search goes on there."
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="What is trained.")] = "compact",
    folds: Annotated[int, typer.Option(min=2, help="Into so many parts the pictures are cut.")] = 4,
    epochs: Annotated[int, typer.Option(min=1, help="So long each is trained.")] = 12,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
) -> None:
    """Say what a folder of labelled pictures holds, and what is wrong with it."""

    def watch(items: Iterable[Any], total: int) -> Iterator[Any]:
        return track(items, total, what="reading", quiet=quiet)

    if suspects:
        if run is None:
            raise typer.BadParameter("--suspects trains networks: --out names a folder for them")
        _list_suspects(folder, run, preset, folds, epochs, labels, as_json, watch, quiet)
        return
    description = describe(folder, labels, watch=watch)
    if as_json:
        typer.echo(json.dumps(asdict(description), indent=2))
    else:
        for line in _lines(description, bars=sys.stdout.isatty()):
            typer.echo(one_line(line))
    raise typer.Exit(SOME_FAILED if description.unreadable else 0)


def _list_suspects(
    folder: Path,
    run: Path,
    preset: str,
    folds: int,
    epochs: int,
    labels: str,
    as_json: bool,
    watch: Watch,
    quiet: bool,
) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow loads
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.suspects import find_suspects

    found = find_suspects(
        folder,
        run,
        load_preset(preset),
        folds=folds,
        epochs=epochs,
        labels=labels,
        verbose=int(sys.stdout.isatty() and not quiet),
        watch=watch,
    )
    if as_json:
        typer.echo(json.dumps([asdict(suspect) for suspect in found], indent=2))
        return
    for suspect in found:
        line = f"{suspect.picture}: {suspect.label}, read {suspect.shown}"
        typer.echo(one_line(f"{line} ({suspect.confidence:.4f})"))
    if not quiet:
        typer.echo(f"{len(found)} suspects, to look at: {run / 'suspects.csv'}", err=True)


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
