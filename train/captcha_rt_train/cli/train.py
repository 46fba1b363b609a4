"""The command `captcha-rt train`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from captcha_rt.cli.options import QuietOption
from captcha_rt.cli.output import SOME_FAILED, fail
from captcha_rt.labels import AUTO
from captcha_rt_train.cli.options import (
    FoldCaseOption,
    LabelsOption,
    SourceArgument,
    ValidationOption,
    observe,
)
from captcha_rt_train.presets import preset_names

if TYPE_CHECKING:
    from captcha_rt.manifest import Manifest
    from captcha_rt_export.run import Run
    from captcha_rt_train.data.samples import Dataset


def train(
    folder: SourceArgument,
    run: Annotated[Path, typer.Option("-o", "--out", help="The run's folder.")],
    preset: Annotated[
        str, typer.Option(help=f"The system to train: {', '.join(preset_names())}.")
    ] = "crnn",
    labels: LabelsOption = AUTO,
    digit: Annotated[
        int | None, typer.Option(min=1, help="Train only this digit of an ensemble, from scratch.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seeds split, weights, shuffling and dropout.")
    ] = 0,
    epochs: Annotated[
        int | None, typer.Option(help="The largest number of epochs; by default the preset's.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="The number of pictures in a step; by default the preset's.")
    ] = None,
    validation: ValidationOption = None,
    fold_case: FoldCaseOption = False,
    test: Annotated[
        float, typer.Option(help="The fraction of the pictures for the test, in 0..1.")
    ] = 0.0,
    charset: Annotated[
        str | None, typer.Option(help="The characters in order; by default those of the labels.")
    ] = None,
    licence: Annotated[str, typer.Option(help="The model's licence.")] = "unknown",
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write TensorBoard's logs into this folder.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a reader on your own labelled pictures."""
    from captcha_rt_export.run import Run
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training.job import Job
    from captcha_rt_train.training.train import train

    chosen = load_preset(preset)
    options: dict[str, Any] = {"seed": seed, "epochs": epochs, "batch_size": batch_size}
    fraction = _fraction(validation)
    options |= {"validation": fraction, "test": test, "characters": charset, "licence": licence}
    given = {name: value for name, value in options.items() if value is not None}
    job = Job(
        folder,
        Run(run),
        chosen,
        replace(chosen.settings, **given),
        labels=labels,
        digit=digit,
        validation=validation if fraction is None else None,
        fold_case=fold_case,
        resume=resume,
        observer=replace(observe(quiet), tensorboard=tensorboard, report=_report),
    )
    _print_result(job.run, train(job))


def _fraction(text: str | None) -> float | None:
    """The number that a text is; None if it is none, but a path."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _report(dataset: "Dataset") -> None:
    """Prints to stderr what is trained on, and what was skipped."""
    for line in (dataset.labels, *dataset.notes):
        typer.echo(line, err=True)
    if dataset.samples:
        characters = dataset.charset.characters
        typer.echo(
            f"{len(dataset.samples)} pictures, {len(characters)} characters: {characters}", err=True
        )
    for name, reason in dataset.skipped:
        typer.echo(f"skipped: {name}: {reason}", err=True)


def _print_result(run: "Run", manifest: "Manifest | None") -> None:
    """Prints the accuracy on each part, and what to do next."""
    if manifest is None:
        message = "some digits are not trained yet; --resume without --digit trains them"
        typer.echo(f"{message}: {run.folder}")
        return
    for part, accuracy in manifest.accuracy.items():
        low, high = accuracy["interval"]
        typer.echo(
            f"{part}: {accuracy['exact_match']:.4f} exact of {accuracy['pictures']} "
            f"({low:.4f} to {high:.4f}), character error rate "
            f"{accuracy['character_error_rate']:.4f}"
        )
    typer.echo(f"report: {run.report_file}")
    if "only_answer" in manifest.training:
        answer = manifest.training["only_answer"] or "nothing"
        fail(
            f"the network has learned nothing: it answers every picture with {answer}; "
            "train it for more --epochs, on more pictures, or with another --preset",
            SOME_FAILED,
        )
    typer.echo(f"next: captcha-rt export {run.folder} -o model.onnx")
