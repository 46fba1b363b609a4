"""The command `captcha-rt export`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from captcha_rt.cli.output import SOME_FAILED, fail
from captcha_rt.session import MAX_THREADS
from captcha_rt_export.to import Form, take_along
from captcha_rt_export.to.source import Source

if TYPE_CHECKING:
    from captcha_rt_export.int8 import Int8Report


def export(
    run: Annotated[
        Path,
        typer.Argument(
            help="A finished run of `captcha-rt train`. With --to also a .onnx file, `default` or "
            "`general`."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="The .onnx file to write. With --to a .keras or .tflite file, or a new folder.",
        ),
    ],
    pictures: Annotated[
        Path | None,
        typer.Option(
            help="A folder of pictures to check on, or a zip or tar file of one; by default those "
            "that the run held back."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in answers; by default the run's.")
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Compute in 8 bits what loses nothing by it and is faster: measured here, on the "
            "pictures that the run held back.",
        ),
    ] = False,
    min_confidence: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Below this confidence `solve` rejects an answer by default."
        ),
    ] = 0.0,
    to: Annotated[
        Form | None, typer.Option(help="Write the form of another program in place of .onnx.")
    ] = None,
    device: Annotated[
        Literal["cpu", "cuda"], typer.Option(help="Where Triton runs the model.")
    ] = "cpu",
    instances: Annotated[
        int, typer.Option(min=1, max=MAX_THREADS, help="Processes in which Triton runs the model.")
    ] = 1,
) -> None:
    """Convert a trained run to one .onnx file, checked against Keras on real pictures."""
    # If TensorFlow sees a GPU, tf2onnx writes LSTMs that no ONNX runtime knows.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    if to is not None:
        _take_along(Source(run, pictures, name, int8, min_confidence, device, instances), to, out)
        return
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
        typer.echo(_table(report.int8))
    _warn_of_one_answer(report.parity.only_answer, report.pictures)
    typer.echo(f"next: captcha-rt solve PICTURE --model {out}")


def _take_along(source: Source, form: Form, out: Path) -> None:
    """Writes the form of another program, and says what was checked."""
    taken = take_along(source, form, out)
    typer.echo(f"{out}: {taken.size:,} bytes, model {taken.name}, for {form}")
    typer.echo(
        f"checked: {taken.checked} reads {taken.same} of {taken.pictures} pictures as captcha-rt "
        "does"
    )
    _warn_of_one_answer(taken.only_answer, taken.pictures)
    typer.echo(f"next: {taken.usage}")


def _warn_of_one_answer(answer: str | None, pictures: int) -> None:
    """Ends the command if a model answers all pictures with one text."""
    if answer is not None:
        fail(
            f"the model answers all {pictures} pictures with {answer or 'nothing'}: it has learned "
            "nothing, or --pictures has to name a folder with different texts",
            SOME_FAILED,
        )


def _table(report: "Int8Report") -> str:
    """The forms as they were measured, one a line."""
    width = max(len(candidate.form) for candidate in report.candidates)
    lines = [f"{'':{width}}       bytes  ms a picture  right of {report.pictures}"]
    for candidate in report.candidates:
        taken = "  taken" if candidate == report.chosen else ""
        lines.append(
            f"{candidate.form:{width}}  {candidate.size:10,}  {candidate.milliseconds:12.3f}  "
            f"{candidate.right:>{len(str(report.pictures)) + 9}}{taken}"
        )
    return "\n".join(lines)
