"""The command `captcha-rt train`."""

from dataclasses import replace
from itertools import count
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from captcha_rt.cli.options import QuietOption
from captcha_rt.cli.output import SOME_FAILED, fail
from captcha_rt.labels import AUTO
from captcha_rt_train.cli.options import (
    FoldCaseOption,
    LabelsOption,
    SourceArgument,
    ValidationOption,
    folder_beside,
    observe,
    telling_how_to_go_on,
)
from captcha_rt_train.presets import preset_names

if TYPE_CHECKING:
    from captcha_rt.manifest import Manifest
    from captcha_rt_export.run import Run
    from captcha_rt_train.data.samples import Dataset
    from captcha_rt_train.training.job import Job

_MINUTES: Final = 10.0
"""The time of a training without a preset."""


def train(
    folder: SourceArgument,
    run: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="The run's folder; by default FOLDER-run, or FOLDER-run-2."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="The system to train; by default one is made that suits the pictures. There are: "
            f"{', '.join(preset_names())}; or a .toml file, such as the preset.toml of a run.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="The time to train for; by default 10 without a preset."),
    ] = None,
    small: Annotated[
        bool,
        typer.Option(
            "--small",
            help="Take the small network, also for hard pictures: half the time for a picture.",
        ),
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN|MODEL.KERAS|default",
            help="Go on from the model of an earlier run, whose pictures are trained on, too; "
            "default is a trunk, as without the option.",
        ),
    ] = None,
    labels: LabelsOption = AUTO,
    digit: Annotated[
        int | None, typer.Option(min=1, help="Train only this digit of an ensemble, from scratch.")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2**32 - 1,
            help="Seeds split, weights, shuffling and dropout; by default the preset's.",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="The largest number of epochs; by default the preset's.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="The number of pictures in a step; by default the preset's.")
    ] = None,
    validation: ValidationOption = None,
    fold_case: FoldCaseOption = False,
    test: Annotated[
        float | None,
        typer.Option(
            help="The fraction of the pictures for the test, in 0..1; by default the preset's."
        ),
    ] = None,
    charset: Annotated[
        str | None, typer.Option(help="The characters in order; by default those of the labels.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="The model's licence; by default the preset's.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write TensorBoard's logs into this folder.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a reader on your own labelled pictures."""
    from captcha_rt_export.run import Run
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training.choosing import TRUNK
    from captcha_rt_train.training.job import Job
    from captcha_rt_train.training.train import train

    chosen = load_preset(preset or TRUNK)
    options: dict[str, Any] = {"seed": seed, "epochs": epochs, "batch_size": batch_size}
    options |= {"minutes": minutes}
    fraction = _fraction(validation)
    options |= {"validation": fraction, "test": test, "characters": charset, "licence": licence}
    given = {name: value for name, value in options.items() if value is not None}
    job = Job(
        folder,
        Run(run or _new_folder(folder)),
        chosen,
        replace(chosen.settings, **given),
        labels=labels,
        digit=digit,
        validation=validation if fraction is None else None,
        fold_case=fold_case,
        earlier=_earlier(start),
        small=small,
        resume=resume,
        observer=replace(observe(quiet), tensorboard=tensorboard, report=_report),
    )
    if small and (preset is not None or job.earlier is not None):
        raise typer.BadParameter("choose one of --small, --from RUN and --preset")
    if preset is not None:
        if start is not None:
            raise typer.BadParameter("choose one of --from and --preset")
        with telling_how_to_go_on(job.run, "the same command with --resume"):
            manifest = train(job)
        _print_result(job.run, manifest)
        return
    if (epochs, batch_size, digit) != (None, None, None):
        raise typer.BadParameter("--epochs, --batch-size and --digit need a --preset")
    _train_own(job, minutes or _MINUTES, fraction)


def _earlier(start: str | None) -> "Run | None":
    """The run that `--from` names; None for a trunk."""
    from captcha_rt_export.run import Run

    if start in (None, "default"):
        return None
    path = Path(str(start))
    run = Run(path.parent if path.is_file() else path)
    if not run.model_file.exists() or path not in (run.folder, run.model_file):
        raise typer.BadParameter(
            f"--from {start}: no run with a model.keras of `captcha-rt train`, and not default"
        )
    return run


def _new_folder(source: Path) -> Path:
    """Where a run goes, beside its source: the first name that no finished run has."""
    from captcha_rt_export.run import Run

    endings = ("-run" if number == 1 else f"-run-{number}" for number in count(1))
    folders = (folder_beside(source, ending) for ending in endings)
    return next(folder for folder in folders if not Run(folder).finished)


def _train_own(job: "Job", minutes: float, validation: float | None) -> None:
    """Trains without a preset, and prints the verdict and what to do next."""
    from captcha_rt_train.training.own import train_own

    # A bar of ours on stderr, for all trainings alike, in place of Keras's on stdout.
    job = replace(job, observer=replace(job.observer, verbose=0))
    with telling_how_to_go_on(job.run, "the same command"):
        result = train_own(job, minutes, validation)
    for line in result.verdict:
        typer.echo(line)
    typer.echo(f"report: {job.run.report_file}")
    _fail_if_nothing_learned(result.manifest)
    typer.echo(f"next: captcha-rt solve PICTURE --model {quote(str(job.run.onnx_file))}")


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
    _fail_if_nothing_learned(manifest)
    typer.echo(f"next: captcha-rt export {quote(str(run.folder))} -o model.onnx")


def _fail_if_nothing_learned(manifest: "Manifest") -> None:
    if "only_answer" in manifest.training:
        answer = manifest.training["only_answer"] or "nothing"
        fail(
            f"the network has learned nothing: it answers every picture with {answer}; "
            "train it for longer, on more pictures, or with another --preset",
            SOME_FAILED,
        )
