"""Uses the public names as a program would. mypy checks this file; nothing runs it.

Each `assert_type` fails if a public name has another type, or none, outside of `captcha_rt`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import captcha_rt
from captcha_rt import (
    CaptchaRTError,
    Character,
    Decoded,
    Device,
    ImageSource,
    Manifest,
    Model,
    Provider,
    Session,
    Solution,
    Solver,
    ctc_greedy_decode,
    decode_image,
    load_model,
)
from captcha_rt.solution import answer_to_json, reject_unsure
from captcha_rt.steps import Grey, Morphology, Scale, Step

device: Device = "cpu"
providers: list[Provider] = ["CPUExecutionProvider", ("CUDAExecutionProvider", {"device_id": 0})]
images: list[ImageSource] = [Path("a.png"), "b.png", b"", np.zeros((2, 2), np.uint8)]
steps: tuple[Step, ...] = (Grey(over_white=True), Morphology("dilate", 3, 2), Scale())

solver = Solver(Path("model.onnx"), device=device, providers=providers, threads=2)
assert_type(solver, Solver)
assert_type(solver.session, Session)
assert_type(solver.manifest, Manifest)
assert_type(solver.solve("captcha.png"), Solution)
assert_type(solver.solve("captcha.png").characters, tuple[Character, ...])
assert_type(solver.solve_batch(images), list[Solution | CaptchaRTError])
assert_type(solver.solve_many(iter(images)), Iterator[Solution | CaptchaRTError])
for answer in solver.solve_many(images):
    answer_to_json(reject_unsure(answer, 0.9))
assert_type(load_model(), Model)
assert_type(captcha_rt.Recipe(steps).apply(decode_image(b"")), NDArray[np.float32])
scores = np.zeros((1, 2, 3), np.float32)
assert_type(ctc_greedy_decode(scores, blank=0, kind="logits"), list[Decoded])
