"""The tensors of the Open Inference Protocol, in JSON and in binary.

Sources: the protocol (https://github.com/kserve/open-inference-protocol, HTTP/REST), and Triton's
extension for binary tensors (`docs/protocol/extension_binary_data.md` of triton-inference-server).
A request that follows neither is refused; no number in it allocates memory.
"""

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from captcha_rt.errors import CaptchaRTError, ImageDecodeError
from captcha_rt.service.body import read_json
from captcha_rt.service.refusal import Refusal, to_json
from captcha_rt.service.solve import picture_of

INPUT: Final = "image"
"""The name of the input: pictures' files, BYTES."""

OUTPUTS: Final = {"text": "BYTES", "confidence": "FP32", "error": "BYTES"}
"""The outputs by name, each with its datatype."""

LENGTH_HEADER: Final = "inference-header-content-length"
"""Says how many bytes of a body are JSON; 0 says that the body is one picture."""

_BINARY_SIZE: Final = "binary_data_size"
_MAX_DIGITS: Final = 15


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for inference.

    Attributes:
        pictures: The pictures' files, or an error in place of one.
        shape: The shape of the input, `[N]` or `[N, 1]`; that of all outputs.
        outputs: The outputs that are wanted, each with whether in binary.
        parameters: The request's parameters.
        id: The request's name for itself; None if it has none.
    """

    pictures: Sequence[bytes | CaptchaRTError]
    shape: list[int]
    outputs: Mapping[str, bool]
    parameters: Mapping[str, Any]
    id: str | None = None


def read_request(body: bytes, header_length: str | None, max_batch: int) -> Asked:
    """Reads a request.

    Args:
        body: The body.
        header_length: The header `Inference-Header-Content-Length`; None if there is none.
        max_batch: The largest number of pictures.

    Raises:
        Refusal: If the request doesn't follow the protocol, or has too many pictures.
    """
    end = len(body)
    if header_length is not None:
        digits = header_length.strip()
        if not (digits.isascii() and digits.isdecimal()) or len(digits) > _MAX_DIGITS:
            raise Refusal(400, "Inference-Header-Content-Length is no number of bytes")
        end = int(digits)
        if end > len(body):
            raise Refusal(400, "Inference-Header-Content-Length is beyond the end of the body")
        if end == 0:
            return Asked([body], [1, 1], dict.fromkeys(OUTPUTS, False), {})
    values = read_json(body[:end])
    name = values.get("id")
    if name is not None and not isinstance(name, str):
        raise Refusal(400, "id is no text")
    parameters = _parameters(values)
    tensor = _only_input(values)
    shape, count = _shape(tensor, max_batch)
    return Asked(
        _pictures(tensor, count, body[end:]), shape, _outputs(values, parameters), parameters, name
    )


def write_response(
    model: str, asked: Asked, found: Mapping[str, Sequence[Any]]
) -> tuple[bytes, int | None]:
    """Writes an answer.

    Args:
        model: The model's name.
        asked: The request.
        found: The values of each output: texts, or numbers for FP32.

    Returns:
        The body, and how many bytes of it are JSON; None if all of it is.
    """
    binary: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for name, as_binary in asked.outputs.items():
        kind = OUTPUTS[name]
        tensor: dict[str, Any] = {"name": name, "datatype": kind, "shape": asked.shape}
        if as_binary:
            data = _to_binary(kind, found[name])
            tensor["parameters"] = {_BINARY_SIZE: len(data)}
            binary.append(data)
        else:
            tensor["data"] = found[name]
        outputs.append(tensor)
    named = {} if asked.id is None else {"id": asked.id}
    values = {"model_name": model, "model_version": "1", **named, "outputs": outputs}
    header = to_json(values)
    return (header + b"".join(binary), len(header)) if binary else (header, None)


def _to_binary(kind: str, values: Sequence[Any]) -> bytes:
    if kind == "FP32":
        return struct.pack(f"<{len(values)}f", *values)
    texts = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _only_input(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The input `image`, which is the only one."""
    inputs = values.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(tensor, dict) for tensor in inputs):
        raise Refusal(400, "inputs is no list of tensors")
    if len(inputs) != 1 or inputs[0].get("name") != INPUT:
        names = ", ".join(str(tensor.get("name"))[:40] for tensor in inputs[:4]) or "none"
        raise Refusal(400, f"a request has one input, {INPUT!r}, not: {names}")
    [tensor] = inputs
    if tensor.get("datatype") != "BYTES":
        raise Refusal(400, f"{INPUT!r} has the datatype BYTES, not {tensor.get('datatype')!r:.40}")
    found: Mapping[str, Any] = tensor
    return found


def _shape(tensor: Mapping[str, Any], max_batch: int) -> tuple[list[int], int]:
    """The shape, and the number of pictures."""
    shape = tensor.get("shape")
    if (
        not isinstance(shape, list)
        or not all(type(axis) is int and axis > 0 for axis in shape)
        or len(shape) not in (1, 2)
        or shape[1:] not in ([], [1])
    ):
        raise Refusal(400, f"the shape of {INPUT!r} is [N], with at least one picture")
    if shape[0] > max_batch:
        raise Refusal(413, f"a request has at most {max_batch} pictures", "too_large")
    return shape, shape[0]


def _pictures(
    tensor: Mapping[str, Any], count: int, binary: bytes
) -> Sequence[bytes | CaptchaRTError]:
    """The pictures: in JSON, or in the bytes after it."""
    parameters = _parameters(tensor)
    size = parameters.get(_BINARY_SIZE)
    if size is not None:
        if "data" in tensor:
            raise Refusal(400, f"{INPUT!r} has both data and {_BINARY_SIZE}")
        if type(size) is not int or size != len(binary):
            raise Refusal(400, f"{_BINARY_SIZE} is not the number of bytes after the JSON")
        return _split(binary, count)
    if binary:
        raise Refusal(400, "there are bytes after the JSON that belong to no input")
    data = _flat(tensor.get("data"))
    if len(data) != count:
        raise Refusal(400, f"the shape of {INPUT!r} says {count}, its data has {len(data)}")
    decode = _base64 if parameters.get("content_type") == "base64" else picture_of
    return [decode(text) for text in data]


def _flat(data: Any) -> list[str]:  # noqa: ANN401  (any JSON value)
    """The texts of a list, or of a list of lists with one text each."""
    if isinstance(data, list):
        flat = [
            row[0] if isinstance(row, list) and len(row) == 1 else row  # shape [N, 1]
            for row in data
        ]
        if all(isinstance(text, str) for text in flat):
            return flat
    raise Refusal(400, f"the data of {INPUT!r} is no list of texts")


def _base64(text: str) -> bytes | CaptchaRTError:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ImageDecodeError("a text that is no base64")


def _split(data: bytes, count: int) -> list[bytes]:
    """Splits BYTES: each picture comes after its length, 4 bytes, the lowest first."""
    pictures, start = [], 0
    for _ in range(count):
        if start + 4 > len(data):
            raise Refusal(400, f"the bytes of {INPUT!r} end before its last picture")
        stop = start + 4 + int.from_bytes(data[start : start + 4], "little")
        if stop > len(data):
            raise Refusal(400, f"a picture of {INPUT!r} is longer than the bytes that are left")
        pictures.append(data[start + 4 : stop])
        start = stop
    if start != len(data):
        raise Refusal(400, f"there are bytes after the last picture of {INPUT!r}")
    return pictures


def _outputs(values: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, bool]:
    """The outputs that are wanted, each with whether in binary; all if none is named."""
    binary = _switch(parameters, "binary_data_output", default=False)
    wanted = values.get("outputs")
    if wanted is None:
        return dict.fromkeys(OUTPUTS, binary)
    if not isinstance(wanted, list) or not all(isinstance(tensor, dict) for tensor in wanted):
        raise Refusal(400, "outputs is no list of tensors")
    found: dict[str, bool] = {}
    for tensor in wanted:
        name = tensor.get("name")
        if not isinstance(name, str) or name not in OUTPUTS:
            raise Refusal(400, f"no output {name!r:.40}; there is {', '.join(OUTPUTS)}")
        if name in found:
            raise Refusal(400, f"the output {name!r} is asked for twice")
        found[name] = _switch(_parameters(tensor), "binary_data", default=binary)
    return found or dict.fromkeys(OUTPUTS, binary)


def _parameters(values: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = values.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise Refusal(400, "parameters is no object")
    return parameters


def _switch(parameters: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Refusal(400, f"{name} is true or false")
    return value
