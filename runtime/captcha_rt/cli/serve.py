"""The command `captcha-rt serve`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from captcha_rt.cli.output import USAGE, fail
from captcha_rt.device import Device
from captcha_rt.image import MAX_PIXELS
from captcha_rt.session import MAX_THREADS


def _option(name: str, about: str, **settings: Any) -> Any:  # noqa: ANN401  (Typer's)
    """An option that the environment may set as well."""
    variable = "CAPTCHA_RT_" + name.removeprefix("--").upper().replace("-", "_")
    return typer.Option(name, envvar=variable, help=about, **settings)


def serve(
    models: Annotated[
        list[str] | None,
        _option("--model", "A .onnx file, or NAME=FILE for several; the embedded by default."),
    ] = None,
    host: Annotated[
        str, _option("--host", "The address to listen on; 0.0.0.0 is reached from everywhere.")
    ] = "127.0.0.1",
    port: Annotated[int, _option("--port", "0 takes a free one.", min=0, max=65535)] = 8000,
    workers: Annotated[
        str, _option("--workers", "How many processes; auto is one for each usable core.")
    ] = "auto",
    device: Annotated[
        Device, _option("--device", "Where to run; auto takes CUDA if it works.")
    ] = "auto",
    threads: Annotated[
        int, _option("--threads", "Threads within one run.", min=1, max=MAX_THREADS)
    ] = 1,
    api_key_file: Annotated[
        Path | None,
        _option(
            "--api-key-file",
            "A file with the key that requests need; or set CAPTCHA_RT_API_KEY.",
        ),
    ] = None,
    max_body: Annotated[int, _option("--max-body", "The largest request, in bytes.", min=1)] = 8
    * 2**20,
    max_memory: Annotated[
        int, _option("--max-memory", "Bytes of all requests of a process.", min=1)
    ] = 256 * 2**20,
    max_pixels: Annotated[
        int, _option("--max-pixels", "The largest picture, in pixels.", min=1)
    ] = MAX_PIXELS,
    max_batch: Annotated[
        int, _option("--max-batch", "The most pictures in a request.", min=1)
    ] = 64,
    queue: Annotated[
        int, _option("--queue", "Pictures that wait in a process before it answers 503.", min=1)
    ] = 256,
    body_seconds: Annotated[
        float, _option("--body-seconds", "The time in which a request has to arrive.", min=0.1)
    ] = 10,
    drain_seconds: Annotated[
        float,
        _option("--drain-seconds", "How long to answer on, not ready, after SIGTERM.", min=0),
    ] = 1,
    access_log: Annotated[
        bool, _option("--access-log/--no-access-log", "A line of JSON for each request.")
    ] = True,
) -> None:
    """Serve the models over HTTP: POST /solve, the Open Inference Protocol, and a page.

    Each option may also be a variable of the environment: CAPTCHA_RT_PORT=8080 for --port 8080.
    SIGTERM ends it when all requests are answered; SIGHUP loads the model files again.
    """
    from captcha_rt.service.installed import check_installed

    check_installed()
    from captcha_rt.service.run import Address, run
    from captcha_rt.service.settings import Settings, read_models

    settings = Settings(
        models=read_models(models or []),
        device=device,
        threads=threads,
        max_body=max_body,
        max_memory=max_memory,
        max_pixels=max_pixels,
        max_batch=max_batch,
        queue=queue,
        body_seconds=body_seconds,
        drain_seconds=drain_seconds,
        api_key=_api_key(api_key_file),
        access_log=access_log,
    )
    raise typer.Exit(run(settings, Address(host, port), _count(workers)))


def _count(workers: str) -> int:
    from captcha_rt.cores import available_cores
    from captcha_rt.workers import MAX_WORKERS

    if workers == "auto":
        return available_cores()
    if not (workers.isascii() and workers.isdecimal() and 1 <= int(workers[:9]) <= MAX_WORKERS):
        raise typer.BadParameter(
            f"--workers is auto or a number from 1 to {MAX_WORKERS}, not {workers!r}"
        )
    return int(workers)


def _api_key(file: Path | None) -> str:
    """The key in a file, or in the environment; empty if there is none."""
    if file is None:
        return os.environ.get("CAPTCHA_RT_API_KEY", "")
    key = file.read_text("utf-8").strip()
    if not key:
        fail(f"the API key in {file} is empty", USAGE)
    return key
