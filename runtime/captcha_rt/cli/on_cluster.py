"""`solve --cluster`: reads pictures on a Dask cluster, into a file."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import typer

from captcha_rt.cli.answers import Printer, Read, Source
from captcha_rt.cli.output import LOW_CONFIDENCE, OK, SOME_FAILED, USAGE, complain, fail
from captcha_rt.cluster import Line, Target, read_to_file
from captcha_rt.errors import ArchiveError, CaptchaRTError
from captcha_rt.pictures import expand_path, read_list
from captcha_rt.progress import track
from captcha_rt.rows import check_parquet
from captcha_rt.solver import Solver
from captcha_rt.stores import expand_url, is_url


def solve_on_cluster(
    target: Target,
    paths: Sequence[str],
    damaged: Mapping[str, ArchiveError],
    files_from: str | None,
    options: Mapping[str, Any],
    printer: Printer,
    *,
    quiet: bool,
) -> NoReturn:
    """Reads pictures on a cluster, and ends the command.

    Args:
        target: The cluster, the output and the model.
        paths: What is to be read: files, folders and globs, also as URLs.
        damaged: Why archives among them can't be unpacked.
        files_from: A list of files.
        options: Arguments of `solve_many`.
        printer: Makes the lines of the output.
        quiet: Whether to show no progress.
    """
    output = target.output
    if output.endswith("/") or os.path.isdir(output):  # noqa: PTH112
        fail(f"{output} is a folder: name a file in it", USAGE)
    if output.lower().endswith(".parquet"):
        check_parquet()
    Solver(target.model, device="cpu").solve_many((), **options)  # raises what is wrong with them
    counts = read_to_file(
        target,
        _sources(paths, damaged, files_from),
        read_with=partial(Read, options=options, printer=printer),
        lost=partial(_lost, printer),
        watch=lambda read: track(read, None, what="solving", quiet=quiet),
        note=complain,
    )
    total, right = counts.total(), counts[""]
    if not quiet:
        typer.echo(f"{output}: {total} pictures, {right} of them read", err=True)
    unsure = counts["LowConfidenceError"]
    code = OK if right == total else LOW_CONFIDENCE if right + unsure == total else SOME_FAILED
    raise typer.Exit(code)


def _lost(printer: Printer, source: Source, error: CaptchaRTError) -> Line:
    text, notes, _ = printer(source[0], error)
    return text, notes


def _sources(
    paths: Sequence[str], damaged: Mapping[str, ArchiveError], files_from: str | None
) -> Iterator[Source]:
    """Finds the pictures, as they are needed; local paths are absolute."""
    for path in paths:
        if path in damaged:
            yield os.path.abspath(path), damaged[path]  # noqa: PTH100
            continue
        if is_url(path):
            yield from expand_url(path)
            continue
        for name, image in expand_path(os.path.abspath(path) if path else path):  # noqa: PTH100
            yield name, None if isinstance(image, Path) else image
    if files_from is not None:
        for name in read_list(files_from):
            yield name if is_url(name) else os.path.abspath(name), None  # noqa: PTH100
