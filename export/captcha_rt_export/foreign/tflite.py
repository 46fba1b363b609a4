"""Loads a TFLite model: tf2onnx reads its operations, TensorFlow's interpreter runs it."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from numpy.typing import NDArray

from captcha_rt_export.convert import OPSET
from captcha_rt_export.errors import ExportError
from captcha_rt_export.foreign.tracing import IMAGE, be_quiet, rename_input

FROM_KERAS: Final = 'Export the Keras model that it was made from: `model.save("model.keras")`'
"""What helps where a TFLite model doesn't."""


class Interpreted(NamedTuple):
    """A TFLite model.

    Attributes:
        proto: The model as ONNX.
        run: Runs the original, a picture at a time.
        rounded: Whether it computes in 8 bits, which ONNX rounds in another way.
    """

    proto: onnx.ModelProto
    run: Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]
    rounded: bool


def load_tflite(path: Path) -> Interpreted:
    """Loads a TFLite model with one input.

    Raises:
        ExportError: If it has several inputs, or operations that tf2onnx doesn't know.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # another package is to have the interpreter one day
            interpreter = tf.lite.Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"{path} can't be loaded: {error}") from error
    inputs = interpreter.get_input_details()
    outputs = sorted(interpreter.get_output_details(), key=lambda one: _number(one["name"]))
    if len(inputs) != 1 or inputs[0]["dtype"] != np.float32:
        seen = ", ".join(
            f"{one['name']} {one['shape'].tolist()} {one['dtype'].__name__}" for one in inputs
        )
        raise ExportError(
            f"{path} takes {seen}; captcha-rt gives one float32 picture. {FROM_KERAS}"
        )
    be_quiet()
    try:
        proto, _ = tf2onnx.convert.from_tflite(str(path), opset=OPSET)
    except Exception as error:
        raise ExportError(
            f"{path}: tf2onnx can't convert its operations ({type(error).__name__}: {error}), as "
            f"those of recurrent layers. {FROM_KERAS}"
        ) from error
    order = {one["name"]: position for position, one in enumerate(outputs)}
    values = sorted(proto.graph.output, key=lambda value: order[value.name])
    del proto.graph.output[:]
    proto.graph.output.extend(values)
    rename_input(proto, proto.graph.input[0].name, IMAGE)
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"

    def run(rows: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        results = []
        for row in rows:
            interpreter.set_tensor(inputs[0]["index"], row[None])
            interpreter.invoke()
            results.append([interpreter.get_tensor(one["index"]) for one in outputs])
        return [np.concatenate(arrays) for arrays in zip(*results, strict=True)]

    small = (np.int8, np.uint8)
    rounded = any(one["dtype"] in small for one in interpreter.get_tensor_details())
    return Interpreted(proto, run, rounded)


def _number(name: str) -> tuple[int, str]:
    """Sorts outputs by the number at the end of their names."""
    found = re.search(r"\d+$", name)
    return (int(found.group()) if found else 0, name)
