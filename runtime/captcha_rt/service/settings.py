"""What the user decides about the service; it goes to each process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from captcha_rt.device import Device
from captcha_rt.errors import ServiceError
from captcha_rt.image import MAX_PIXELS

EMBEDDED_NAME: Final = "default"
"""The name under which a model is served that was given none."""

MEBI: Final = 2**20

METRICS_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The environment variable by which prometheus-client knows the folder of the processes."""

CANT_LOAD: Final = 3
"""The exit code of a process that can't load the models; uvicorn then ends all."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the service answers.

    Attributes:
        models: The model files by name; the first one answers where none is named. None as a file
            stands for the embedded models.
        device: Where they run.
        threads: Threads within one run of a network.
        max_body: The largest body of a request in bytes, compressed and decompressed.
        max_memory: The bytes that all bodies of a process may take at one time.
        max_pixels: The largest picture, in pixels.
        max_batch: The largest number of pictures in one request.
        queue: The number of pictures that a process accepts before it answers 503.
        body_seconds: The time in which a request has to arrive.
        drain_seconds: How long a process answers on after SIGTERM, while it says that it isn't
            ready.
        api_key: What a request has to bring along; empty if nothing.
        access_log: Whether each request is a line in the log.
        names: The names by which a service without a key may be called; empty if that isn't
            checked.
        folder: Where the processes meet; empty if there is only one.
    """

    models: Mapping[str, Path | None] = field(default_factory=lambda: {EMBEDDED_NAME: None})
    device: Device = "auto"
    threads: int = 1
    max_body: int = 8 * MEBI
    max_memory: int = 256 * MEBI
    max_pixels: int = MAX_PIXELS
    max_batch: int = 64
    queue: int = 256
    body_seconds: float = 10
    drain_seconds: float = 1
    api_key: str = ""
    access_log: bool = True
    names: Sequence[str] = ()
    folder: str = ""

    def __post_init__(self) -> None:
        if self.max_batch > self.queue:
            raise ServiceError(
                f"a request of {self.max_batch} pictures has no place in a queue of {self.queue}; "
                "raise --queue or lower --max-batch"
            )
        if self.max_body > self.max_memory:
            raise ServiceError(
                f"a body of {self.max_body} bytes has no place in a memory of {self.max_memory}; "
                "raise --max-memory or lower --max-body"
            )


@dataclass(frozen=True, slots=True)
class Address:
    """Where the service listens.

    Attributes:
        host: A name or an address.
        port: The port; 0 takes a free one.
    """

    host: str = "127.0.0.1"
    port: int = 8000


def read_models(named: list[str]) -> dict[str, Path | None]:
    """Reads what `--model` names.

    Args:
        named: `NAME=FILE`, or a file alone, which is served as `default`.

    Returns:
        The files by name, in order; the embedded models if there is none.

    Raises:
        ServiceError: If a name occurs twice, or can't be part of an address.
    """
    models: dict[str, Path | None] = {}
    for value in named:
        name, given, file = value.partition("=")
        if not given or Path(value).exists():  # a file may have a = in its name
            name, file = EMBEDDED_NAME, value
        if not name or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
            raise ServiceError(f"{name!r} can't name a model: use letters, digits, . _ and -")
        if name.strip(".") == "":
            raise ServiceError(f"{name!r} can't name a model")
        if name in models:
            raise ServiceError(f"two models are named {name!r}: --model NAME=FILE")
        models[name] = Path(file).absolute()
    return models or {EMBEDDED_NAME: None}
