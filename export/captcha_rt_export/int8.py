"""Makes a graph that computes in 8 bits from a float graph, and measures the difference."""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from captcha_rt.manifest import Manifest
from captcha_rt.metrics import Prediction, summarize
from captcha_rt.session import Session
from captcha_rt_export.errors import ExportError
from captcha_rt_export.parity import BATCHES, prepare, run_batches
from captcha_rt_export.run import SampleFile

CALIBRATION_SAMPLES: Final = 400
"""The number of training samples that the ranges of an 8-bit graph are measured on."""

LOSS_TOLERANCE: Final = 0.001
"""The largest fraction of the pictures that computing in 8 bits may lose."""

_TIMED_RUNS = 200
_PRODUCTS = "Conv", "MatMul", "Gemm"  # the operators that compute in 8 bits


@dataclass(frozen=True, slots=True)
class Int8Samples:
    """The samples that an 8-bit graph needs.

    Attributes:
        calibration: Picture files to measure the ranges on, at least one.
        held_back: Labelled pictures that the network did not learn from, at least one. They show
            what 8 bits cost.
    """

    calibration: Sequence[Path]
    held_back: Sequence[SampleFile]


@dataclass(frozen=True, slots=True)
class Int8Report:
    """The comparison of an 8-bit graph with its float graph, on pictures that were held back.

    Attributes:
        pictures: The number of pictures.
        float_right: The number of pictures that the float graph reads right.
        right: The number of pictures that the 8-bit graph reads right.
        float_milliseconds: The float graph's median time for one picture on one thread.
        milliseconds: The 8-bit graph's median time; the two graphs run in turn.
    """

    pictures: int
    float_right: int
    right: int
    float_milliseconds: float
    milliseconds: float


def quantize(proto: onnx.ModelProto, rows: NDArray[np.float32]) -> onnx.ModelProto:
    """Makes a graph that multiplies in 8 bits, by static quantisation.

    Weights are signed, with a scale for each filter, and use 7 bits: with 8 bits, processors
    without VNNI add pairs of products with saturation. Activations are unsigned; their ranges are
    those that real pictures reach. The first product, which sees the picture, and the last, which
    makes the scores, stay in float32: the two are little of the work and most of the loss.

    Args:
        proto: A graph of `convert`, with one input.
        rows: `(N, ...)` float32, inputs from real pictures to measure the ranges on.

    Returns:
        The graph with `QuantizeLinear` and `DequantizeLinear` around each product, which
        onnxruntime fuses.

    Raises:
        ExportError: If the graph has fewer than three products, so that none would be quantised.
    """
    products = [node.name for node in proto.graph.node if node.op_type in _PRODUCTS]
    if len(products) < 3:
        raise ExportError(
            f"the graph has {len(products)} products; the first and last stay in float32, so that "
            "8 bits would change nothing: export it without --int8"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(proto, path)  # given a proto, quantize_static would move the weights out of it
        quantize_static(
            path,
            path.with_name("int8.onnx"),
            _Rows(proto.graph.input[0].name, rows),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=[*_PRODUCTS, "Relu"],
            nodes_to_exclude=[products[0], products[-1]],
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantized = onnx.load(path.with_name("int8.onnx"))
    del quantized.graph.value_info[:]
    del quantized.metadata_props[:]
    quantized.ir_version = proto.ir_version
    quantized.producer_name = proto.producer_name
    return quantized


def choose_calibration(samples: Sequence[SampleFile]) -> list[Path]:
    """Chooses training samples to measure the ranges on.

    Each source gives about the same number of samples, evenly spread.

    Args:
        samples: A run's training samples, at least one.

    Returns:
        Their picture files, about `CALIBRATION_SAMPLES` at most.
    """
    by_source: dict[str, list[Path]] = {}
    for sample in samples:
        by_source.setdefault(sample.source, []).append(sample.path)
    wanted = -(-CALIBRATION_SAMPLES // len(by_source))
    return [path for paths in by_source.values() for path in paths[:: -(-len(paths) // wanted)]]


def measure_int8(
    held_back: Sequence[SampleFile], manifest: Manifest, float_graph: bytes, graph: bytes
) -> tuple[Manifest, Int8Report]:
    """Measures an 8-bit graph, and compares it with its float graph.

    Args:
        held_back: Labelled pictures that the network did not learn from, at least one.
        manifest: The description of both graphs.
        float_graph: The serialised float graph.
        graph: The serialised 8-bit graph.

    Returns:
        The manifest with the accuracy of the 8-bit graph, and the comparison.

    Raises:
        ExportError: If the 8-bit graph loses more than one picture in a thousand.
    """
    tensors = prepare([sample.path for sample in held_back], manifest)
    sessions = [Session(data, manifest, device="cpu") for data in (float_graph, graph)]
    float_predictions, predictions = (
        _predict(session, manifest, held_back, tensors) for session in sessions
    )
    float_right, right = _count_right(float_predictions), _count_right(predictions)
    if float_right - right > LOSS_TOLERANCE * len(held_back):
        raise ExportError(
            f"in 8 bits {right} of {len(held_back)} pictures are read right, in float "
            f"{float_right}: export it without --int8"
        )
    by_part: dict[str, list[Prediction]] = {}
    for sample, prediction in zip(held_back, predictions, strict=True):
        by_part.setdefault(sample.part, []).append(prediction)
        if sample.source:
            by_part.setdefault(f"{sample.part} {sample.source}", []).append(prediction)
    accuracy = {part: summarize(by_part[part]) for part in manifest.accuracy if part in by_part}
    times = _time(sessions, manifest.batch(tensors[:1]))
    return replace(manifest, accuracy=accuracy), Int8Report(
        len(held_back), float_right, right, *times
    )


def _predict(
    session: Session,
    manifest: Manifest,
    samples: Sequence[SampleFile],
    tensors: NDArray[np.float32],
) -> list[Prediction]:
    answers = manifest.decode(run_batches(session, manifest, tensors, BATCHES[-1]))
    return [
        Prediction(sample.path.name, sample.label, text, decoded.confidence)
        for sample, (text, decoded) in zip(samples, answers, strict=True)
    ]


def _count_right(predictions: Sequence[Prediction]) -> int:
    return sum(prediction.text == prediction.truth for prediction in predictions)


def _time(sessions: Sequence[Session], inputs: NDArray[np.float32]) -> list[float]:
    """The median milliseconds of a run, for each of the sessions; they run in turn."""
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(_TIMED_RUNS):
        for session, session_times in zip(sessions, times, strict=True):
            started = time.perf_counter()
            session.run(inputs)
            session_times.append(time.perf_counter() - started)
    return [1000 * statistics.median(session_times) for session_times in times]


class _Rows(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Yields the inputs one by one, as onnxruntime's calibration asks for them."""

    def __init__(self, name: str, rows: NDArray[np.float32]) -> None:
        self._rows = iter([{name: row[None]} for row in rows])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._rows, None)
