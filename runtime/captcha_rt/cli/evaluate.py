"""The command `captcha-rt evaluate`."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated
from unicodedata import normalize

import typer

from captcha_rt import metrics
from captcha_rt.archives import unpack
from captcha_rt.cli.options import (
    BatchOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    QuietOption,
    ThreadsOption,
)
from captcha_rt.cli.output import OK, SOME_FAILED, complain, complain_about, one_line, to_json
from captcha_rt.errors import CaptchaRTError
from captcha_rt.labels import AUTO, FORMS_HELP, read_labels
from captcha_rt.progress import track
from captcha_rt.solver import Solver


def evaluate(
    folder: Annotated[
        Path, typer.Argument(help="A folder of labelled pictures, or a zip or tar file of one.")
    ],
    model: ModelOption = None,
    labels: Annotated[str, typer.Option(help=FORMS_HELP)] = AUTO,
    ignore_case: Annotated[
        bool, typer.Option("--ignore-case", help="Count a as equal to A, in labels and answers.")
    ] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = 1,
    batch_size: BatchOption = 8,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model on labelled pictures."""
    opened = unpack(folder)
    found = read_labels(opened.folder, labels)
    fold = str.lower if ignore_case else str
    found = replace(found, items=tuple((path, fold(label)) for path, label in found.items))
    if not quiet:
        for line in filter(None, (opened.note, found.description, *found.remarks)):
            typer.echo(one_line(line), err=True)
    for where, problem in found.problems:  # without a label there is nothing to compare
        complain(f"skipped: {where}: {problem}")
    solver = Solver(
        model, device=device, threads=threads, batch_size=batch_size, pictures=len(found.items)
    )
    answers = solver.solve_many((path for path, _ in found.items), batch_size=batch_size)
    shown = track(answers, len(found.items), what="evaluating", quiet=quiet)
    predictions = []
    failed = 0
    for (path, label), answer in zip(found.items, shown, strict=True):
        text, confidence = "", 0.0
        if isinstance(answer, CaptchaRTError):  # an error counts as misread
            failed += 1
            complain_about(str(path), answer)
        else:
            # Labels are in NFC; a model's characters may be decomposed.
            text, confidence = fold(normalize("NFC", answer.text)), answer.confidence
        predictions.append(metrics.Prediction(str(path), label, text, confidence))
    result = metrics.evaluate(predictions)
    if as_json:
        values = {"model": solver.name, "failed": failed, **asdict(result)}
        typer.echo(to_json(values, indent=2))
    else:
        typer.echo(_describe(result))
    raise typer.Exit(SOME_FAILED if failed else OK)


def _describe(result: metrics.Evaluation) -> str:
    """The evaluation as lines of text."""
    low, high = result.interval
    lines = [
        f"total captchas: {result.total}, errors: {result.errors}, "
        f"success rate: {result.exact_match:.4f}",
        f"exact match: {result.exact_match:.4f} (95 % interval {low:.4f} to {high:.4f})",
        f"character error rate: {result.character_error_rate:.4f}",
        f"expected calibration error: {result.calibration_error:.4f}",
        "right at position: " + ", ".join(f"{p:.4f}" for p in result.position_accuracy),
    ]
    lines += [
        f"confused: {c.truth or 'nothing'} as {c.read or 'nothing'}, {c.count}"
        for c in result.confusions
    ]
    lines += [
        f"misread: {one_line(p.path)}: {p.truth} as {p.text} ({p.confidence:.4f})"
        for p in result.misread
    ]
    return "\n".join(lines)
