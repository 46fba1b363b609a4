"""Reads captchas in Triton's Python backend, with captcha-rt's runtime.

`captcha-rt deploy triton` copies this file into a model repository. It runs in the Python of
Triton's stub, in which captcha-rt has to be installed: pip install "captcha-rt[cpu]", or "[gpu]".

    input   image       BYTES [N, 1]  picture files, as they are
    output  text        BYTES [N, 1]  what was read; empty where there is an error
    output  confidence  FP32  [N, 1]  0..1; 0 if a picture can't be read
    output  error       BYTES [N, 1]  empty, or why there is no text: `Type: message`

The parameters `allowed`, `length`, `min_confidence` and `evaluate_sum` of a request say what is
known of its texts. An answer below the smallest confidence, by default the model's, is an error.
`captcha-rt serve` gives the same answers.
"""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import triton_python_backend_utils as triton

from captcha_rt import CaptchaRTError, Device, ModelError, Solution, Solver
from captcha_rt.solution import evaluate_sum, reject_unsure


class TritonPythonModel:
    """A solver; Triton makes one in each of its processes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the model beside this file, or those in the wheel if there is none."""
        file = Path(__file__).with_name("model.onnx")
        device: Device = "cpu"
        if args["model_instance_kind"] == "GPU":
            device = "cuda"
            _show_only(int(args["model_instance_device_id"]))
        self.solver = Solver(file if file.exists() else None, device=device)
        self.solver.load()
        self.batch_size = int(json.loads(args["model_config"])["max_batch_size"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Reads the pictures of all requests that Triton has gathered, in batches."""
        responses: dict[int, Any] = {}
        asked: dict[_Known, list[int]] = {}  # what is known of texts is known of whole batches
        questions: dict[int, _Question] = {}
        for place, request in enumerate(requests):
            try:
                questions[place] = _to_question(json.loads(request.parameters() or "{}"))
                asked.setdefault(questions[place].known, []).append(place)
            except (TypeError, ValueError) as error:
                responses[place] = _refuse(error)
        for known, places in asked.items():
            images = [
                triton.get_input_tensor_by_name(requests[place], "image").as_numpy()
                for place in places
            ]
            files = [file for image in images for file in image.ravel()]
            try:
                answers = self.solver.solve_batch(
                    files, batch_size=self.batch_size, allowed=known.allowed, length=known.length
                )
            except (TypeError, ValueError) as error:
                responses.update((place, _refuse(error)) for place in places)
                continue
            start = 0
            for place, image in zip(places, images, strict=True):
                part = answers[start : start + image.size]
                start += image.size
                responses[place] = _respond(part, image.shape, questions[place])
        return [responses[place] for place in range(len(requests))]


def _show_only(number: int) -> None:
    """Hides all GPUs from onnxruntime but one, which Triton counts among those that it sees."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    device = visible.split(",")[number].strip() if visible else str(number)
    os.environ["CUDA_VISIBLE_DEVICES"] = device


class _Known(NamedTuple):
    """What a request knows of its texts, as `Solver.solve` takes it."""

    allowed: str | None
    length: int | None


class _Question(NamedTuple):
    """What a request asks; None as the smallest confidence is the model's."""

    known: _Known
    min_confidence: float | None
    sums: bool


def _to_question(parameters: dict[str, Any]) -> _Question:
    """Reads the parameters of a request; others are the protocol's.

    Raises:
        ValueError: If a value is wrong.
    """
    least = parameters.get("min_confidence")
    if least is not None:
        if type(least) not in (int, float) or not 0 <= least <= 1:
            raise ValueError("min_confidence is in 0..1")
        least = float(least)
    sums = parameters.get("evaluate_sum", False)
    if type(sums) is not bool:
        raise ValueError("evaluate_sum is true or false")
    return _Question(_Known(parameters.get("allowed"), parameters.get("length")), least, sums)


def _refuse(error: Exception) -> Any:  # noqa: ANN401
    """Makes the response to a request that is wrong: HTTP status 400."""
    refused = triton.TritonError(str(error), triton.TritonError.INVALID_ARG)
    return triton.InferenceResponse([], refused)


def _respond(
    answers: list[Solution | CaptchaRTError], shape: tuple[int, ...], question: _Question
) -> Any:  # noqa: ANN401
    """Makes the response to one request."""
    texts, confidences, errors = [], [], []
    for answer in answers:
        kept = reject_unsure(answer, question.min_confidence)
        if question.sums:
            kept = evaluate_sum(kept)
        text = error = ""
        if isinstance(kept, Solution):
            text = str(kept.value) if question.sums else kept.text
        else:  # what onnxruntime says of a model is not for strangers
            reason = "the model can't read this picture" if isinstance(kept, ModelError) else kept
            error = f"{type(kept).__name__}: {reason}"
        texts.append(text.encode())
        confidences.append(answer.confidence if isinstance(answer, Solution) else 0.0)
        errors.append(error.encode())
    columns = {
        "text": np.array(texts, np.object_),
        "confidence": np.array(confidences, np.float32),
        "error": np.array(errors, np.object_),
    }
    return triton.InferenceResponse(
        [triton.Tensor(name, values.reshape(shape)) for name, values in columns.items()]
    )
