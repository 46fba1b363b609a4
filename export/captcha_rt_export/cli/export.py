"""The command `captcha-rt export`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from captcha_rt.cli.output import SOME_FAILED, fail


def export(
    run: Annotated[Path, typer.Argument(help="A finished run of `captcha-rt train`.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The .onnx file to write.")],
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="A folder of pictures to check on; by default those that the run held back."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in answers; by default the run's.")
    ] = None,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Compute in 8 bits: smaller, and on most processors faster."),
    ] = False,
    min_confidence: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Below this confidence `solve` rejects an answer by default."
        ),
    ] = 0.0,
) -> None:
    """Convert a trained run to one .onnx file, checked against Keras on real pictures."""
    # If TensorFlow sees a GPU, tf2onnx writes LSTMs that no ONNX runtime knows.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    from captcha_rt_export.backend import set_up_keras

    set_up_keras("tensorflow")
    from captcha_rt_export.export import export_run
    from captcha_rt_export.parity import BATCHES
    from captcha_rt_export.run import Run

    report = export_run(
        Run(run), out, pictures=pictures, name=name, int8=int8, min_confidence=min_confidence
    )
    operators = ", ".join(f"{operator} {count}" for operator, count in report.operators.items())
    typer.echo(f"{out}: {report.size:,} bytes, model {report.manifest.name}")
    typer.echo(f"operators: {operators}")
    typer.echo(
        f"checked against Keras on {report.pictures} pictures at batch "
        f"{', '.join(map(str, BATCHES))}: same texts, largest difference "
        f"{report.parity.probability:.1e} in probability, {report.parity.score:.1e} "
        "in the scores"
    )
    if report.int8 is not None:
        changed = report.int8
        typer.echo(
            f"in 8 bits {changed.right} of {changed.pictures} pictures are read right, in float "
            f"{changed.float_right}; {changed.milliseconds:.3f} ms a picture, in float "
            f"{changed.float_milliseconds:.3f}"
        )
    if report.parity.only_answer is not None:
        answer = report.parity.only_answer or "nothing"
        fail(
            f"the model answers all {report.pictures} pictures with {answer}: it has learned "
            "nothing, or --pictures has to name a folder with different texts",
            SOME_FAILED,
        )
    typer.echo(f"next: captcha-rt solve PICTURE --model {out}")
