"""How a request is refused, and the JSON of answers."""

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson
from starlette.responses import Response

V2: Final = "/v2"
"""What the addresses of the Open Inference Protocol begin with."""


class Refusal(Exception):  # noqa: N818  (no fault of ours)
    """A request that isn't answered as it wants.

    Attributes:
        status: The HTTP status.
        message: What is wrong, for the caller. It holds no path.
        headers: Further headers of the answer.
        reason: The name of the reason in the metrics.
    """

    def __init__(
        self,
        status: int,
        message: str,
        reason: str = "invalid",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Takes what the answer needs."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.headers = headers


class ClientGoneError(Exception):
    """The client has left before it was answered."""


def busy(message: str, reason: str = "busy") -> Refusal:
    """A refusal of what could be answered a little later."""
    return Refusal(503, message, reason, {"Retry-After": "1"})


def too_large(message: str) -> Refusal:
    """A refusal of a body that is, or would become, too large.

    The connection is closed: the rest of the body may never end.
    """
    return Refusal(413, message, "too_large", {"Connection": "close"})


def to_json(values: Any) -> bytes:  # noqa: ANN401  (any JSON value)
    """Writes JSON.

    Python's own takes 19 µs for an answer, orjson takes 0.4; but it refuses half a pair of
    surrogates, which a file's name may hold, and integers of more than 64 bits.
    """
    try:
        return orjson.dumps(values)
    except TypeError:
        return json.dumps(values).encode()


def to_response(
    values: Any,  # noqa: ANN401  (any JSON value)
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An answer in JSON."""
    return Response(to_json(values), status, headers, media_type="application/json")


def refuse(
    path: str, status: int, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer to a request that is refused, in the form that its callers know."""
    if path.startswith(V2):
        return to_response({"error": message}, status, headers)
    return to_response({"error": {"type": "RequestError", "message": message}}, status, headers)
