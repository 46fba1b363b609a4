"""The Open Inference Protocol, version 2, over HTTP: health, metadata and inference.

`tritonclient`, kserve's client and whatever else speaks it talk to the service unchanged.
"""

from collections.abc import Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

import captcha_rt
from captcha_rt.errors import CaptchaRTError, CharsetError, LengthError
from captcha_rt.service.body import Intake
from captcha_rt.service.models import Models
from captcha_rt.service.reading import Reading
from captcha_rt.service.refusal import Refusal, to_response
from captcha_rt.service.settings import Settings
from captcha_rt.service.solve import Question, public, refine, to_question
from captcha_rt.service.state import State
from captcha_rt.service.tensors import INPUT, LENGTH_HEADER, OUTPUTS, read_request, write_response
from captcha_rt.solution import Solution

VERSION: Final = "1"
"""The only version of each model."""

_ASKED: Final = ("allowed", "length", "min_confidence", "evaluate_sum")
"""The parameters of a request that say what is known; others are the protocol's."""


class Inference:
    """The protocol's addresses."""

    def __init__(self, models: Models, reading: Reading, settings: Settings, state: State) -> None:
        """Takes what it needs to answer."""
        self._models = models
        self._reading = reading
        self._settings = settings
        self._state = state

    def routes(self, intake: Intake) -> list[Route]:
        """The protocol's routes."""
        model = "/v2/models/{model}"
        version = model + "/versions/{version}"
        infer = intake.reading(self._infer)
        return [
            Route("/v2", self._server),
            Route("/v2/repository/index", self._index, methods=["POST"]),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
            *(Route(path, self._model) for path in (model, version)),
            *(Route(f"{path}/ready", self._model_ready) for path in (model, version)),
            *(Route(f"{path}/infer", infer, methods=["POST"]) for path in (model, version)),
        ]

    async def _server(self, _: Request) -> Response:
        return to_response(
            {
                "name": "captcha-rt",
                "version": captcha_rt.__version__,
                "extensions": ["binary_tensor_data"],
            }
        )

    async def _index(self, _: Request) -> Response:
        """Triton's extension: the models that there are."""
        state = "READY" if self._models.loaded else "UNAVAILABLE"
        rest = {"version": VERSION, "state": state, "reason": ""}
        return to_response([{"name": name, **rest} for name in self._models.names])

    async def _live(self, _: Request) -> Response:
        return to_response({"live": True})

    async def _ready(self, _: Request) -> Response:
        ready = self._models.loaded and not self._state.draining
        return to_response({"ready": ready}, 200 if ready else 503)

    async def _model_ready(self, request: Request) -> Response:
        name = self._name(request)
        ready = self._models.loaded and not self._state.draining
        return to_response({"name": name, "ready": ready}, 200 if ready else 503)

    async def _model(self, request: Request) -> Response:
        return to_response(
            {
                "name": self._name(request),
                "versions": [VERSION],
                "platform": "captcha_rt_onnx",
                "inputs": [{"name": INPUT, "datatype": "BYTES", "shape": [-1, 1]}],  # as Triton's
                "outputs": [
                    {"name": name, "datatype": kind, "shape": [-1, 1]}
                    for name, kind in OUTPUTS.items()
                ],
            }
        )

    async def _infer(self, request: Request, body: bytes) -> Response:
        served = await self._models.find(self._name(request))
        length = request.headers.get(LENGTH_HEADER)
        asked = read_request(body, length, self._settings.max_batch)
        given = {name: value for name, value in asked.parameters.items() if name in _ASKED}
        question = to_question(given) if given else Question()
        try:
            answers = await self._reading.read(request, served, asked.pictures, question.known)
        except (CharsetError, LengthError) as error:
            raise Refusal(400, str(error)) from None
        content, header = write_response(served.name, asked, _outputs(answers, question))
        if header is None:
            return Response(content, media_type="application/json")
        headers = {LENGTH_HEADER: str(header)}
        return Response(content, headers=headers, media_type="application/octet-stream")

    def _name(self, request: Request) -> str:
        """The model's name in an address.

        Raises:
            Refusal: If there is no such model or version.
        """
        name: str = request.path_params["model"]
        if name not in self._models.names:
            raise Refusal(404, f"no model {name[:80]!r}; there is {', '.join(self._models.names)}")
        version = request.path_params.get("version", VERSION)
        if version != VERSION:
            raise Refusal(404, f"no version {version[:40]!r} of {name}; there is {VERSION}")
        return name


def _outputs(
    answers: Sequence[Solution | CaptchaRTError], question: Question
) -> dict[str, list[Any]]:
    """The values of the outputs; where there is an error, the text is empty."""
    texts, confidences, errors = [], [], []
    for answer in answers:
        kept = refine(answer, question)
        if isinstance(kept, Solution):
            texts.append(str(kept.value) if question.sums else kept.text)
            errors.append("")
        else:
            texts.append("")
            errors.append(f"{type(kept).__name__}: {public(kept)}")
        confidences.append(answer.confidence if isinstance(answer, Solution) else 0.0)
    return {"text": texts, "confidence": confidences, "error": errors}
