"""What `captcha-rt export --to` does: it writes a model in the form of another program."""

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from captcha_rt.cli.output import USAGE, fail
from captcha_rt.session import MAX_THREADS
from captcha_rt_export.cli.printing import end
from captcha_rt_export.to import Form, take_along
from captcha_rt_export.to.source import Source

ToOption = Annotated[
    Form | None, typer.Option(help="Write the form of another program in place of .onnx.")
]
DeviceOption = Annotated[
    Literal["cpu", "cuda"] | None,
    typer.Option(help="Where Triton runs the model; by default the CPU."),
]
InstancesOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=MAX_THREADS, help="Processes in which Triton runs the model; by default one."
    ),
]

ANOTHER_FOLDER = "--pictures has to name a folder with different texts"

_SUFFIXES: Final[dict[Form | None, str]] = {None: ".onnx", "keras": ".keras", "tflite": ".tflite"}
"""What the names of files end in; the other forms are folders."""


def check_name(form: Form | None, out: Path) -> None:
    """Refuses a name that promises another form than the one that is written.

    Args:
        form: What `--to` says; None is captcha-rt's own form.
        out: What `-o` says. A name without a suffix is any form's: it may be a pipe.
    """
    suffix, right = out.suffix.lower(), _SUFFIXES.get(form)
    if suffix in ("", right):
        return
    if suffix in _SUFFIXES.values() or (form is not None and right is not None):
        who = "export without --to" if form is None else f"--to {form}"
        what = "folder" if right is None else f"file that ends in {right}"
        fail(f"{who} writes a {what}: -o {out.with_suffix(right or '')}", USAGE)


def export_along(source: Source, form: Form, out: Path) -> None:
    """Writes the form of another program, and says what was checked."""
    taken = take_along(source, form, out)
    typer.echo(f"{out}: {taken.size:,} bytes, model {taken.name}, for {form}")
    typer.echo(
        f"checked: {taken.checked} reads {taken.same} of {taken.pictures} pictures as captcha-rt "
        "does"
    )
    end(taken.only_answer, taken.pictures, ANOTHER_FOLDER, taken.usage)
