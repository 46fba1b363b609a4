"""`POST /solve`: a picture as it is, base64 in JSON, or a form with files; answers as `--json`."""

import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from captcha_rt.constrained import Constraints
from captcha_rt.errors import (
    CaptchaRTError,
    CharsetError,
    ImageDecodeError,
    LengthError,
    ModelError,
)
from captcha_rt.service.body import header_of, read_json
from captcha_rt.service.models import Models
from captcha_rt.service.reading import Reading
from captcha_rt.service.refusal import Refusal, to_response
from captcha_rt.service.settings import MEBI, Settings
from captcha_rt.solution import Solution, answer_to_json, evaluate_sum, reject_unsure

_FIELDS: Final = 16
_NAMES: Final = (
    "model",
    "allowed",
    "length",
    "alternatives",
    "min_confidence",
    "evaluate_sum",
)
_log = logging.getLogger("captcha_rt.service")


class _Form(MultiPartParser):
    """Keeps all files in memory: the body is there already, and the disk may be read-only."""

    spool_max_size = 1024 * MEBI


@dataclass(frozen=True, slots=True)
class Question:
    """What a request wants to know of its pictures.

    Attributes:
        known: What it knows of the texts.
        min_confidence: The lowest confidence to accept; None is the model's.
        sums: Whether the texts are sums, whose values are wanted.
        model: The name of the model; None is the first one.
    """

    known: Constraints | None = None
    min_confidence: float | None = None
    sums: bool = False
    model: str | None = None


_NO_QUESTION: Final = Question()


@dataclass(slots=True)
class _Sent:
    """The pictures of a request.

    Attributes:
        pictures: Their files, or texts in base64.
        names: The names of the files; None if there are none.
        alone: Whether the answer is one object, and no list.
        question: What is asked.
    """

    pictures: Sequence[bytes | CaptchaRTError]
    names: Sequence[str] | None
    alone: bool
    question: Question


class Solve:
    """The endpoint."""

    def __init__(self, models: Models, reading: Reading, settings: Settings) -> None:
        """Takes what it needs to answer."""
        self._models = models
        self._reading = reading
        self._settings = settings

    async def __call__(self, request: Request, body: bytes) -> Response:
        """Answers a request."""
        media = header_of(request, b"content-type").partition(b";")[0].strip().lower()
        asked: dict[str, Any] = {}
        if request.scope["query_string"]:
            asked.update(request.query_params)
        if media == b"application/json":
            sent = _from_json(read_json(body), asked)
        elif media == b"multipart/form-data":
            sent = await self._from_form(request, body, asked)
        elif not body:
            raise Refusal(400, "the body is empty; send a picture")
        else:
            sent = _Sent([body], None, alone=True, question=to_question(asked))
        if not sent.pictures:
            raise Refusal(400, "there is no picture in the request")
        check_batch(len(sent.pictures), self._settings)
        question = sent.question
        served = await self._models.find(question.model)
        try:
            answers = await self._reading.read(request, served, sent.pictures, question.known)
        except (CharsetError, LengthError) as error:
            raise Refusal(400, str(error)) from None
        return _answer(sent, answers)

    async def _from_form(self, request: Request, body: bytes, asked: dict[str, Any]) -> _Sent:
        """Reads a form: files are pictures, other fields say what is asked."""

        async def stream() -> AsyncGenerator[bytes, None]:
            yield body

        parser = _Form(
            request.headers,
            stream(),
            max_files=self._settings.max_batch,
            max_fields=_FIELDS,
            max_part_size=MEBI,
        )
        try:
            form = await parser.parse()
        except (MultiPartException, KeyError, ValueError) as error:
            message = error.message if isinstance(error, MultiPartException) else "damaged"
            raise Refusal(400, f"the form can't be read: {message[:80]}") from None
        pictures: list[bytes | CaptchaRTError] = []
        names = []
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                pictures.append(await value.read())
                names.append(value.filename or name)
            else:
                asked[name] = value
        await form.close()
        return _Sent(pictures, names, alone=len(pictures) == 1, question=to_question(asked))


def check_batch(pictures: int, settings: Settings) -> None:
    """Refuses too many pictures.

    Raises:
        Refusal: If there are more than one request may have.
    """
    if pictures > settings.max_batch:
        raise Refusal(413, f"a request has at most {settings.max_batch} pictures", "too_large")


def to_question(values: Mapping[str, Any]) -> Question:
    """Reads what is asked.

    Args:
        values: Values by name, as JSON or as the texts of an address or a form.

    Raises:
        Refusal: If a name is unknown, or a value is out of range.
    """
    if not values:
        return _NO_QUESTION
    unknown = [name for name in values if name not in _NAMES]
    if unknown:
        raise Refusal(400, f"unknown: {unknown[0][:80]!r}; known are {', '.join(_NAMES)}")
    model = values.get("model")
    if model is not None and not isinstance(model, str):
        raise Refusal(400, "model is a name")
    try:
        known = Constraints(
            values.get("allowed"),
            _whole(values.get("length"), None),
            _whole(values.get("alternatives"), 0) or 0,
        )
    except (TypeError, ValueError) as error:
        raise Refusal(400, f"{error!s:.200}") from None
    return Question(
        None if known == Constraints() else known,
        _confidence(values.get("min_confidence")),
        _switch(values.get("evaluate_sum")),
        model,
    )


def refine(answer: Solution | CaptchaRTError, question: Question) -> Solution | CaptchaRTError:
    """What `captcha-rt solve` makes of an answer: too low a confidence is an error."""
    kept = reject_unsure(answer, question.min_confidence)
    return evaluate_sum(kept) if question.sums else kept


def public(error: CaptchaRTError) -> CaptchaRTError:
    """An error as strangers may see it: what onnxruntime says of a model is for the log."""
    if not isinstance(error, ModelError):
        return error
    _log.error("a model can't read a picture: %s", error)
    return type(error)("the model can't read this picture")


def _whole(value: Any, default: int | None) -> int | None:  # noqa: ANN401
    if value is None:
        return default
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 10:
        return int(value)
    if type(value) is int:
        return value
    raise ValueError("length and alternatives are whole numbers")


def _confidence(value: Any) -> float | None:  # noqa: ANN401
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number <= 1:
        raise Refusal(400, "min_confidence is in 0..1")
    return number


def _switch(value: Any) -> bool:  # noqa: ANN401
    if value in (None, False, "false", "0", ""):
        return False
    if value in (True, "true", "1"):
        return True
    raise Refusal(400, "evaluate_sum is true or false")


def _from_json(values: dict[str, Any], asked: dict[str, Any]) -> _Sent:
    """Reads `{"image": …}` or `{"images": […]}`: base64, or data URLs."""
    one, several = values.pop("image", None), values.pop("images", None)
    if (one is None) == (several is None):
        raise Refusal(400, 'the JSON has either "image" or "images": pictures in base64')
    found = [one] if several is None else several
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise Refusal(400, "pictures are texts in base64")
    pictures = [picture_of(text) for text in found]
    return _Sent(pictures, None, alone=several is None, question=to_question(asked | values))


def picture_of(text: str) -> bytes | CaptchaRTError:
    """The bytes that stand for a text: a solver decodes base64 itself."""
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        return ImageDecodeError("a text that is no base64")


def _answer(sent: _Sent, answers: Sequence[Solution | CaptchaRTError]) -> Response:
    question = sent.question
    objects = []
    for place, answer in enumerate(answers):
        kept = refine(answer, question)
        found: dict[str, Any] = {} if sent.names is None else {"path": sent.names[place]}
        found |= answer_to_json(public(kept) if isinstance(kept, CaptchaRTError) else kept)
        if isinstance(answer, Solution) and answer.alternatives is not None:
            # What was rejected has them too.
            found["alternatives"] = [asdict(alternative) for alternative in answer.alternatives]
        objects.append(found)
    if not sent.alone:
        return to_response(objects)
    [only] = objects
    if "error" not in only:
        return to_response(only)
    return to_response(only, 500 if isinstance(answers[0], ModelError) else 422)
