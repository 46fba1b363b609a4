"""The command `captcha-rt label`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from captcha_rt.cli.options import ModelOption
from captcha_rt.cli.output import one_line
from captcha_rt.labels import AUTO, FORMS_HELP


def label(
    folder: Annotated[Path, typer.Argument(help="A folder of pictures.")],
    model: ModelOption = None,
    labels: Annotated[str, typer.Option(help=f"{FORMS_HELP} none starts without labels.")] = AUTO,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="The CSV to keep up; by default the one that the labels come from, or "
            "FOLDER/labels.csv.",
        ),
    ] = None,
    suspects: Annotated[
        Path | None,
        typer.Option(help="Begin with these suspects, a CSV that `captcha-rt suspects` wrote."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="The port on 127.0.0.1; 0 takes a free one.")
    ] = 0,
    open_browser: Annotated[
        bool | None,
        typer.Option("--open/--no-open", help="Open the page; by default on a terminal."),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train/--no-train", help="Train while labels grow.")
    ] = True,
) -> None:
    """Label pictures on a page in your browser; each label is saved at once."""
    from captcha_rt_train.labelling.installed import check_installed

    check_installed()
    from captcha_rt_train.labelling.serve import Page, serve

    open_browser = _has_windows() if open_browser is None else open_browser
    serve(
        folder,
        model=model,
        labels=labels,
        out=out,
        suspects=suspects,
        page=Page(port, open_browser, train),
        say=_say,
    )


def _has_windows() -> bool:
    """Whether somebody sits at a terminal of a machine with windows."""
    shown = (
        sys.platform in ("win32", "darwin") or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    )
    return sys.stdout.isatty() and bool(shown)


def _say(line: str) -> None:
    """Prints a line at once, since a program may wait for the address."""
    typer.echo(one_line(line))
    sys.stdout.flush()
