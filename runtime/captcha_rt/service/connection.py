"""A connection that ends where its client doesn't go on: uvicorn's, with three limits more.

uvicorn waits for the head of a request without end, keeps as much of it as comes, and reads on from
a client that asks for more and more and takes no answer. It also writes the head of an answer and
its body one after the other, and loses the body of a request that would like another protocol.
"""

import asyncio
import re
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS: Final = 10
"""The time in which a head has to arrive: of the first request from when the client connects."""

MAX_HEAD: Final = 65_536
"""The most bytes of a head, of what comes after a body, or of the frame of one chunk."""


MAX_WAITING: Final = 100
"""The most requests that a client may send before the first of them is answered."""

_UPGRADE: Final = re.compile(rb"(?i)(?<=\n)upgrade(?=:)")
_UNFINISHED: Final = re.compile(rb"(?i)\r(?:\n(?:\r|u|up|upg|upgr|upgra|upgrad|upgrade)?)?\Z")
"""The end of a packet that may be the beginning of a head's end, or of the header `Upgrade`."""

REQUESTS: Final = "captcha_rt.requests"
"""Where the scope of a request holds all requests that the process is answering."""


class _Joining:
    """A transport that writes at once what is written in one round of the loop.

    The head of an answer and its body are one packet then, and wake the client once.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Stands before a transport."""
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  (whatever it is)
        """Is the transport in all else."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Writes when what is done now is done."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Closes the connection when all is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if not self._parts:
            return
        data = b"".join(self._parts)
        self._parts.clear()
        if not self._transport.is_closing():  # the client may have left meanwhile
            self._transport.write(data)


class Connection(HttpToolsProtocol):
    """Reads requests, and closes the connection where one is too slow or its head too long."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (uvicorn's)
        """Makes it as uvicorn does."""
        super().__init__(*args, **kwargs)
        self._since_progress = 0
        self._in_head = True
        self._in_body = False
        self._held = b""  # the last bytes of a packet, which go on in the next one
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Waits for the first head."""
        super().connection_made(_Joining(transport, self.loop))  # type: ignore[arg-type]
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing more."""
        super().connection_lost(exc)
        self._stop_waiting()

    def data_received(self, data: bytes) -> None:
        """Counts what leads to nothing."""
        self._since_progress += len(data)
        if not self._in_body:
            data = self._hide_upgrade(data)
        super().data_received(data)
        if self._since_progress > MAX_HEAD:
            self.transport.abort()
        elif (self._in_head or self._held) and self._deadline is None:
            self._wait_for_head()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """A head is complete."""
        self._progress()
        self._in_head = False
        self._in_body = True
        self._stop_waiting()
        if len(self.pipeline) >= MAX_WAITING:
            raise ValueError("too many requests at one time")  # the parser stops, uvicorn closes
        self.scope[REQUESTS] = self.tasks  # type: ignore[typeddict-unknown-key]
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body is there."""
        self._progress()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._progress()
        self._in_body = False
        super().on_message_complete()

    def _hide_upgrade(self, data: bytes) -> bytes:
        """Gives the header `Upgrade` a name that means nothing.

        A service that knows no other protocol ignores it (RFC 9110, section 7.8). But to httptools
        a request with it ends with its head. Java's client sends one, and `curl --http2`.

        Args:
            data: What has arrived of a head, and what comes after it.

        Returns:
            What the parser may read now. Only the first head in a packet is searched: a client
            that would like another protocol waits for the answer.
        """
        data = self._held + data
        self._held = b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            unfinished = _UNFINISHED.search(data)
            end = len(data) if unfinished is None else unfinished.start()
            data, self._held = data[:end], data[end:]
        head = data[:end]
        if b"upgrade:" not in head.lower():  # the pattern takes 5 times longer
            return data
        return _UPGRADE.sub(b"x-ignored", head) + data[end:]

    def _progress(self) -> None:
        self._since_progress = 0

    def _wait_for_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._close_late)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _close_late(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.close()
