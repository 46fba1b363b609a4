"""The command `captcha-rt pretrain`."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from captcha_rt.cli.options import QuietOption
from captcha_rt.progress import track
from captcha_rt_train.cli.options import telling_how_to_go_on

if TYPE_CHECKING:
    from captcha_rt_train.data.real import RealPictures
    from captcha_rt_train.presets import Preset


def pretrain(
    run: Annotated[Path, typer.Option("-o", "--out", help="The folder of the training.")],
    faces: Annotated[
        Path, typer.Option(help="The faces to draw with: faces.npz of `captcha-rt fonts`.")
    ],
    pool: Annotated[
        Path | None,
        typer.Option(
            help="The folder for the drawn pictures, which trainings with the same seed, faces and "
            "--drawn may share. Otherwise they lie in the folder of the training."
        ),
    ] = None,
    drawn: Annotated[
        int, typer.Option(min=1, help="The number of pictures to draw, 28 kB each.")
    ] = 327_680,
    real: Annotated[
        Path | None,
        typer.Option(
            help="Labelled pictures to mix in: a folder, or a TOML file of sources; only those for "
            "training are used."
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="The system to train; its recipe ends with fit and scale.")
    ] = "general",
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seeds the weights and the pictures.")
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(min=0, help="Stop after the epoch in which this time is over."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="The trunk.npz of an earlier training, to go on from.")
    ] = None,
    restart: Annotated[
        bool,
        typer.Option(
            "--restart",
            help="After --start, let the learning rate rise anew, to three quarters of the "
            "preset's, and fall over the epochs that are left.",
        ),
    ] = False,
    halfway: Annotated[
        bool,
        typer.Option(
            "--halfway",
            help="Keep the mean of the weights of --start and of those at the end: it reads other "
            "kinds better than the end alone. With --resume also after the training has ended.",
        ),
    ] = False,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="The trunk.npz of a better network, to learn from. Without --start, it has the "
            "same layers, and training starts with its most important filters."
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped training.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a general model on drawn pictures of many styles."""
    from captcha_rt_export.run import Run
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training.pretraining import Pretraining, pretrain
    from captcha_rt_train.training.trunk import load_trunk

    chosen = load_preset(preset)
    job = Pretraining(
        run=Run(run),
        preset=chosen,
        faces=faces,
        pool=pool,
        drawn=drawn,
        real=None if real is None else _read_real(real, chosen),
        seed=seed,
        minutes=minutes,
        start=None if start is None else load_trunk(start),
        restart=restart,
        halfway=halfway,
        teacher=None if teacher is None else load_trunk(teacher),
        resume=resume,
        verbose=0 if quiet else 1 if sys.stdout.isatty() else 2,
        watch=partial(track, what="drawing", quiet=quiet),
    )
    with telling_how_to_go_on(job.run, "the same command with --resume"):
        manifest = pretrain(job)
    accuracy, training = manifest.accuracy["validation"], manifest.training
    typer.echo(
        f"{training['epochs_trained']} of {training['epochs']} epochs, "
        f"{training['pictures']:,} pictures: {accuracy['exact_match']:.4f} exact of "
        f"{accuracy['pictures']} drawn pictures"
    )
    typer.echo(f"trunk: {job.run.trunk_file}")


def _read_real(path: Path, preset: "Preset") -> "RealPictures":
    """Reads the pictures to mix in, and says which were skipped."""
    from captcha_rt_train.data.real import read_real
    from captcha_rt_train.training.pretraining import plan_general

    # Split by the preset's own seed, whatever --seed says: what is held back stays that.
    pictures = read_real(path, plan_general(preset).manifest, preset.settings)
    for name, reason in pictures.skipped:
        typer.echo(f"skipped: {name}: {reason}", err=True)
    return pictures
