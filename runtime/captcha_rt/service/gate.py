"""What every request passes: the key, the log, the metrics, and the end of errors."""

import logging
from hmac import compare_digest
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from captcha_rt.service.metrics import Metrics
from captcha_rt.service.refusal import refuse
from captcha_rt.service.settings import Settings
from captcha_rt.service.state import State

OPEN: Final = frozenset(
    {"/v2/health/live", "/v2/health/ready", "/", "/docs", "/openapi.json"}
    | {f"/page/{name}" for name in ("style.css", "app.js", "docs.js", "icon.svg")}
)
"""What is answered without a key: the health, and pages that hold nothing secret."""

_HEADERS: Final = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
_CLOSE: Final = (b"connection", b"close")
_log = logging.getLogger("captcha_rt.service")
_access = logging.getLogger("captcha_rt.service.access")


class Gate:
    """Stands before the application."""

    def __init__(self, app: ASGIApp, settings: Settings, metrics: Metrics, state: State) -> None:
        """Takes the application, and what it has to know."""
        self._app = app
        self._key = settings.api_key.encode()
        self._log_access = settings.access_log
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
            if self._admits(scope):
                await self._app(scope, receive, send_noted)
            else:
                self._metrics.rejected.labels("key").inc()
                headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}
                answer = refuse(scope["path"], 401, "the API key is missing or wrong", headers)
                await answer(scope, receive, send_noted)
        except Exception as error:  # noqa: BLE001  (the caller is told that the service failed)
            _log.exception("%s while answering", type(error).__name__)
        finally:
            self._note(scope, status, perf_counter() - started)

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
        self._metrics.requests.labels(route, status).inc()
        if self._log_access:
            values = {
                "method": scope["method"],
                "route": route,
                "status": status,
                "ms": round(seconds * 1000, 2),
            }
            _access.info("request", extra={"values": values})
