"""What the commands of this distribution share: arguments, options, progress."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captcha_rt.labels import FORMS_HELP
from captcha_rt.progress import Watch, track

if TYPE_CHECKING:
    from captcha_rt_train.training.job import Observer

SourceArgument = Annotated[
    Path,
    typer.Argument(help="A folder of labelled pictures, or a .toml file of several sources."),
]
LabelsOption = Annotated[str, typer.Option(help=FORMS_HELP)]


def show_reading(quiet: bool) -> Watch:
    """A progress bar over the pictures while they are read."""
    return lambda items, total: track(items, total, what="reading", quiet=quiet)


def observe(quiet: bool) -> "Observer":
    """An observer for the command line; Keras draws its bar on stdout, so only on a terminal."""
    from captcha_rt_train.training.job import Observer

    return Observer(verbose=int(sys.stdout.isatty() and not quiet), watch=show_reading(quiet))
