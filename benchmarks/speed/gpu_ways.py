"""The ways to run a batch that `gpu` compares: providers, precisions, and where the data lies."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16

from captcha_rt.device import CPU, CUDA, CUDA_OPTIONS
from captcha_rt.manifest import Manifest
from captcha_rt.model import Model
from captcha_rt.session import Provider, Session, import_onnxruntime

Device = Literal["cpu", "cuda"]
Array = NDArray[np.float32]
"""Inputs or scores of a batch, `(N, ...)`."""


@dataclass(frozen=True, slots=True)
class Precision:
    """A graph in one precision.

    Attributes:
        name: `"float32"`, `"float16"` or `"int8"`.
        tf32: Whether CUDA may round the factors of float32 products to 10 bits.
        data: The bytes of the graph's file.
    """

    name: str
    tf32: bool
    data: bytes


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a batch.

    Attributes:
        facts: What distinguishes the way from others, for its row in the results.
        call: Runs the batch; this is timed.
        read: Runs any inputs of the batch size, and returns their scores.
    """

    facts: dict[str, Any]
    call: Callable[[], object]
    read: Callable[[Array], Array]


def precisions(model: bytes) -> list[Precision]:
    """A model in all precisions: as it is if it is quantised, else in float32 and float16."""
    proto = onnx.load_from_string(model)
    if any(node.op_type == "DequantizeLinear" for node in proto.graph.node):
        return [Precision("int8", tf32=True, data=model)]
    half = convert_float_to_float16(proto, keep_io_types=True).SerializeToString()
    return [
        Precision("float32", tf32=False, data=model),
        Precision("float32", tf32=True, data=model),
        Precision("float16", tf32=True, data=half),
    ]


def providers(device: Device, *, tf32: bool, captured: bool = False) -> list[Provider]:
    """The providers to ask onnxruntime for.

    Args:
        device: The device; for CUDA the runtime's options apply as well.
        tf32: Whether CUDA may use TF32.
        captured: Whether CUDA captures the run as a CUDA graph.
    """
    if device == "cpu":
        return [CPU]
    options = {"use_tf32": int(tf32), "enable_cuda_graph": int(captured)}
    return [(CUDA, {**CUDA_OPTIONS, **options}), CPU]


def cpu_ways(model: Model, inputs: Array) -> Iterator[Way]:
    """The runtime's session on the CPU, with one thread and with a thread for each core."""
    for threads in sorted({1, os.cpu_count() or 1}):
        run = Session(model.data, model.manifest, device="cpu", threads=threads).run
        facts = {"provider": CPU, "threads": threads, "how": "numpy", "copies": False}
        yield Way(facts, partial(run, inputs), run)


def device_ways(
    precision: Precision, manifest: Manifest, inputs: Array, device: Device, how: str
) -> list[Way]:
    """The ways to run a batch on a device.

    Args:
        precision: The graph.
        manifest: Its manifest.
        inputs: The inputs of one batch, `(N, ...)`.
        device: The device.
        how: `"numpy"` runs from NumPy arrays, `"bound"` with input and output in the device's
            memory, `"captured"` also as a CUDA graph.

    Raises:
        ProviderError: If the session runs on another device.
    """
    asked = providers(device, tf32=precision.tf32, captured=how == "captured")
    session = Session(precision.data, manifest, providers=asked)
    facts = {
        "provider": session.providers[0],
        "precision": precision.name,
        "tf32": precision.tf32,
        "how": how,
    }
    if how == "numpy":
        return [Way({**facts, "copies": True}, partial(session.run, inputs), session.run)]
    read, replay = bind(session, manifest, len(inputs), device)
    return [
        Way({**facts, "copies": True}, partial(read, inputs), read),
        Way({**facts, "copies": False}, replay, read),
    ]


def bind(
    session: Session, manifest: Manifest, batch: int, device: Device
) -> tuple[Callable[[Array], Array], Callable[[], None]]:
    """Binds a session's input and output for one batch size to the device's memory.

    Returns:
        A function that copies inputs there, runs the session, and copies the scores back; and a
        function that only runs the session.
    """
    make = import_onnxruntime().OrtValue.ortvalue_from_shape_and_type
    image = make((batch, *manifest.input.shape[1:]), np.float32, device)
    scores = make((batch, *manifest.output.shape[1:]), np.float32, device)
    binding = session.onnx.io_binding()
    binding.bind_ortvalue_input(manifest.input.name, image)
    binding.bind_ortvalue_output(manifest.output.name, scores)

    def replay() -> None:
        session.onnx.run_with_iobinding(binding)
        binding.synchronize_outputs()

    def read(inputs: Array) -> Array:
        image.update_inplace(inputs)
        replay()
        return np.array(scores.numpy())

    return read, replay
