"""The command `captcha-rt suspects`."""

import sys
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from captcha_rt.cli.options import JsonOption, QuietOption
from captcha_rt.cli.output import one_line, to_json
from captcha_rt.labels import AUTO
from captcha_rt_train.cli.label import label
from captcha_rt_train.cli.options import (
    FoldCaseOption,
    LabelsOption,
    SourceArgument,
    folder_beside,
    observe,
)


def suspects(
    folder: SourceArgument,
    run: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The folder to train the networks in, by default FOLDER-suspects; a stopped "
            "search continues there.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="The preset to train; by default one is made that suits the pictures."),
    ] = None,
    folds: Annotated[
        int, typer.Option(min=2, help="The number of parts that the pictures are cut into.")
    ] = 4,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="The number of epochs of each network.")
    ] = None,
    labels: LabelsOption = AUTO,
    fold_case: FoldCaseOption = False,
    page: Annotated[
        bool | None,
        typer.Option(
            "--page/--no-page",
            help="Look at them on the page of `captcha-rt label`; by default on a terminal.",
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List labels that are probably wrong: a network trained on other pictures contradicts them."""
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training.suspects import SUSPECTS_FILE, find_suspects

    run = run or folder_beside(folder, "-suspects")
    found = find_suspects(
        folder,
        run,
        None if preset is None else load_preset(preset),
        folds=folds,
        epochs=epochs,
        labels=labels,
        fold_case=fold_case,
        observer=observe(quiet),
    )
    if as_json:
        typer.echo(to_json([asdict(suspect) for suspect in found], indent=2))
        return
    for suspect in found:
        line = f"{suspect.picture}: {suspect.label}, read {suspect.shown}"
        typer.echo(one_line(f"{line} ({suspect.confidence:.4f})"))
    listed = run / SUSPECTS_FILE
    if not quiet:
        typer.echo(f"{len(found)} suspects, to look at: {listed}", err=True)
        if found and folder.is_dir():
            shown = quote(str(folder)) + ("" if labels == AUTO else f" --labels {quote(labels)}")
            typer.echo(f"next: captcha-rt label {shown} --suspects {quote(str(listed))}", err=True)
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    if found and folder.is_dir() and (on_terminal and not quiet if page is None else page):
        label(folder, labels=labels, suspects=listed, train=False)
