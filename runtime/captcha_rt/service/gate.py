"""What every request passes: the key, the log, the metrics, and the end of errors."""

import logging
from hmac import compare_digest
from time import perf_counter
from typing import Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from captcha_rt.service.hosts import HEALTH
from captcha_rt.service.logs import AccessLog
from captcha_rt.service.metrics import Metrics
from captcha_rt.service.refusal import ClientGoneError, Refusal, refuse
from captcha_rt.service.state import State

OPEN: Final = frozenset(
    {*HEALTH, "/", "/docs", "/openapi.json"}
    | {f"/page/{name}" for name in ("style.css", "app.js", "docs.js", "icon.svg")}
)
"""What is answered without a key: the health, and pages that hold nothing secret."""

_HEADERS: Final = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
_CLOSE: Final = (b"connection", b"close")
_CLIENT_GONE: Final = 499  # as nginx counts clients that left; nobody reads it
_log = logging.getLogger("captcha_rt.service")


class Gate:
    """Stands before the application."""

    def __init__(
        self, app: ASGIApp, key: str, metrics: Metrics, state: State, log: AccessLog | None
    ) -> None:
        """Takes the application, and what it has to know."""
        self._app = app
        self._key = key.encode()
        self._access = log
        self._metrics = metrics
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        status = 0

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message["headers"], *_HEADERS]
                message["headers"] = [*headers, _CLOSE] if self._state.draining else headers
            await send(message)

        try:
            if not self._admits(scope):
                headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
                raise Refusal(401, "the API key is missing or wrong", "key", headers)
            scope["app"] = self._app  # where there is one, Starlette raises its 404 and 405
            await self._app(scope, receive, send_noted)
        except Exception as error:  # noqa: BLE001  (the caller is told that the service failed)
            answer = self._end(scope["path"], error)
            if not status:
                await answer(scope, receive, send_noted)
        finally:
            self._note(scope, status, perf_counter() - started)

    def _end(self, path: str, error: Exception) -> Response:
        """What an error is answered with, and where it is noted."""
        if isinstance(error, Refusal):
            self._metrics.rejected.labels(error.reason).inc()
            return refuse(path, error.status, error.message, error.headers)
        if isinstance(error, ClientGoneError):
            self._metrics.rejected.labels("client_gone").inc()
            return Response(status_code=_CLIENT_GONE)
        if isinstance(error, HTTPException):  # no such address, or not with this method
            return refuse(path, error.status_code, error.detail, error.headers)
        _log.error("%s while answering", type(error).__name__, exc_info=error)
        return refuse(path, 500, "the service failed; its log says why")

    def _admits(self, scope: Scope) -> bool:
        """Whether a request needs no key, or has the right one."""
        if not self._key or scope["path"] in OPEN:
            return True
        found = b""
        for name, value in scope["headers"]:
            if name == b"x-api-key":
                found = value
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                found = value[7:].strip()
        return compare_digest(found, self._key)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        self._metrics.requests(route, status).inc()
        if self._access is not None:
            self._access.note(
                method=scope["method"], route=route, status=status, ms=round(seconds * 1000, 2)
            )
