"""The command `captcha-rt fonts`."""

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from captcha_rt.cli.options import QuietOption
from captcha_rt.cli.output import OK, SOME_FAILED
from captcha_rt.progress import track


def fonts(
    folder: Annotated[
        Path, typer.Argument(help="The fonts' folder; it is made if it isn't there.")
    ],
    fetch: Annotated[
        bool,
        typer.Option(help="Fetch some 600 open families with npm, or only use what is there."),
    ] = True,
    quiet: QuietOption = False,
) -> None:
    """Collect fonts for the generator `mixture`, and write their legible faces to faces.npz."""
    from captcha_rt_train.generators.mixture import FACES_VARIABLE
    from captcha_rt_train.generators.mixture.faces import find_fonts, read_faces
    from captcha_rt_train.generators.mixture.fetch import families, fetch_fonts, licence_of

    skipped = 0
    if fetch:
        fetched = fetch_fonts(folder)
        for family, reason in track(fetched, len(families()), what="fetching", quiet=quiet):
            if reason is not None:
                skipped += 1
                typer.echo(f"skipped: {family}: {reason}", err=True)
    faces = read_faces(
        folder, watch=lambda items, total: track(items, total, what="drawing", quiet=quiet)
    )
    file = folder / "faces.npz"
    faces.save(file)
    licences = Counter(licence_of(path.parent) or "unknown" for path in find_fonts(folder))
    counted = ", ".join(f"{licence} {count}" for licence, count in licences.most_common())
    typer.echo(f"font files: {licences.total()}, by licence: {counted}")
    typer.echo(f"legible faces: {len(faces.names)}, in {file}")
    typer.echo(f"next: export {FACES_VARIABLE}={shlex.quote(str(file.resolve()))}")
    raise typer.Exit(SOME_FAILED if skipped else OK)
