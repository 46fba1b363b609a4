"""The options that several commands share."""

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from captcha_rt.device import Device
from captcha_rt.session import MAX_THREADS
from captcha_rt.workers import MAX_WORKERS

DEVICE_HELP: Final = "Where to run; auto takes the faster one."

ModelOption = Annotated[
    Path | None, typer.Option("--model", "-m", help="A .onnx file; the embedded ones by default.")
]
DeviceOption = Annotated[Device, typer.Option(help=DEVICE_HELP)]
ThreadsOption = Annotated[
    int, typer.Option(min=1, max=MAX_THREADS, help="Threads within one run of the network.")
]
BatchOption = Annotated[int, typer.Option(min=1, help="Pictures in one run of the network.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]


def parse_workers(text: str) -> int | Literal["auto"]:
    """Reads the value of `--workers`.

    Raises:
        typer.BadParameter: If it is no number of processes.
    """
    if text == "auto":
        return "auto"
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= MAX_WORKERS):
        raise typer.BadParameter(f"--workers is {text[:40]!r}; it is auto, or 1 to {MAX_WORKERS}")
    return int(text)
