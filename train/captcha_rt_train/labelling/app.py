"""The page's application: its files, the pictures, and the labels as JSON."""

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from captcha_rt.errors import CaptchaRTError, FolderError, LabelError
from captcha_rt_train.labelling.learning import Learned
from captcha_rt_train.labelling.picture import Picture, clean_label
from captcha_rt_train.labelling.showing import shown
from captcha_rt_train.labelling.state import ConflictError, Labelling

_SCRIPTS: Final = ("alerts.js", "app.js", "images.js", "pictures.js", "server.js", "words.js")

PAGE: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in _SCRIPTS},
}
"""The page's own files by their addresses, each with its media type."""

MAX_BODY: Final = 65_536
"""The largest number of bytes that a request may send."""


@dataclass(frozen=True, slots=True)
class Around:
    """What the page shows beside the pictures.

    Attributes:
        view: The filter to begin with.
        next_command: Says what to type when everything is labelled.
        notes: Lines on what was noticed in the folder.
        model: Names the model that makes the suggestions.
        left: Counts the pictures that are still to be read.
        learned: Says what the trainings came to; None if there are none.
        notice: Is called after each change of a label.
    """

    view: str
    next_command: Callable[[], str]
    notes: tuple[str, ...]
    model: Callable[[], str]
    left: Callable[[], int]
    learned: Callable[[], Learned | None]
    notice: Callable[[], None]


def make_app(labelling: Labelling, around: Around) -> Starlette:
    """Makes the application; whoever may use it is decided elsewhere.

    Args:
        labelling: The pictures and their labels.
        around: What the page shows beside them.
    """
    return Starlette(
        routes=[*_page(), *_looking(labelling, around), *_changing(labelling, around.notice)]
    )


def _page() -> list[Route]:
    """The page's own files."""

    def file_of(name: str, media: str) -> Callable[[Request], Response]:
        data = (files(__package__) / "page" / name).read_bytes()
        return lambda _: Response(data, headers={"Content-Type": media})

    return [Route(path, file_of(name, media)) for path, (name, media) in PAGE.items()]


def _looking(labelling: Labelling, around: Around) -> list[Route]:
    """What the page asks for."""
    instance = secrets.token_hex(8)

    def everything(_: Request) -> Response:
        """All pictures."""
        opened = labelling.opened
        return _answer(
            {
                "instance": instance,
                "folder": opened.folder.resolve().name,
                "path": str(opened.folder.resolve()),
                "file": str(opened.table.path),
                "source": opened.source,
                "notes": around.notes,
                "view": around.view,
                **_changes(labelling, around, -1),
            }
        )

    def changes(request: Request) -> Response:
        """The pictures that were changed since the page last asked."""
        try:
            since = int(request.query_params["since"])
        except (KeyError, ValueError):
            return _refuse(400, "since is a number")
        return _answer(_changes(labelling, around, since))

    def finished(_: Request) -> Response:
        """What to type next."""
        return _answer({"command": around.next_command()})

    def picture(request: Request) -> Response:
        """What a browser shows of a picture."""
        place = request.path_params["place"]
        if place >= len(labelling):
            return _refuse(404, "no such picture")
        try:
            data, media = shown(labelling[place].path)
        except CaptchaRTError as error:
            return _refuse(404, str(error))
        return Response(data, media_type=media)

    return [
        Route("/api/pictures", everything),
        Route("/api/changes", changes),
        Route("/api/next", finished),
        Route("/picture/{place:int}", picture),
    ]


def _changing(labelling: Labelling, notice: Callable[[], None]) -> list[Route]:
    """What the page changes."""

    def label(values: dict[str, Any]) -> Response:
        """Gives a picture a label."""
        place, version, text = (values.get(name) for name in ("place", "version", "label"))
        if type(place) is not int or type(version) is not int or not isinstance(text, str):
            return _refuse(400, "a label needs place, version and label")
        if not 0 <= place < len(labelling):
            return _refuse(404, "no such picture")
        after = labelling.set_label(place, version, clean_label(text), _tab(values))
        notice()
        return _answer({"picture": _to_json(place, after)})

    def undo(values: dict[str, Any]) -> Response:
        """Takes the last change back; without one there is no picture in the answer."""
        place = labelling.undo(_tab(values))
        return _answer({"picture": None if place is None else _to_json(place, labelling[place])})

    def posted(change: Callable[[dict[str, Any]], Response]) -> Callable[[Request], Any]:
        """An endpoint that takes JSON, and says why it can't save."""

        async def endpoint(request: Request) -> Response:
            values = await _read(request)
            if isinstance(values, Response):
                return values
            return await run_in_threadpool(_try, labelling, change, values)

        return endpoint

    return [
        Route("/api/label", posted(label), methods=["POST"]),
        Route("/api/undo", posted(undo), methods=["POST"]),
    ]


def _try(
    labelling: Labelling,
    change: Callable[[dict[str, Any]], Response],
    values: dict[str, Any],
) -> Response:
    """Makes a change; errors become answers."""
    try:
        return change(values)
    except ConflictError as error:
        place = error.place
        return _answer({"error": str(error), "picture": _to_json(place, labelling[place])}, 409)
    except OSError as error:
        path = labelling.opened.table.path
        return _refuse(507, f"can't save {path}: {error.strerror or error}")
    except (LabelError, FolderError) as error:  # another program has damaged or removed it
        return _refuse(507, f"can't save {labelling.opened.table.path}: {error}")
    except CaptchaRTError as error:
        return _refuse(422, str(error))


async def _read(request: Request) -> dict[str, Any] | Response:
    """Reads the JSON of a request; returns the answer if there is none."""
    # Other pages can't send this type without asking first.
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        return _refuse(415, "a request is application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            return _refuse(413, f"a request has at most {MAX_BODY} bytes")
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        return _refuse(400, "this is no JSON")
    return values if isinstance(values, dict) else _refuse(400, "this is no JSON object")


def _changes(labelling: Labelling, around: Around, since: int) -> dict[str, Any]:
    stamp = labelling.stamp  # before the pictures: what changes meanwhile comes again
    learned = around.learned()
    return {
        "stamp": stamp,
        "pictures": [_to_json(place, found) for place, found in labelling.since(since)],
        "model": around.model(),
        "left": around.left(),
        "pace": labelling.pace(),
        "learned": None if learned is None else asdict(learned),
    }


def _to_json(place: int, picture: Picture) -> dict[str, Any]:
    suggestion = picture.suggestion
    return {
        "place": place,
        "name": picture.name,
        "label": picture.label,
        "version": picture.version,
        "reading": suggestion.text if suggestion else None,
        "confidence": round(suggestion.confidence, 4) if suggestion else None,
        "by": suggestion.model if suggestion else "",
        "problem": picture.problem,
        "checked": picture.checked,
        "suspect": picture.suspect,
    }


def _tab(values: dict[str, Any]) -> str:
    tab = values.get("tab")
    return tab if isinstance(tab, str) else ""


def _answer(values: dict[str, Any], status: int = 200) -> Response:
    # JSONResponse fails on a path that is no UTF-8.
    return Response(json.dumps(values), status, media_type="application/json")


def _refuse(status: int, message: str) -> Response:
    return _answer({"error": message}, status)
