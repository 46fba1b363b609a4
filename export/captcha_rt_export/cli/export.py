"""The command `captcha-rt export`."""

import os
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from captcha_rt.archives import unpack
from captcha_rt.cli.output import USAGE, fail
from captcha_rt.labels import AUTO
from captcha_rt_export.cli.along import (
    ANOTHER_FOLDER,
    DeviceOption,
    InstancesOption,
    ToOption,
    check_name,
    export_along,
)
from captcha_rt_export.cli.foreign import (
    BlankOption,
    CharsetOption,
    CustomOption,
    DecoderOption,
    InputShapeOption,
    LabelsOption,
    LicenceOption,
    LikeOption,
    RecipeOption,
    ScoresOption,
    TrustOption,
    export_foreign,
)
from captcha_rt_export.cli.printing import end, print_report
from captcha_rt_export.foreign.formats import is_foreign
from captcha_rt_export.to.source import Source

SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL",
        help="A finished run of `captcha-rt train`, or a model that was trained elsewhere: .keras, "
        ".h5, a SavedModel's folder, .onnx or .tflite. With --to a run, a model of captcha-rt, "
        "`default` or `general`.",
    ),
]
OutOption = Annotated[
    Path,
    typer.Option(
        "-o",
        "--out",
        help="The .onnx file to write. With --to a .keras or .tflite file, or a new folder.",
    ),
]


def _unpacked(pictures: Path | None) -> Path | None:
    """The folder of pictures, also if it is in an archive."""
    return None if pictures is None else unpack(pictures).folder


PicturesOption = Annotated[
    Path | None,
    typer.Option(
        callback=_unpacked,
        help="A folder of pictures to check on, or a zip or tar file of one; of a run, by default "
        "those that it held back.",
    ),
]


def export(
    run: SourceArgument,
    out: OutOption,
    pictures: PicturesOption = None,
    name: Annotated[
        str | None, typer.Option(help="The model's name in answers; by default the run's.")
    ] = None,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Compute in 8 bits where measuring shows that it pays."),
    ] = False,
    min_confidence: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Below this confidence `solve` rejects an answer by default."
        ),
    ] = 0.0,
    to: ToOption = None,
    device: DeviceOption = None,
    instances: InstancesOption = None,
    recipe: RecipeOption = None,
    like: LikeOption = None,
    charset: CharsetOption = None,
    blank: BlankOption = None,
    decoder: DecoderOption = None,
    labels: LabelsOption = AUTO,
    scores: ScoresOption = None,
    input_shape: InputShapeOption = None,
    custom: CustomOption = None,
    trust: TrustOption = False,
    licence: LicenceOption = None,
) -> None:
    """Convert a trained run, or a model of your own, to one .onnx file, checked on real pictures.

    The options from --recipe on are for models that were trained elsewhere. What they don't say is
    found out on labelled --pictures.
    """
    check_name(to, out)
    for option, value in {"device": device, "instances": instances}.items():
        if value is not None and to != "triton":
            fail(f"--{option} is for --to triton", USAGE)
    # If TensorFlow sees a GPU, tf2onnx writes LSTMs that no ONNX runtime knows.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    foreign: dict[str, Any] = {
        "recipe": recipe,
        "like": like,
        "charset": charset,
        "blank": blank,
        "decoder": decoder,
        "labels": labels,
        "scores": scores,
        "input_shape": input_shape,
        "custom": custom,
        "trust": trust,
        "licence": licence,
    }
    shared: dict[str, Any] = {"name": name, "int8": int8, "min_confidence": min_confidence}
    if to is None and is_foreign(run):
        export_foreign(run, out, pictures=pictures, **foreign, **shared)
        return
    given = [option for option, value in foreign.items() if value not in (None, False, AUTO)]
    if given:
        fail(
            f"--{given[0].replace('_', '-')} is for models that were trained elsewhere; a run or a "
            "model of captcha-rt says it itself",
            USAGE,
        )
    if to is not None:
        source = Source(run, pictures, name, int8, min_confidence, device or "cpu", instances or 1)
        export_along(source, to, out)
    else:
        _export_run(run, out, pictures, shared)


def _export_run(run: Path, out: Path, pictures: Path | None, shared: dict[str, Any]) -> None:
    """Exports a run, and says what was made."""
    from captcha_rt_export.backend import set_up_keras

    set_up_keras("tensorflow")
    from captcha_rt_export.export import export_run
    from captcha_rt_export.run import Run

    report = export_run(Run(run), out, pictures=pictures, **shared)
    print_report(report, out, original="Keras")
    following = f"captcha-rt solve PICTURE --model {quote(str(out))}"
    end(report.parity.only_answer, report.pictures, ANOTHER_FOLDER, following)
