"""The commands `captcha-rt train` and `captcha-rt samples`."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from captcha_rt.labels import FORMS_HELP
from captcha_rt.progress import track

if TYPE_CHECKING:
    from captcha_rt_train.data import Dataset

train_app = typer.Typer(add_completion=False, rich_markup_mode=None)
samples_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@train_app.command("train")
def train_command(
    folder: Annotated[
        Path,
        typer.Argument(help="A folder of labelled pictures, or a .toml file that names several."),
    ],
    run: Annotated[Path, typer.Option("-o", "--out", help="The run's folder.")],
    preset: Annotated[
        str,
        typer.Option(
            help="The system: compact, multihead, ensemble, glyph, steps, crnn, crnn-conv1d."
        ),
    ] = "crnn",
    labels: Annotated[str, typer.Option(help=FORMS_HELP)] = "auto",
    digit: Annotated[
        int | None, typer.Option(min=1, help="Of an ensemble, train this digit alone, and anew.")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Split, weights, shuffling, dropout.")
    ] = 0,
    epochs: Annotated[int | None, typer.Option(help="At most this many.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Pictures a step.")] = None,
    validation: Annotated[
        float | None, typer.Option(help="Share of the pictures that validate.")
    ] = None,
    test: Annotated[float, typer.Option(help="Share kept aside until the end.")] = 0.0,
    charset: Annotated[
        str | None, typer.Option(help="The characters; those of the labels by default.")
    ] = None,
    licence: Annotated[str, typer.Option(help="The model's licence.")] = "unknown",
    tensorboard: Annotated[
        Path | None, typer.Option(help="Write TensorBoard's logs into this folder.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Train a reader on your own labelled pictures."""
    # TensorFlow prints some twenty lines about itself at import.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training import train

    chosen = load_preset(preset)
    asked: dict[str, Any] = {
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "validation": validation,
        "test": test,
        "characters": charset,
        "licence": licence,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    manifest = train(
        folder,
        run,
        chosen,
        replace(chosen.settings, **given),
        labels=labels,
        digit=digit,
        resume=resume,
        tensorboard=tensorboard,
        verbose=int(sys.stdout.isatty() and not quiet),  # Keras draws its bar on stdout
        watch=lambda items, total: track(items, total, what="reading", quiet=quiet),
        report=_report,
    )
    if manifest is None:
        typer.echo(f"some digits are not trained yet; --resume without --digit trains them: {run}")
        return
    for part, figures in manifest.accuracy.items():
        low, high = figures["interval"]
        typer.echo(
            f"{part}: {figures['exact_match']:.4f} exact of {figures['pictures']} "
            f"({low:.4f} to {high:.4f}), character error rate "
            f"{figures['character_error_rate']:.4f}"
        )
    typer.echo(f"report: {run / 'report.html'}")
    typer.echo(f"next: captcha-rt export {run} -o model.onnx")


def _report(dataset: "Dataset") -> None:
    """Says on stderr what is trained on and what was left out."""
    typer.echo(dataset.labels, err=True)
    if dataset.items:
        characters = dataset.charset.characters
        typer.echo(
            f"{len(dataset.items)} pictures, {len(characters)} characters: {characters}", err=True
        )
    for name, reason in dataset.left_out:
        typer.echo(f"left out: {name}: {reason}", err=True)


@samples_app.command("samples")
def samples_command(
    folder: Annotated[Path, typer.Argument(help="The folder to write to; made if need be.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same pictures.")] = 0,
) -> None:
    """Draw labelled pictures of captcha_v2's kind."""
    from captcha_rt_train.kaptcha import write_samples

    for path in write_samples(folder, count, seed):
        typer.echo(path)
