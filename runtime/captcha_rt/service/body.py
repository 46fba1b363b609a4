"""Reads the bodies of requests, none of which is believed.

A body is counted while it arrives, and what it claims of itself allocates nothing. All bodies of a
process together are bounded as well: a thousand connections may each send as much as one may.
"""

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from captcha_rt.service.refusal import ClientGoneError, Refusal, busy, too_large
from captcha_rt.service.settings import Settings

Handler: TypeAlias = Callable[[Request, bytes], Awaitable[Response]]

MAX_VALUES: Final = 100_000
"""The most values in a JSON body: Python takes up to 60 bytes for each."""

_WINDOW: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}  # zlib's wbits
_MAX_DIGITS: Final = 15


class Intake:
    """Reads bodies within the limits."""

    def __init__(self, settings: Settings) -> None:
        """Takes the limits."""
        self._settings = settings
        self._held = 0

    def reading(self, handler: Handler) -> ASGIApp:
        """Makes an endpoint of a handler that takes the body.

        The memory counts as used until the answer is made.
        """
        return _Endpoint(self, handler)

    async def answer(self, request: Request, handler: Handler) -> Response:
        """Reads the body of a request, and lets a handler answer it."""
        held = [0]
        try:
            return await handler(request, await self._read(request, held))
        finally:
            self._held -= held[0]

    async def _read(self, request: Request, held: list[int]) -> bytes:
        """Reads a body, decompressed.

        Raises:
            Refusal: If the body is too large, too slow, or compressed in a way that is not known.
            ClientGoneError: If the client leaves meanwhile.
        """
        limit = self._settings.max_body
        claimed = header_of(request, b"content-length") or b"0"
        if len(claimed) > _MAX_DIGITS or int(claimed) > limit:
            raise too_large(f"a body has at most {limit} bytes")
        coding = (header_of(request, b"content-encoding") or b"identity").strip().lower()
        if coding != b"identity" and coding not in _WINDOW:
            raise Refusal(
                415,
                "a body is sent as it is, or with gzip or deflate",
                headers={"Connection": "close", "Accept-Encoding": "gzip, deflate"},
            )
        body = await self._receive_all(request, held)
        if coding == b"identity":
            return body
        whole = _decompress(body, _WINDOW[coding], limit)
        self._hold(len(whole), held)
        return whole

    async def _receive_all(self, request: Request, held: list[int]) -> bytes:
        parts, size, more = [], 0, True
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                while more:
                    part, more = await self._receive(request, held)
                    parts.append(part)
                    size += len(part)
                    if size > self._settings.max_body:
                        raise too_large(f"a body has at most {self._settings.max_body} bytes")
        except TimeoutError:
            raise Refusal(
                408, "the body didn't arrive in time", "slow", {"Connection": "close"}
            ) from None
        return b"".join(parts)

    async def _receive(self, request: Request, held: list[int]) -> tuple[bytes, bool]:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        body: bytes = message.get("body", b"")
        self._hold(len(body), held)
        return body, message.get("more_body", False)

    def _hold(self, size: int, held: list[int]) -> None:
        if self._held + size > self._settings.max_memory:
            raise busy("too many large requests at one time", "memory")
        self._held += size
        held[0] += size


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """Answers at an address. For Starlette it is an application, which it leaves as it is."""

    intake: Intake
    handler: Handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        response = await self.intake.answer(Request(scope, receive), self.handler)
        await response(scope, receive, send)


def header_of(request: Request, name: bytes) -> bytes:
    """A header's value, as it was sent; empty if there is none.

    Args:
        request: The request.
        name: The header's name in small letters.
    """
    for found, value in request.scope["headers"]:  # Starlette's look-up takes ten times as long
        if found == name:
            return bytes(value)
    return b""


def read_json(body: bytes) -> dict[str, Any]:
    """Reads a JSON object.

    Args:
        body: What was sent.

    Raises:
        Refusal: If the body is something else, or has too many values.
    """
    if body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise Refusal(400, f"the JSON has more than {MAX_VALUES} values")
    try:
        values = json.loads(body)
    except UnicodeDecodeError:
        raise Refusal(400, "the body is no JSON: it is not UTF-8") from None
    except RecursionError:
        raise Refusal(400, "the JSON is nested too deep") from None
    except ValueError as error:
        raise Refusal(400, f"the body is no JSON: {error!s:.80}") from None
    if not isinstance(values, dict):
        raise Refusal(400, "the JSON is no object")
    return values


def _decompress(data: bytes, window: int, limit: int) -> bytes:
    """Decompresses a body, and no more of it than is allowed."""
    stream = zlib.decompressobj(window)
    try:
        whole = stream.decompress(data, limit + 1)
    except zlib.error:
        raise Refusal(400, "the body is compressed, but damaged") from None
    if len(whole) > limit:
        raise too_large(f"a body has at most {limit} bytes when it is decompressed")
    if not stream.eof or stream.unused_data:
        raise Refusal(400, "the body is compressed, but cut off or followed by something")
    return whole
