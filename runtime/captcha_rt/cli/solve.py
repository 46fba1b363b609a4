"""The command `captcha-rt solve`."""

import json
from typing import Annotated, Any

import typer

from captcha_rt.cli.options import (
    BatchOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    QuietOption,
    ThreadsOption,
)
from captcha_rt.cli.output import LOW_CONFIDENCE, OK, SOME_FAILED, complain_about, one_line
from captcha_rt.errors import CaptchaRTError, LowConfidenceError
from captcha_rt.pictures import expand_path
from captcha_rt.progress import track
from captcha_rt.solution import Solution, answer_to_json, reject_unsure
from captcha_rt.solver import Solver


def solve(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Files, folders, globs; - is stdin.")
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
    quiet: QuietOption = False,
) -> None:
    """Read pictures.

    For one file, the text is printed. For several files, a folder or a glob, a line is printed for
    each picture: the path, a tab and the text. The text is empty if the picture was not read.
    """
    if as_json and as_jsonl:
        raise typer.BadParameter("choose one of --json and --jsonl")
    solver = Solver(model, device=device, threads=threads)
    if min_confidence is None:
        min_confidence = solver.manifest.min_confidence
    sources = [source for path in paths for source in expand_path(path)]
    alone = len(paths) == 1 and [name for name, _ in sources] == paths
    objects: list[dict[str, Any]] = []
    codes = {OK}
    answers = solver.solve_many((image for _, image in sources), batch_size=batch_size)
    shown = track(answers, len(sources), what="solving", quiet=quiet)
    for (name, _), answer in zip(sources, shown, strict=True):
        kept = reject_unsure(answer, min_confidence)
        codes.add(_exit_code(kept))
        if as_json or as_jsonl:
            objects.append({"path": name, **answer_to_json(kept)})
            if as_jsonl:
                typer.echo(json.dumps(objects.pop()))
        elif isinstance(kept, CaptchaRTError):
            complain_about(name, kept)
            if not alone:
                typer.echo(f"{one_line(name)}\t")
        else:
            typer.echo(kept.text if alone else f"{one_line(name)}\t{kept.text}")
    if as_json:
        typer.echo(json.dumps(objects[0] if alone else objects, indent=2))
    raise typer.Exit(SOME_FAILED if SOME_FAILED in codes else max(codes))


def _exit_code(answer: Solution | CaptchaRTError) -> int:
    """The exit code that one answer asks for."""
    if isinstance(answer, LowConfidenceError):
        return LOW_CONFIDENCE
    return SOME_FAILED if isinstance(answer, CaptchaRTError) else OK
