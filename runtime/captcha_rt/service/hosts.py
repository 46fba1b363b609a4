"""Keeps the pages of strangers out of a service that has no key.

A browser lets any page send a picture to a service on its user's machine. And who owns the name of
a page can let it lead there, so that the page reads the answers as well ("DNS rebinding"). But a
browser says by which name it was led, in `Host`, and from whose page, in `Origin`.
"""

import logging
import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from captcha_rt.service.refusal import refuse

HEALTH: Final = frozenset({"/v2/health/live", "/v2/health/ready"})
"""What anybody may ask."""

_HOST: Final = re.compile(rb"(?:.*://)?(.*?)(?::\d+)?")
"""`HOST`, `HOST:PORT` or `SCHEME://HOST:PORT`."""

_NUMBERS: Final = re.compile(rb"[\d.]+|\[.*\]")
"""An address in numbers: no name, which could lead elsewhere tomorrow."""

_OWN: Final = b"localhost"
_LONGEST: Final = 300  # letters; names have at most 253
_log = logging.getLogger("captcha_rt.service")


class KnownHosts:
    """Passes on the requests that no page of a stranger has made, and those for the health.

    Probes may call the service by any name, and what they are told is no secret.
    """

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        """Takes the application, and the names by which it is called, also as addresses."""
        self._app = app
        self._names = frozenset(_host_in(name.encode()) for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope.get("path") in HEALTH:
            await self._app(scope, receive, send)
            return
        headers = dict(scope.get("headers", ()))
        # Only a program leaves out `Host`; a browser leaves out `Origin` where no page asks.
        host, origin = headers.get(b"host", _OWN), headers.get(b"origin", _OWN)
        stranger = _stranger(host[:_LONGEST], origin[:_LONGEST], self._names)
        if stranger is None:
            await self._app(scope, receive, send)
            return
        shown = stranger.decode("ascii", "backslashreplace")
        _log.warning("refused a request for another host", extra={"values": {"host": shown}})
        message = (
            f"{shown!r} is no name of this service; if it should be, start it with "
            f"--allowed-host {shown}, or with an API key"
        )
        await refuse(scope["path"], 403, message, {"Connection": "close"})(scope, receive, send)


@lru_cache(256)
def _stranger(host: bytes, origin: bytes, names: frozenset[bytes]) -> bytes | None:
    """The host that isn't known: of the address, or of the page that a request comes from."""
    called, page = _host_in(host), _host_in(origin)
    if called not in names and not _NUMBERS.fullmatch(called):
        return called
    return page if page not in names and page != called else None


def _host_in(value: bytes) -> bytes:
    found = _HOST.fullmatch(value.lower())
    return value if found is None else found[1]
