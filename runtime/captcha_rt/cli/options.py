"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from captcha_rt.device import Device
from captcha_rt.session import MAX_THREADS

ModelOption = Annotated[
    Path | None, typer.Option("--model", "-m", help="A .onnx file; the embedded ones by default.")
]
DeviceOption = Annotated[Device, typer.Option(help="Where to run; auto takes the faster one.")]
ThreadsOption = Annotated[
    int, typer.Option(min=1, max=MAX_THREADS, help="Threads within one run of the network.")
]
BatchOption = Annotated[int, typer.Option(min=1, help="Pictures in one run of the network.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")]
