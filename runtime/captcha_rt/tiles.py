"""Convolutions in 8 bits on processors that multiply matrices by tiles: Intel's, with AMX.

onnxruntime computes such a convolution in one of two ways. Where the weights' zero point is 0, it
goes through the picture without tiles. Where it is another number, it lays out what each filter
sees as the rows of a matrix, and multiplies matrices. A convolution of many weights gains by that
where there are tiles, and loses where there are none (`run_cpu_ms` in
`benchmarks/results/general.json`). So `captcha-rt export` marks the convolutions that gain by the
names of their weights, and a session moves the zero points of those where there are tiles. Weights
and zero points go up by one, so the scores stay as they are.
"""

from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from captcha_rt.model import GRAPH, INITIALIZER, fields, is_protobuf

MARK: Final = "captcha_rt.tiles:"
"""The names of weights and zero points that may be moved begin with it. Their bytes are signed, at
most 64, and stand in the field `raw_data`."""

# In protobuf's TensorProto: the number of its type, its name, and its bytes.
_TYPE, _NAME, _RAW_DATA = 2, 8, 9
_INT8: Final = b"\x03"


@cache
def has_tiles(processors: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies bytes by tiles, which only Linux says.

    Args:
        processors: The file that describes the processors.
    """
    try:
        with processors.open("rb") as file:
            return b" amx_int8" in file.read(1 << 13)  # the first cores
    except OSError:
        return False


def suit_processor(model: bytes) -> bytes:
    """The model as it is fastest here: with moved zero points where there are tiles."""
    return move_zero_points(model) if has_tiles() else model


def move_zero_points(model: bytes) -> bytes:
    """Adds one to the weights that are marked, and to their zero points.

    The result is for processors with VNNI or AMX, which add the products of bytes in 32 bits.
    Others add pairs of them in 16 bits, where the largest weights could then overflow.

    Args:
        model: A serialised ONNX model, with a description or without, or a model in onnxruntime's
            own format.

    Returns:
        A copy with the same scores; the model itself if nothing is marked, or not as it should be.

    Raises:
        ManifestError: If the bytes are no protobuf message.
    """
    if not is_protobuf(model):
        return model
    mark, marked = MARK.encode(), []
    for number, _, content, stop in fields(model, 0, len(model)):
        for field, _, start, end in fields(model, content, stop) if number == GRAPH else ():
            if field == INITIALIZER:
                parts = {part: slice(a, b) for part, _, a, b in fields(model, start, end)}
                if model[parts.get(_NAME, slice(0))].startswith(mark):
                    if model[parts.get(_TYPE, slice(0))] != _INT8 or _RAW_DATA not in parts:
                        return model
                    marked.append(parts[_RAW_DATA])
    if not marked:
        return model
    moved = np.frombuffer(bytearray(model), np.int8)
    for values in marked:
        moved[values] += 1
    return moved.tobytes()
