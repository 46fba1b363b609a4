"""The command `captcha-rt export`."""

import os
from pathlib import Path
from typing import Annotated

import typer

export_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@export_app.command("export")
def export_command(
    run: Annotated[Path, typer.Argument(help="A finished run of `captcha-rt train`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The .onnx file to write.")],
    pictures: Annotated[
        Path | None,
        typer.Option(help="A folder to check on; by default what the run held back."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in answers; by default the run's.")
    ] = None,
) -> None:
    """Convert a trained run to one .onnx file, checked against Keras on real pictures."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Where TensorFlow sees a GPU, tf2onnx writes LSTMs that no ONNX runtime knows.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["KERAS_BACKEND"] = "tensorflow"
    from captcha_rt_export.export import BATCHES, export

    report = export(run, out, pictures=pictures, name=name)
    operators = ", ".join(f"{name} {count}" for name, count in report.operators.items())
    typer.echo(f"{out}: {report.size:,} bytes, model {report.manifest.name}")
    typer.echo(f"operators: {operators}")
    typer.echo(
        f"checked against Keras on {report.pictures} pictures at batch "
        f"{', '.join(map(str, BATCHES))}: same texts, largest difference "
        f"{report.probability_difference:.1e} in probability, {report.score_difference:.1e} "
        "in the scores"
    )
    typer.echo(f"next: captcha-rt solve PICTURE --model {out}")
