"""Writes a model's folder for a model repository of NVIDIA's Triton, on its Python backend.

REPOSITORY/NAME/
├── config.pbtxt     tensors, batching, queue, processes, warm-up
├── 1/model.py       reads the pictures with captcha-rt's runtime
├── 1/model.onnx     the model; without it, the models in captcha-rt's wheel
└── warmup/picture   a picture that each process reads before Triton says that it is ready
"""

import json
import re
import shutil
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from runpy import run_path
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import ModelError
from captcha_rt.files import write_folder_atomically
from captcha_rt.model import Model
from captcha_rt.solution import Solution
from captcha_rt.solver import Solver

Processor: TypeAlias = Literal["cpu", "cuda"]

_UTILITIES: Final = "triton_python_backend_utils"  # the module that Triton gives its scripts

BATCHES: Final = {"cpu": 8, "cuda": 32}
"""The most pictures that Triton gathers for one run; on a CPU more gain nothing."""

CONFIG: Final = """\
# Written by `captcha-rt deploy triton`. Each instance is a process that uses one core.
name: "{name}"
backend: "python"
max_batch_size: {batch}

input [ {{ name: "image" data_type: TYPE_STRING dims: [ 1 ] }} ]
output [
  {{ name: "text" data_type: TYPE_STRING dims: [ 1 ] }},
  {{ name: "confidence" data_type: TYPE_FP32 dims: [ 1 ] }},
  {{ name: "error" data_type: TYPE_STRING dims: [ 1 ] }}
]

instance_group [ {{ count: {count} kind: KIND_{kind} }} ]

# What is queued is read together, and nothing waits for more. What has waited for two seconds, or
# finds the queue full, is refused as unavailable, so that callers can turn to another server.
dynamic_batching {{
  max_queue_delay_microseconds: 0
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: 2000000
    max_queue_size: 256
  }}
}}

model_warmup [
  {{
    name: "picture"
    batch_size: 1
    inputs {{
      key: "image"
      value {{ data_type: TYPE_STRING dims: [ 1 ] input_data_file: "picture" }}
    }}
  }}
]
"""
"""Triton's description of the model, in protobuf's text format."""


def check_name(name: str) -> None:
    """Checks the name of a model's folder, which clients ask for.

    Raises:
        ValueError: If Triton can't use it.
    """
    if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
        raise ValueError(
            f"{name!r} becomes the model's name in Triton: name a folder of letters, digits, "
            "points, hyphens and underscores"
        )


def write_triton(
    out: Path,
    model: Model | None,
    pictures: Sequence[Path] = (),
    *,
    device: Processor = "cpu",
    instances: int = 1,
) -> list[str]:
    """Writes a model's folder, and checks that its script reads as captcha-rt does.

    Args:
        out: The folder to make, in a model repository; the repository is made if needed. It appears
            whole or not at all.
        model: The model; None takes the models in the wheel on the server.
        pictures: Pictures to check on, which the first of them is also for the warm-up. Without
            any, a picture is drawn.
        device: Where Triton runs the model. The check runs on the CPU.
        instances: The number of processes; on CUDA, for each GPU.

    Returns:
        What is read in the pictures, also where it isn't sure enough.

    Raises:
        ModelError: If the model can't be loaded, or the script reads other texts.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
        OSError: If the folder is there already, or can't be written.
        ValueError: If Triton can't use the folder's name.
    """
    check_name(out.name)
    batch = BATCHES[device]
    kind = {"cpu": "CPU", "cuda": "GPU"}[device]
    config = CONFIG.format(name=out.name, batch=batch, count=instances, kind=kind)
    files = [path.read_bytes() for path in pictures] or [_draw()]
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_folder_atomically(out) as folder:
        version = folder / "1"
        version.mkdir()
        shutil.copyfile(Path(__file__).with_name("triton_model.py"), version / "model.py")
        if model is not None:
            (version / "model.onnx").write_bytes(model.data)
        (folder / "warmup").mkdir()
        (folder / "warmup" / "picture").write_bytes(struct.pack("<I", len(files[0])) + files[0])
        (folder / "config.pbtxt").write_text(config, "utf-8")
        wanted = _read(None if model is None else version / "model.onnx", pictures or files)
        found = _ask(version / "model.py", files, batch)
        if found != wanted:
            place = [a == b for a, b in zip(found, wanted, strict=True)].index(False)
            same = sum(a == b for a, b in zip(found, wanted, strict=True))
            raise ModelError(
                f"the folder's model.py reads only {same} of {len(files)} pictures as captcha-rt "
                f"does; of {pictures[place] if pictures else 'a drawn picture'} it reads "
                f"{found[place]!r}, captcha-rt {wanted[place]!r}"
            )
    return wanted


def _read(model: Path | None, pictures: Sequence[Path | bytes]) -> list[str]:
    """Reads pictures with captcha-rt on the CPU; one that was drawn need not be readable."""
    texts = []
    answers = Solver(model, device="cpu").solve_many(pictures)
    for picture, answer in zip(pictures, answers, strict=True):
        if isinstance(answer, Solution):
            texts.append(answer.text)
        elif isinstance(picture, bytes):
            texts.append("")
        else:
            raise answer
    return texts


def _draw() -> bytes:
    """A picture of a short text, as a file."""
    picture = np.full((50, 200, 3), 255, np.uint8)
    cv2.putText(picture, "2a7b5", (20, 38), cv2.FONT_HERSHEY_SIMPLEX, 1.3, (40, 40, 40), 2)
    return cv2.imencode(".png", picture)[1].tobytes()


def _ask(script: Path, files: Sequence[bytes], batch: int) -> list[str]:
    """Reads pictures with the script as Triton runs it, on the CPU; returns the texts."""
    triton = ModuleType(_UTILITIES)
    names = {"Tensor": _Tensor, "InferenceResponse": list, "get_input_tensor_by_name": _Request.get}
    vars(triton).update(names)
    sys.modules[_UTILITIES] = triton
    try:
        model = run_path(str(script))["TritonPythonModel"]()
    finally:
        del sys.modules[_UTILITIES]
    config = json.dumps({"max_batch_size": batch})
    model.initialize({"model_instance_kind": "CPU", "model_config": config})
    texts = []
    for start in range(0, len(files), batch):
        some = files[start : start + batch]
        for text, _, _ in model.execute([_Request(some[:1]), _Request(some[1:])]):
            texts += [read.decode() for read in text.as_numpy().ravel()]
    return texts


class _Tensor(NamedTuple):
    """A tensor, as far as the script uses Triton's."""

    name: str
    values: NDArray[Any]

    def as_numpy(self) -> NDArray[Any]:
        """The values."""
        return self.values


class _Request(NamedTuple):
    """A request of pictures, as far as the script uses Triton's; it takes every answer."""

    files: Sequence[bytes]

    def parameters(self) -> str:
        """The request's parameters."""
        return '{"min_confidence": 0}'

    def get(self, name: str) -> _Tensor:
        """The input, `(N, 1)`."""
        values = np.empty((len(self.files), 1), np.object_)
        values[:, 0] = self.files
        return _Tensor(name, values)
