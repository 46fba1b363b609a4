"""The application of one process: its addresses, its models, and how it begins and ends."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp

from captcha_rt.errors import CaptchaRTError
from captcha_rt.service.body import Intake
from captcha_rt.service.gate import Gate
from captcha_rt.service.hangups import let_through
from captcha_rt.service.inference import Inference
from captcha_rt.service.logs import AccessLog
from captcha_rt.service.metrics import MEDIA_TYPE, Metrics, forget_the_dead
from captcha_rt.service.models import Models
from captcha_rt.service.pages import Pages
from captcha_rt.service.reading import Reading
from captcha_rt.service.settings import CANT_LOAD, Settings
from captcha_rt.service.solve import Solve
from captcha_rt.service.state import State

READY_MARK: Final = "ready"
"""A file in the processes' folder: some process could load the models."""

_CANT_LOAD_AGAIN: Final = 1  # uvicorn starts another one
_PAUSE: Final = 2  # seconds, until then
_log = logging.getLogger("captcha_rt.service")


def make_app(settings: Settings) -> ASGIApp:
    """Makes the application.

    Args:
        settings: What the user has decided.
    """
    metrics = Metrics()
    state = State()
    models = Models(settings, metrics)
    log = AccessLog() if settings.access_log else None

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[None]:
        forget_the_dead()
        reading = Reading(settings.queue, metrics)
        router.routes.extend(_routes(settings, models, reading, metrics, state))
        loading = asyncio.create_task(_load(models, settings, state))
        _handle_signals(models, settings, state)
        yield
        state.draining = True  # SIGTERM may have come before its handler was there
        await loading
        await reading.stop()
        if log is not None:
            log.write()

    # Starlette's application would handle errors, too; the gate does it for all of them.
    # A redirect would lead to whatever host the request names.
    router = Router(redirect_slashes=False, lifespan=lifespan)
    return Gate(router, settings.api_key, metrics, state, log)


def _routes(
    settings: Settings, models: Models, reading: Reading, metrics: Metrics, state: State
) -> list[BaseRoute]:
    """All addresses."""
    intake = Intake(settings)
    solve = intake.reading(Solve(models, reading, settings))
    pages = Pages(models, reading, settings)

    async def show_metrics(_: Request) -> Response:
        text = await asyncio.to_thread(metrics.text)  # it reads the files of all processes
        return Response(text, headers={"Content-Type": MEDIA_TYPE})

    return [
        Route("/solve", solve, methods=["POST"]),
        *Inference(models, reading, settings, state).routes(intake),
        Route("/metrics", show_metrics),
        *pages.routes(intake),
    ]


async def _load(models: Models, settings: Settings, state: State) -> None:
    """Loads the models while the process says that it isn't ready; ends it if that fails."""
    mark = Path(settings.folder) / READY_MARK if settings.folder else None
    try:
        await models.load()
    except CaptchaRTError as error:
        print(f"captcha-rt: {error}", file=sys.stderr, flush=True)  # noqa: T201
        again = mark is not None and mark.exists()
        if again:  # it could before, and may again
            await asyncio.sleep(_PAUSE)
        os._exit(_CANT_LOAD_AGAIN if again else CANT_LOAD)  # there is nothing to clean up
    if mark is not None:
        mark.touch()
    if not state.draining:
        _log.info("ready", extra={"values": {"models": models.names}})


def _handle_signals(models: Models, settings: Settings, state: State) -> None:
    """SIGTERM drains before the server ends; SIGHUP loads the models again."""
    loop = asyncio.get_running_loop()
    ends: Any = signal.getsignal(signal.SIGTERM)  # uvicorn's
    reloads: set[asyncio.Task[None]] = set()

    def end() -> None:
        if callable(ends):
            ends(signal.SIGTERM, None)

    def drain() -> None:
        if state.draining:
            return
        state.draining = True
        _log.info("draining")
        loop.call_later(settings.drain_seconds, end)

    def reload() -> None:
        task = asyncio.create_task(models.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    handlers: dict[str, Callable[[], None]] = {"SIGTERM": drain, "SIGHUP": reload}
    for name, handler in handlers.items():
        # Windows has no such handlers, and only the main thread may set them.
        with suppress(AttributeError, NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(getattr(signal, name), handler)
    let_through()
