"""Keeps everybody out but the page that was opened with the token.

The server listens on the loopback interface only. But any page in the same browser can send it
requests, and a stranger's host name may resolve to 127.0.0.1. So a request needs the token, a host
name that means this machine, and no sign that another page has sent it.
"""

from collections.abc import Mapping
from hmac import compare_digest
from typing import Final
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER: Final = "x-captcha-rt-token"  # noqa: S105  (a header's name)

_HOSTS: Final = ("127.0.0.1", "localhost")
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Lets requests with the token pass to an application, and adds headers to all answers."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        """Takes the application.

        Args:
            app: The application.
            token: The token, which is part of the address that is opened.
            port: The server's port. The cookie is named by it, since a browser sends the cookies of
                a host to all of its ports.
        """
        self._app = app
        self._token = token.encode()
        self._cookie = f"captcha_rt_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        query = parse_qs(scope["query_string"].decode("latin-1"))
        in_query = self._is_token(query.get("token", [""])[0])

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                found = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    found[name] = value
                if in_query:
                    found.append("Set-Cookie", self._set_cookie())
            await send(message)

        refused = self._refuse(headers, in_query=in_query)
        app = PlainTextResponse(refused, 403) if refused else self._app
        await app(scope, receive, send_guarded)

    def _refuse(self, headers: Headers, *, in_query: bool) -> str:
        """Why a request is refused; empty if it isn't."""
        host = headers.get("host", "")
        if host.rpartition(":")[0] not in _HOSTS and host not in _HOSTS:
            return "This page is only for this machine: open the address with 127.0.0.1."
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return "Another page has sent this request."
        # With the token in the address, even a link on another page is the user's.
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not in_query:
            return "Another page has sent this request."
        if not (in_query or self._is_token(headers.get(TOKEN_HEADER, "")) or self._knows(headers)):
            return (
                "Open the address that `captcha-rt label` has printed; it ends with a token, which "
                "is another one each time."
            )
        return ""

    def _knows(self, headers: Mapping[str, str]) -> bool:
        """Whether the request has the cookie of this server."""
        return self._is_token(cookie_parser(headers.get("cookie", "")).get(self._cookie, ""))

    def _is_token(self, text: str) -> bool:
        return compare_digest(text.encode("utf-8", "replace"), self._token)

    def _set_cookie(self) -> str:
        return f"{self._cookie}={self._token.decode()}; Path=/; HttpOnly; SameSite=Strict"
