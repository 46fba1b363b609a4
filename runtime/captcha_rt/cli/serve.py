"""The command `captcha-rt serve`."""

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from captcha_rt.cli.options import DEVICE_HELP, parse_workers
from captcha_rt.cli.output import USAGE, fail
from captcha_rt.device import Device
from captcha_rt.service.settings import Address, Settings, read_models
from captcha_rt.session import MAX_THREADS

_LONGEST: Final = 3600  # seconds that an option may ask for
_ADDRESS: Final = Address()
_DEFAULTS: Final = Settings()
_VARIABLES: Final = {"CAPTCHA_RT_API_KEY", "CAPTCHA_RT_CACHE"}  # and those of the options


def _option(name: str, about: str, **settings: Any) -> Any:  # noqa: ANN401  (Typer's)
    """An option that the environment may set as well."""
    word = name.partition("/")[0].removeprefix("--")
    variable = "CAPTCHA_RT_" + word.upper().replace("-", "_")
    _VARIABLES.add(variable)
    envvar = None if _is_of_a_service(variable) else variable
    return typer.Option(name, envvar=envvar, help=about, **settings)


def _is_of_a_service(variable: str) -> bool:
    """Whether a variable holds where a service of Kubernetes is.

    For a service called captcha-rt, its pods find an address in CAPTCHA_RT_PORT.
    """
    found_at = os.environ.get(variable, "").startswith(("tcp://", "udp://", "sctp://"))
    return found_at or "_SERVICE_" in variable or "_PORT_" in variable


def serve(
    models: Annotated[
        list[str] | None,
        _option("--model", "A .onnx file, or NAME=FILE for several; the embedded by default."),
    ] = None,
    host: Annotated[
        str, _option("--host", "The address to listen on; 0.0.0.0 is reached from everywhere.")
    ] = _ADDRESS.host,
    port: Annotated[
        int, _option("--port", "0 takes a free one.", min=0, max=65535)
    ] = _ADDRESS.port,
    workers: Annotated[
        str,
        _option(
            "--workers",
            "How many processes; auto fits them to the cores; one on --device cuda.",
        ),
    ] = "auto",
    device: Annotated[Device, _option("--device", DEVICE_HELP)] = _DEFAULTS.device,
    threads: Annotated[
        int, _option("--threads", "Threads within one run.", min=1, max=MAX_THREADS)
    ] = _DEFAULTS.threads,
    api_key_file: Annotated[
        Path | None,
        _option(
            "--api-key-file",
            "A file with the key that requests need; or set CAPTCHA_RT_API_KEY.",
        ),
    ] = None,
    allowed_hosts: Annotated[
        list[str] | None,
        _option("--allowed-host", "Another name by which a service without a key is called."),
    ] = None,
    max_body: Annotated[
        int, _option("--max-body", "The largest request, in bytes.", min=1)
    ] = _DEFAULTS.max_body,
    max_memory: Annotated[
        int, _option("--max-memory", "Bytes of all requests of a process.", min=1)
    ] = _DEFAULTS.max_memory,
    max_pixels: Annotated[
        int, _option("--max-pixels", "The largest picture, in pixels.", min=1)
    ] = _DEFAULTS.max_pixels,
    max_batch: Annotated[
        int, _option("--max-batch", "The most pictures in a request.", min=1)
    ] = _DEFAULTS.max_batch,
    queue: Annotated[
        int, _option("--queue", "Pictures that wait in a process before it answers 503.", min=1)
    ] = _DEFAULTS.queue,
    body_seconds: Annotated[
        float,
        _option(
            "--body-seconds", "The time in which a request has to arrive.", min=0.1, max=_LONGEST
        ),
    ] = _DEFAULTS.body_seconds,
    drain_seconds: Annotated[
        float,
        _option(
            "--drain-seconds",
            "How long to answer on, not ready, after SIGTERM.",
            min=0,
            max=_LONGEST,
        ),
    ] = _DEFAULTS.drain_seconds,
    access_log: Annotated[
        bool, _option("--access-log/--no-access-log", "A line of JSON for each request.")
    ] = _DEFAULTS.access_log,
) -> None:
    """Serve the models over HTTP: POST /solve, the Open Inference Protocol, and a page.

    Each option may also be a variable of the environment: CAPTCHA_RT_PORT=8080 for --port 8080.
    SIGTERM ends it when all requests are answered; SIGHUP loads the model files again.
    """
    from captcha_rt.service.installed import check_installed

    check_installed()
    _report_unknown_variables()
    from captcha_rt.service.run import run

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
        names=allowed_hosts or (),
    )
    raise typer.Exit(run(settings, Address(host, port), _count(workers, device, threads)))


def _count(workers: str, device: Device, threads: int) -> int:
    """The number of processes: one on a GPU, which each would load its libraries for."""
    from captcha_rt.cores import available_cores

    count = parse_workers(workers)
    if count != "auto":
        return count
    return 1 if device == "cuda" else max(1, available_cores() // threads)


def _report_unknown_variables() -> None:
    """Says which variables look like options', and are none's: a mistyped one has no effect."""
    for name in sorted(os.environ.keys() - _VARIABLES):
        if name.startswith("CAPTCHA_RT_") and not _is_of_a_service(name):
            near = get_close_matches(name, _VARIABLES, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            typer.echo(f"captcha-rt: no option has the variable {name}{hint}", err=True)


def _api_key(file: Path | None) -> str:
    """The key in a file, or in the environment; empty if there is none."""
    variable = "CAPTCHA_RT_API_KEY"
    if file is None and variable not in os.environ:
        return ""
    try:
        key = (os.environ[variable] if file is None else file.read_text("utf-8-sig")).strip()
        key.encode()
    except UnicodeError:
        key = ""
    if not key:
        fail(f"{file or variable} holds no API key, a text in UTF-8", USAGE)
    return key
