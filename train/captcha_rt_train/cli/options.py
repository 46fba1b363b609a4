"""What the commands of this distribution share: arguments, options, progress."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captcha_rt.errors import FolderError
from captcha_rt.labels import FORMS_HELP
from captcha_rt.progress import Watch, track

if TYPE_CHECKING:
    from captcha_rt_export.run import Run
    from captcha_rt_train.training.job import Observer


def _that_is_there(source: Path) -> Path:
    """Refuses a mistyped path before TensorFlow is loaded, which takes seconds and prints lines."""
    if not source.exists():
        raise FolderError(f"not a folder: {source}")
    return source


SourceArgument = Annotated[
    Path,
    typer.Argument(
        help="A folder of labelled pictures, a zip or tar file of one, or a .toml file of several "
        "sources.",
        callback=_that_is_there,
    ),
]
LabelsOption = Annotated[str, typer.Option(help=FORMS_HELP)]
ValidationOption = Annotated[
    str | None,
    typer.Option(
        metavar="FRACTION|FOLDER|FILE",
        help="What validates: a fraction of the pictures in 0..1, by default the preset's; a "
        "folder of other labelled pictures; or a label file for pictures in FOLDER.",
    ),
]
FoldCaseOption = Annotated[bool, typer.Option("--fold-case", help="Fold labels to lower case.")]


def folder_beside(source: Path, ending: str) -> Path:
    """A folder beside a source, named after it: `mine-run` for `mine/` and for `mine.tar.gz`."""
    path = Path(os.path.abspath(source))  # noqa: PTH100  (a link's run stands beside the link)
    return path.with_name((path.name.split(".")[0] if path.is_file() else path.name) + ending)


@contextmanager
def telling_how_to_go_on(run: "Run", how: str) -> Iterator[None]:
    """After Ctrl-C, says how a training goes on, if it had begun.

    Args:
        run: The training's folder.
        how: What goes on with it, such as `the same command`.
    """
    try:
        yield
    except KeyboardInterrupt:
        if run.settings_file.exists():
            typer.echo(f"stopped: {how} goes on from the last epoch in {run.folder}", err=True)
        raise


def show_reading(quiet: bool) -> Watch:
    """A progress bar over the pictures while they are read."""
    return lambda items, total: track(items, total, what="reading", quiet=quiet)


def observe(quiet: bool) -> "Observer":
    """An observer for the command line; Keras draws its bar on stdout, so only on a terminal."""
    from captcha_rt_train.training.job import Observer

    return Observer(
        verbose=int(sys.stdout.isatty() and not quiet),
        watch=show_reading(quiet),
        follow=lambda items, total: track(items, total, what="training", quiet=quiet),
        say=lambda line: None if quiet else typer.echo(line, err=True),
    )
