"""Reads captchas in Triton's Python backend, with captcha-rt's runtime.

`captcha-rt export --to triton` copies this file into a model repository. It runs in the Python of
Triton's stub, in which captcha-rt has to be installed: pip install "captcha-rt[cpu]", or "[gpu]".

    input   image       BYTES [N, 1]  picture files, as they are
    output  text        BYTES [N, 1]  what was read; empty if a picture can't be read
    output  confidence  FP32  [N, 1]  0..1; 0 if a picture can't be read
    output  error       BYTES [N, 1]  empty, or why the answer should not be taken: `Type: message`

An answer below the model's smallest confidence has a text and an error: take it or leave it.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from captcha_rt import CaptchaRTError, Device, Solver
from captcha_rt.solution import Solution, reject_unsure


class TritonPythonModel:
    """A solver; Triton makes one in each of its processes."""

    def initialize(self, args: dict[str, str]) -> None:
        """Loads the model beside this file, or those in the wheel if there is none."""
        file = Path(__file__).with_name("model.onnx")
        device: Device = "cpu"
        if args["model_instance_kind"] == "GPU":
            device = "cuda"
            os.environ["CUDA_VISIBLE_DEVICES"] = args["model_instance_device_id"]
        self.solver = Solver(file if file.exists() else None, device=device)
        self.batch_size = int(json.loads(args["model_config"])["max_batch_size"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Reads the pictures of all requests that Triton has gathered, in batches."""
        images = [triton.get_input_tensor_by_name(r, "image").as_numpy() for r in requests]
        files = [file for image in images for file in image.ravel()]
        answers = self.solver.solve_batch(files, batch_size=self.batch_size)
        responses, start = [], 0
        for image in images:
            part = answers[start : start + image.size]
            start += image.size
            responses.append(_respond(part, image.shape))
        return responses


def _respond(answers: list[Solution | CaptchaRTError], shape: tuple[int, ...]) -> Any:  # noqa: ANN401
    """Makes the response to one request."""
    texts, confidences, errors = [], [], []
    for answer in answers:
        text, confidence = b"", 0.0
        if isinstance(answer, Solution):
            text, confidence = answer.text.encode(), answer.confidence
        checked = reject_unsure(answer, None)
        failed = isinstance(checked, CaptchaRTError)
        texts.append(text)
        confidences.append(confidence)
        errors.append(f"{type(checked).__name__}: {checked}".encode() if failed else b"")
    columns = {
        "text": np.array(texts, np.object_),
        "confidence": np.array(confidences, np.float32),
        "error": np.array(errors, np.object_),
    }
    return triton.InferenceResponse(
        [triton.Tensor(name, values.reshape(shape)) for name, values in columns.items()]
    )
