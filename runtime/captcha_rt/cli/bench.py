"""The command `captcha-rt bench`."""

from dataclasses import asdict
from typing import Annotated

import typer

from captcha_rt.cli.options import (
    DeviceOption,
    JsonOption,
    ModelOption,
    QuietOption,
    ThreadsOption,
)
from captcha_rt.cli.output import OK, SOME_FAILED, complain_about, to_json
from captcha_rt.diagnostics.bench import draw_picture, measure, read_pictures
from captcha_rt.diagnostics.bench_text import describe
from captcha_rt.pictures import expand_path
from captcha_rt.solver import Solver


def bench(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH", help="Files, folders, globs; - is stdin. Default: a drawn picture."
        ),
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure how fast a model is here: each stage, throughput, cold start, memory.

    Of more than 200 pictures at most 200 are taken, evenly spread.
    """
    solver = Solver(model, device=device, threads=threads)
    sources = [source for path in paths or () for source in expand_path(path)]
    pictures, problems = read_pictures(solver, sources, quiet=quiet)
    for name, error in problems:
        complain_about(name, error)
    if not paths:
        pictures = [draw_picture(solver.manifest)]
    if not pictures:
        raise typer.Exit(SOME_FAILED)
    options = ["--device", device, "--threads", str(threads)]
    if model is not None:
        options += ["--model", str(model)]
    report = measure(solver, pictures, options, threads=threads, drawn=not paths, quiet=quiet)
    typer.echo(to_json(asdict(report), indent=2) if as_json else describe(report))
    raise typer.Exit(SOME_FAILED if problems else OK)
