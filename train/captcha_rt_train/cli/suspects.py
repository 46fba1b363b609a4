"""The command `captcha-rt suspects`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from captcha_rt.cli.options import JsonOption, QuietOption
from captcha_rt.cli.output import one_line, to_json
from captcha_rt.labels import AUTO
from captcha_rt_train.cli.options import LabelsOption, SourceArgument, observe


def suspects(
    folder: SourceArgument,
    run: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="The folder to train the networks in; a stopped search continues there.",
        ),
    ],
    preset: Annotated[str, typer.Option(help="The preset to train.")] = "compact",
    folds: Annotated[
        int, typer.Option(min=2, help="The number of parts that the pictures are cut into.")
    ] = 4,
    epochs: Annotated[int, typer.Option(min=1, help="The number of epochs of each network.")] = 12,
    labels: LabelsOption = AUTO,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List labels that are probably wrong: a network trained on other pictures contradicts them."""
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training.suspects import SUSPECTS_FILE, find_suspects

    found = find_suspects(
        folder,
        run,
        load_preset(preset),
        folds=folds,
        epochs=epochs,
        labels=labels,
        observer=observe(quiet),
    )
    if as_json:
        typer.echo(to_json([asdict(suspect) for suspect in found], indent=2))
        return
    for suspect in found:
        line = f"{suspect.picture}: {suspect.label}, read {suspect.shown}"
        typer.echo(one_line(f"{line} ({suspect.confidence:.4f})"))
    if not quiet:
        typer.echo(f"{len(found)} suspects, to look at: {run / SUSPECTS_FILE}", err=True)
