"""The command `captcha-rt solve`."""

import os
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from captcha_rt.archives import Unpacked, is_archive, unpack
from captcha_rt.cli.options import (
    BatchOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    QuietOption,
    ThreadsOption,
)
from captcha_rt.cli.output import (
    LOW_CONFIDENCE,
    OK,
    SOME_FAILED,
    complain,
    complain_about,
    mention_waiting,
    one_line,
    to_json,
)
from captcha_rt.constrained import MAX_ALTERNATIVES
from captcha_rt.errors import ArchiveError, CaptchaRTError, LowConfidenceError
from captcha_rt.image import shortened
from captcha_rt.pictures import count_files, describe_passed_over, expand_path, walk
from captcha_rt.progress import track
from captcha_rt.solution import (
    Alternative,
    Solution,
    answer_to_json,
    evaluate_sum,
    reject_unsure,
)
from captcha_rt.solver import Solver


def solve(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files, folders, zip or tar files, globs, or -."),
    ],
    model: ModelOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    batch_size: BatchOption = 8,
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
    quiet: QuietOption = False,
) -> None:
    """Read pictures.

    For one file, the text is printed. For several files, a folder or a glob, a line is printed for
    each picture: the path, a tab and the text. The text is empty if the picture was not read. With
    --alternatives a line is printed for each likely text, with a tab and its probability.
    """
    if as_json and as_jsonl:
        raise typer.BadParameter("choose one of --json and --jsonl")
    if sums and alternatives:
        raise typer.BadParameter("choose one of --evaluate-sum and --alternatives")
    if allowed == "":
        raise typer.BadParameter("--allowed has no character")
    paths, damaged = _unpack_archives(paths, quiet=quiet)
    # Loaded before stdin is read: a picture may take its time to come.
    pictures = sum(map(count_files, paths))
    solver = Solver(model, device=device, threads=threads, batch_size=batch_size, pictures=pictures)
    if "-" in paths:
        mention_waiting()
    sources = [
        # A path as it was typed may also be base64 or a data URL, which Path would change.
        (name, name if name == path and isinstance(image, Path) else image)
        for path in paths
        for name, image in ([(path, damaged[path])] if path in damaged else expand_path(path))
    ]
    if not quiet:
        _mention_passed_over(paths, {Path(name) for name, _ in sources})
    alone = len(paths) == 1 and [name for name, _ in sources] == paths
    objects: list[dict[str, Any]] = []
    codes = {OK}
    answers = solver.solve_many(
        (image for _, image in sources),
        batch_size=batch_size,
        allowed=allowed,
        length=length,
        alternatives=alternatives,
    )
    shown = track(answers, len(sources), what="solving", quiet=quiet)
    for (name, _), answer in zip(sources, shown, strict=True):
        name = name if os.path.lexists(name) else shortened(name)
        kept = reject_unsure(answer, min_confidence)
        kept = evaluate_sum(kept) if sums else kept
        codes.add(_exit_code(kept))
        if isinstance(answer, Solution) and answer.frames > 1 and not solver.manifest.recipe.merge:
            complain(f"{name}: read the first of {answer.frames} frames")
        likely = (answer.alternatives or ()) if isinstance(answer, Solution) else ()
        if as_json or as_jsonl:
            objects.append({"path": name, **answer_to_json(kept)})
            if alternatives:  # what was rejected has them too
                objects[-1]["alternatives"] = [asdict(alternative) for alternative in likely]
            if as_jsonl:
                typer.echo(to_json(objects.pop()))
            continue
        if isinstance(kept, CaptchaRTError):
            complain_about(name, kept)
        for line in _lines(kept, likely, sums=sums, alone=alone):
            typer.echo(line if alone else f"{one_line(name)}\t{line}")
    if as_json:
        typer.echo(to_json(objects[0] if alone else objects, indent=2))
    raise typer.Exit(SOME_FAILED if SOME_FAILED in codes else max(codes))


def _unpack_archives(
    paths: Sequence[str], *, quiet: bool
) -> tuple[list[str], dict[str, ArchiveError]]:
    """Puts the folders of archives into their places; the errors of those that are damaged."""
    found, damaged = [], {}
    for path in paths:
        opened = Unpacked(Path(path))
        try:
            if is_archive(Path(path)):
                opened = unpack(Path(path))
        except ArchiveError as error:
            damaged[path] = error
        if opened.note and not quiet:
            typer.echo(one_line(opened.note), err=True)
        found.append(str(opened.folder) if opened.note else path)
    return found, damaged


def _mention_passed_over(paths: Sequence[str], used: Collection[Path]) -> None:
    """Counts on stderr what is not read in each folder."""
    for path in filter(os.path.isdir, paths):
        folder = Path(path)
        if line := describe_passed_over(walk(folder), used, folder):
            typer.echo(one_line(line if len(paths) == 1 else f"{path}: {line}"), err=True)


def _lines(
    answer: Solution | CaptchaRTError, likely: Sequence[Alternative], *, sums: bool, alone: bool
) -> list[str]:
    """What is printed for a picture, without its path: the likely texts, or the answer."""
    if likely:
        return [f"{alternative.text}\t{alternative.probability:.4f}" for alternative in likely]
    if isinstance(answer, Solution):
        return [str(answer.value) if sums else answer.text]
    return [] if alone else [""]


def _exit_code(answer: Solution | CaptchaRTError) -> int:
    """The exit code that one answer asks for."""
    if isinstance(answer, LowConfidenceError):
        return LOW_CONFIDENCE
    return SOME_FAILED if isinstance(answer, CaptchaRTError) else OK
