"""The command `captcha-rt pretrain`."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from captcha_rt.cli.options import QuietOption


def pretrain(
    run: Annotated[Path, typer.Option("-o", "--out", help="The folder of the training.")],
    faces: Annotated[
        Path, typer.Option(help="The faces to draw with: faces.npz of `captcha-rt fonts`.")
    ],
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
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped training.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Train a general reader on drawn pictures of many styles."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # read when TensorFlow loads
    # The other cores draw: on cores that are shared, two threads are slower than one.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    from captcha_rt_export.run import Run
    from captcha_rt_train.presets import load_preset
    from captcha_rt_train.training.pretraining import Pretraining, pretrain, use_bfloat16
    from captcha_rt_train.training.trunk import load_trunk

    use_bfloat16()
    job = Pretraining(
        run=Run(run),
        preset=load_preset(preset),
        faces=faces,
        seed=seed,
        minutes=minutes,
        start=None if start is None else load_trunk(start),
        resume=resume,
        verbose=0 if quiet else 1 if sys.stdout.isatty() else 2,
    )
    manifest = pretrain(job)
    accuracy, training = manifest.accuracy["validation"], manifest.training
    typer.echo(
        f"{training['epochs_trained']} of {training['epochs']} epochs, "
        f"{training['pictures']:,} pictures: {accuracy['exact_match']:.4f} exact of "
        f"{accuracy['pictures']} drawn pictures"
    )
    typer.echo(f"trunk: {job.run.trunk_file}")
