"""What `captcha-rt export --to` does: it writes a model in the form of another program."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from captcha_rt.session import MAX_THREADS
from captcha_rt_export.cli.printing import end
from captcha_rt_export.to import Form, take_along
from captcha_rt_export.to.source import Source

ToOption = Annotated[
    Form | None, typer.Option(help="Write the form of another program in place of .onnx.")
]
DeviceOption = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where Triton runs the model.")]
InstancesOption = Annotated[
    int, typer.Option(min=1, max=MAX_THREADS, help="Processes in which Triton runs the model.")
]

ANOTHER_FOLDER = "--pictures has to name a folder with different texts"


def export_along(source: Source, form: Form, out: Path) -> None:
    """Writes the form of another program, and says what was checked."""
    taken = take_along(source, form, out)
    typer.echo(f"{out}: {taken.size:,} bytes, model {taken.name}, for {form}")
    typer.echo(
        f"checked: {taken.checked} reads {taken.same} of {taken.pictures} pictures as captcha-rt "
        "does"
    )
    end(taken.only_answer, taken.pictures, ANOTHER_FOLDER, taken.usage)
