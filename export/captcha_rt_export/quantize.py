"""From a float graph to one that computes in 8 bits."""

import tempfile
from pathlib import Path

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

from captcha_rt_export.errors import ExportError

_PRODUCTS = "Conv", "MatMul", "Gemm"


def quantize(proto: onnx.ModelProto, rows: NDArray[np.float32]) -> onnx.ModelProto:
    """Makes a graph of 8-bit products, by static quantisation.

    Weights are signed with a scale for each filter, in 7 bits: with 8, processors without VNNI
    add pairs of products with saturation. What lies between the products is unsigned; its range is
    what real pictures reach. The first product, which sees the picture, and the last, which makes
    the scores, stay in float32: together they are little of the work and most of the loss.

    Args:
        proto: A graph of `convert`, with one input.
        rows: `(N, ...)` float32 inputs to find the ranges with, of real pictures.

    Returns:
        The same graph with `QuantizeLinear` and `DequantizeLinear` around each product, which
        onnxruntime fuses.

    Raises:
        ExportError: If nothing is left to quantise.
    """
    products = [node.name for node in proto.graph.node if node.op_type in _PRODUCTS]
    if len(products) < 3:
        raise ExportError(
            f"the graph has {len(products)} products; the first and last stay in float32, so that "
            "8 bits change nothing"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float.onnx"
        onnx.save(proto, path)  # of a proto in memory it would move the weights out
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


class _Rows(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Gives the inputs one by one."""

    def __init__(self, name: str, rows: NDArray[np.float32]) -> None:
        self._rows = iter([{name: row[None]} for row in rows])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._rows, None)
