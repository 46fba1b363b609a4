"""The form of NVIDIA's Triton: a model's folder for a model repository, on Triton's Python backend.

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
from pathlib import Path
from runpy import run_path
from types import ModuleType
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from captcha_rt.files import write_folder_atomically
from captcha_rt.solver import Solver
from captcha_rt_export.errors import ExportError
from captcha_rt_export.to.source import Source, Taken, choose, compare, read_texts

_UTILITIES: Final = "triton_python_backend_utils"  # the module that Triton gives its scripts

BATCHES: Final = {"cpu": 8, "cuda": 32}
"""The most pictures that Triton gathers for one run; on a CPU more gain nothing."""

CONFIG: Final = """\
# Written by `captcha-rt export --to triton`. Each instance is a process that uses one core.
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


def write(source: Source, out: Path) -> Taken:
    """Writes the model's folder; its name is the name that clients ask for.

    Args:
        source: The model. `default` takes captcha-rt's own models, from the wheel on the server.
        out: The folder to make, in a model repository; the repository is made if needed.

    Returns:
        What was made and checked.

    Raises:
        ExportError: If Triton can't use the folder's name, or the written model reads other texts.
        ModelError: If the model can't be loaded.
        ImageDecodeError: If a picture can't be decoded.
        RecipeError: If the recipe can't use a picture.
        OSError: If the folder is there already, or can't be written.
    """
    if not re.fullmatch(r"[\w.-]+", out.name, re.ASCII):
        raise ExportError(
            f"{out.name!r} becomes the model's name in Triton: name a folder of letters, digits, "
            "points, hyphens and underscores"
        )
    model, samples = source.model(), choose(source.samples())
    if source.is_pair:
        wanted = [answer.text for answer in map(Solver().solve, samples)]
    else:
        wanted = read_texts(model, samples)
    config = CONFIG.format(
        name=out.name,
        batch=BATCHES[source.device],
        count=source.instances,
        kind={"cpu": "CPU", "cuda": "GPU"}[source.device],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with write_folder_atomically(out) as folder:
        version = folder / "1"
        version.mkdir()
        shutil.copyfile(Path(__file__).with_name("triton_model.py"), version / "model.py")
        if not source.is_pair:
            (version / "model.onnx").write_bytes(model.data)
        picture = samples[0].read_bytes()
        (folder / "warmup").mkdir()
        (folder / "warmup" / "picture").write_bytes(struct.pack("<I", len(picture)) + picture)
        (folder / "config.pbtxt").write_text(config, "utf-8")
        found = _ask(version / "model.py", samples, BATCHES[source.device])
        same, only = compare(found, wanted, samples, least=1, who="the folder's model.py")
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Taken(
        name=out.name,
        size=size,
        pictures=len(samples),
        same=same,
        checked="the folder's model.py",
        usage=f"tritonserver --model-repository {out.parent}",
        only_answer=only,
    )


def _ask(script: Path, samples: list[Path], batch: int) -> list[str]:
    """Reads pictures with the script as Triton runs it, on the CPU; returns the texts."""
    triton = ModuleType(_UTILITIES)
    names = {"Tensor": _Tensor, "InferenceResponse": list, "get_input_tensor_by_name": dict.get}
    vars(triton).update(names)
    sys.modules[_UTILITIES] = triton
    try:
        model = run_path(str(script))["TritonPythonModel"]()
    finally:
        del sys.modules[_UTILITIES]
    config = json.dumps({"max_batch_size": batch})
    model.initialize({"model_instance_kind": "CPU", "model_config": config})
    texts = []
    for start in range(0, len(samples), batch):
        files = [path.read_bytes() for path in samples[start : start + batch]]
        requests = [{"image": _images(files[:1])}, {"image": _images(files[1:])}]
        for text, _, _ in model.execute(requests):
            texts += [read.decode() for read in text.as_numpy().ravel()]
    return texts


def _images(files: list[bytes]) -> "_Tensor":
    """The input of one request, `(N, 1)`."""
    values = np.empty((len(files), 1), np.object_)
    values[:, 0] = files
    return _Tensor("image", values)


class _Tensor(NamedTuple):
    """A tensor, as far as the script uses Triton's."""

    name: str
    values: NDArray[Any]

    def as_numpy(self) -> NDArray[Any]:
        """The values."""
        return self.values
