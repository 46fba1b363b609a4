"""The command `captcha-rt solve`."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from captcha_rt.cli.answers import Printed, Printer, Read, Source
from captcha_rt.cli.options import (
    BatchOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    QuietOption,
    ThreadsOption,
    parse_workers,
)
from captcha_rt.cli.output import SOME_FAILED, USAGE, complain, fail, mention_waiting, one_line
from captcha_rt.constrained import MAX_ALTERNATIVES
from captcha_rt.errors import ArchiveError
from captcha_rt.parallel import count_workers
from captcha_rt.pictures import (
    begins_as_picture,
    count_files,
    describe_not_streamed,
    expand_path,
    read_list,
)
from captcha_rt.progress import track
from captcha_rt.solver import Solver
from captcha_rt.workers import answer


def solve(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files, folders, zip or tar files, globs, or -."),
    ] = None,
    files_from: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="A file that names files, one a line; - is stdin."),
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    batch_size: BatchOption = 8,
    workers: Annotated[
        str,
        typer.Option(metavar="N", help="Processes; auto is one, then one a core if it takes long."),
    ] = "auto",
    as_json: JsonOption = False,
    as_jsonl: Annotated[
        bool, typer.Option("--jsonl", help="Print one JSON object per line.")
    ] = False,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Reject answers below this confidence; by default the model's limit."
        ),
    ] = None,
    allowed: Annotated[
        str | None, typer.Option(help="The characters that a text may hold, such as 0123456789.")
    ] = None,
    length: Annotated[
        int | None, typer.Option(min=1, help="The number of characters of each text.")
    ] = None,
    alternatives: Annotated[
        int,
        typer.Option(
            min=0, max=MAX_ALTERNATIVES, help="Name so many likely texts, with probabilities."
        ),
    ] = 0,
    sums: Annotated[
        bool, typer.Option("--evaluate-sum", help="Print the value of a sum: 8 for 3+5=?.")
    ] = False,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Read on a Dask cluster, such as tcp://host:8786."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="With --cluster: the .jsonl or .parquet to write."),
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Read pictures.

    For one file, the text is printed. For several files, a folder, a glob or a list, a line is
    printed for each picture: the path, a tab and the text. The text is empty if the picture was
    not read. With --alternatives a line is printed for each likely text, with a tab and its
    probability.
    """
    if as_json and as_jsonl:
        raise typer.BadParameter("choose one of --json and --jsonl")
    if sums and alternatives:
        raise typer.BadParameter("choose one of --evaluate-sum and --alternatives")
    if allowed == "":
        raise typer.BadParameter("--allowed has no character")
    if not paths and files_from is None:
        raise typer.BadParameter("name a PATH, or a list with --files-from")
    if files_from == "-" and paths and "-" in paths:
        raise typer.BadParameter("- and --files-from - both read standard input: name one")
    given, damaged = _unpack_archives(paths or [], quiet=quiet)
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "allowed": allowed,
        "length": length,
        "alternatives": alternatives,
    }
    printer = Printer(
        form="json" if as_json else "jsonl" if as_jsonl or cluster else "text",
        min_confidence=min_confidence,
        sums=sums,
        alternatives=alternatives > 0,
    )
    if cluster is not None or output is not None:
        if cluster is None:
            raise typer.BadParameter("-o goes with --cluster; else redirect the output: > FILE")
        if output is None or as_json or workers != "auto" or "-" in given:
            raise typer.BadParameter("--cluster goes with -o, not with --json, --workers or -")
        from captcha_rt.cli.on_cluster import solve_on_cluster
        from captcha_rt.cluster import Target

        target = Target(cluster, output, model, {"device": device, "threads": threads})
        solve_on_cluster(target, given, damaged, files_from, options, printer, quiet=quiet)
    pictures = _count(given, files_from) if device == "auto" else None
    solver = Solver(model, device=device, threads=threads, batch_size=batch_size, pictures=pictures)
    solver.solve_many((), **options)  # raises what is wrong with the options
    count = count_workers(solver, parse_workers(workers))
    _mention(given, files_from, quiet=quiet)
    sources = _sources(given, damaged, files_from)
    first = next(sources, None)
    if first is None:
        fail(f"no path in the list {files_from}", USAGE)
    alone = given == [first[0]] and files_from is None
    read = Read(solver, options, replace(printer, alone=alone))
    lists = answer(
        read,
        chain([first], sources),
        workers=count,
        chunk=batch_size,
        patient=workers == "auto",
        lost=read.lost,
    )
    shows = sys.stderr.isatty() and not quiet
    total = _count(given, files_from, _count_exactly) if shows else 0
    with closing(lists):
        shown = track(_flushed(lists), total, what="solving", quiet=quiet)
        codes = _print_json(shown, alone=alone) if as_json else _print(shown)
    raise typer.Exit(SOME_FAILED if SOME_FAILED in codes else max(codes))


def _mention(paths: Sequence[str], files_from: str | None, *, quiet: bool) -> None:
    """Says on stderr what is waited for, and counts what is not read in each folder."""
    if "-" in paths:
        mention_waiting()
    if files_from == "-":
        mention_waiting("a list")
    if quiet:
        return
    folders = [path for path in paths if os.path.isdir(path)]  # noqa: PTH112
    others = {
        Path(name)
        for path in paths
        if folders and path not in folders and path != "-"
        for name, _ in expand_path(path)
    }
    for path in folders:
        if line := describe_not_streamed(Path(path), others):
            typer.echo(one_line(line if len(paths) == 1 else f"{path}: {line}"), err=True)


def _unpack_archives(
    paths: Sequence[str], *, quiet: bool
) -> tuple[list[str], dict[str, ArchiveError]]:
    """Puts the folders of archives into their places; the errors of those that are damaged."""
    found, damaged = [], {}
    for path in paths:
        found.append(path)
        if not os.path.isfile(path) or begins_as_picture(Path(path)):  # noqa: PTH113
            continue
        from captcha_rt.archives import unpack  # hashes and temporary folders: seldom needed

        try:
            opened = unpack(Path(path))
        except ArchiveError as error:
            damaged[path] = error
            continue
        if opened.note:
            found[-1] = str(opened.folder)
            if not quiet:
                typer.echo(one_line(opened.note), err=True)
    return found, damaged


def _sources(
    paths: Iterable[str], damaged: Mapping[str, ArchiveError], files_from: str | None
) -> Iterator[Source]:
    """Finds the pictures, as they are needed."""
    for path in paths:
        for name, image in [(path, damaged[path])] if path in damaged else expand_path(path):
            if not isinstance(image, Path):
                yield name, image
            else:
                # A path as it was typed may also be base64 or a data URL, which Path would change.
                yield name, name if name == path else None
    if files_from is not None:
        yield from ((name, None) for name in read_list(files_from))


def _count(
    paths: Iterable[str], files_from: str | None, count: Callable[[str], int] = count_files
) -> int | None:
    """Counts the pictures; None if that can't be known before they are read."""
    if files_from is not None and not os.path.isfile(files_from):  # noqa: PTH113
        return None  # a pipe can't be read twice
    listed = 0 if files_from is None else sum(1 for _ in read_list(files_from))
    return listed + sum(map(count, paths))


def _count_exactly(path: str) -> int:
    """The number of pictures that a path stands for."""
    return 1 if path == "-" else sum(1 for _ in expand_path(path))


def _flushed(lists: Iterable[list[Printed]]) -> Iterator[Printed]:
    """Shows what was printed before it waits for more."""
    for printed in lists:
        yield from printed
        sys.stdout.flush()


def _print(answers: Iterable[Printed]) -> set[int]:
    """Prints answers, and returns the exit codes that they ask for."""
    codes = set()
    for text, notes, code in answers:
        codes.add(code)
        _note(notes)
        sys.stdout.write(text)
    return codes


def _print_json(answers: Iterable[Printed], *, alone: bool) -> set[int]:
    """Prints one JSON value when all answers are there: a list, unless there is a single one."""
    codes, values = set(), []
    for text, notes, code in answers:
        codes.add(code)
        _note(notes)
        values.append(text.rstrip("\n"))
    if alone:
        sys.stdout.write(f"{values[0]}\n")
    else:
        inner = (value.replace("\n", "\n  ") for value in values)
        sys.stdout.write("[\n  " + ",\n  ".join(inner) + "\n]\n")
    return codes


def _note(notes: Sequence[str]) -> None:
    if notes:
        sys.stdout.flush()
    for note in notes:
        complain(note)
