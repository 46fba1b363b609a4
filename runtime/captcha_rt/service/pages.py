"""The pages: one to drop a picture on, one that describes the addresses, and what they need."""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import captcha_rt
from captcha_rt.service.body import Intake
from captcha_rt.service.models import Models
from captcha_rt.service.reading import Reading
from captcha_rt.service.refusal import Refusal, to_response
from captcha_rt.service.settings import Settings
from captcha_rt.service.steps import show_steps

_HTML, _SCRIPT = "text/html; charset=utf-8", "text/javascript; charset=utf-8"
_FILES: Final = {
    "/": ("index.html", _HTML),
    "/docs": ("docs.html", _HTML),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
    "/page/app.js": ("app.js", _SCRIPT),
    "/page/docs.js": ("docs.js", _SCRIPT),
}
_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}


class Pages:
    """The pages' addresses."""

    def __init__(self, models: Models, reading: Reading, settings: Settings) -> None:
        """Takes what they need to answer."""
        self._models = models
        self._reading = reading
        self._settings = settings

    def routes(self, intake: Intake) -> list[Route]:
        """The routes."""
        return [
            *(Route(path, _file(name, media)) for path, (name, media) in _FILES.items()),
            Route("/openapi.json", _file_of(_description(self._settings), "application/json")),
            Route("/explain", intake.reading(self._explain), methods=["POST"]),
        ]

    async def _explain(self, request: Request, body: bytes) -> Response:
        """What a model makes of a picture, step by step."""
        if not body:
            raise Refusal(400, "the body is empty; send a picture")
        served = await self._models.find(request.query_params.get("model"))
        found = await self._reading.call(request, lambda: show_steps(served.solver, body))
        return to_response(found, 422 if "error" in found and not found["steps"] else 200)


def _description(settings: Settings) -> bytes:
    """The OpenAPI description, with this version and these models."""
    text = (files(__package__) / "page" / "openapi.json").read_text("utf-8")
    values: dict[str, Any] = json.loads(text)
    values["info"]["version"] = captcha_rt.__version__
    values["components"]["parameters"]["model"]["schema"]["enum"] = [*settings.models]
    if settings.api_key:
        values["security"] = [{"bearer": []}, {"key": []}]
    return json.dumps(values).encode()


def _file(name: str, media: str) -> Callable[[Request], Any]:
    return _file_of((files(__package__) / "page" / name).read_bytes(), media)


def _file_of(data: bytes, media: str) -> Callable[[Request], Any]:
    async def endpoint(_: Request) -> Response:
        return Response(data, headers={"Content-Type": media, **_HEADERS})

    return endpoint
