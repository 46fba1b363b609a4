"""The model file: one `.onnx` file that holds a graph and its description.

A protobuf message may be written in pieces. So the graph comes first, and two more metadata entries
follow. The first has the key `captcha_rt` and the description in JSON as its value; the second has
the key `captcha_rt_sha256`, and its value is the SHA-256 of all bytes before the value:

    graph bytes | 0x72 length | 0x0a 10 "captcha_rt" | 0x12 length JSON
                | 0x72 85 | 0x0a 17 "captcha_rt_sha256" | 0x12 64 hexadecimal digits

Every ONNX reader sees a normal model. `detach` checks all bytes, before onnxruntime sees them.
Files of the format version 1 end with the description, which no checksum covers.
"""

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from captcha_rt.errors import ManifestError, ModelError, ModelNotFoundError, NoManifestError
from captcha_rt.manifest import FORMAT, Graph, Manifest

__all__ = ["Model", "load_model"]

_MODELS: Final = Path(__file__).parent / "models"

EMBEDDED: Final = _MODELS / "default.onnx"
"""The small model in the wheel, which reads first."""

GENERAL: Final = _MODELS / "general.onnx"
"""The general model in the wheel, which reads what the small one rejects."""

MAX_BYTES: Final = 2**31 - 1
"""The largest model file: protobuf itself reads no larger message."""

# Protobuf: field 14 (metadata_props) of ModelProto, then fields 1 (key) and 2 (value) in it.
_METADATA: Final = 14
GRAPH: Final = 7
INITIALIZER: Final = 5  # in GraphProto
_ENTRY: Final = b"\x72"
_KEY: Final = b"\x0a\x0acaptcha_rt\x12"
_CHECKSUM: Final = b"\x72\x55\x0a\x11captcha_rt_sha256\x12\x40"
_DIGITS: Final = 64
_CUT: Final = "the file is cut off, damaged or was changed after the export"


@dataclass(frozen=True, slots=True)
class Model:
    """A model file that was read and checked.

    Attributes:
        path: The file's path.
        data: The file's bytes.
        manifest: The description in the file. The graph's bytes match the description.
    """

    path: Path
    data: bytes
    manifest: Manifest


def load_model(path: str | os.PathLike[str] | None = None) -> Model:
    """Reads a model file and checks it against the description in it.

    Args:
        path: The `.onnx` file; None is the small embedded model.

    Returns:
        The model; its bytes have been compared with the checksum in the description.

    Raises:
        ModelNotFoundError: If there is no such file.
        ManifestError: If the description is missing, damaged or unknown, or the graph is damaged.
        ModelError: If the file can't be read.
    """
    file = EMBEDDED if path is None else Path(path)
    try:
        data = _read(file)
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"no model file at {file}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"can't read the model {file}: {reason}") from error
    try:
        return Model(file, data, detach(data))
    except ManifestError as error:
        raise type(error)(f"{file}: {error}") from error


def _read(file: Path) -> bytes:
    """Reads a regular file, as far as it is long: a pipe or a device may have no end."""
    status = file.stat()  # before it is opened: to open a named pipe would wait for a writer
    if stat.S_ISDIR(status.st_mode):
        from shlex import quote  # it is rarely needed

        what = f"{file} is a folder, not a model file"
        if (exported := file / "model.onnx").exists():
            raise ModelError(f"{what}; it holds one: {quote(str(exported))}")
        raise ModelError(
            f"{what}; if it is a run of `captcha-rt train`, export it first: "
            f"captcha-rt export {quote(str(file))} -o model.onnx"
        )
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(
            f"{file} is no regular file but a pipe or device; write the model to a file first"
        )
    if status.st_size > MAX_BYTES:
        raise ModelError(
            f"{file} has {status.st_size:,} bytes, more than a model file can have ({MAX_BYTES:,})"
        )
    with file.open("rb") as opened:
        return opened.read(status.st_size)


def attach(graph: bytes, manifest: Manifest) -> bytes:
    """Makes a model file from a graph and its description.

    Args:
        graph: A serialised ONNX model whose metadata holds no description.
        manifest: The description; its fields `format` and `graph` are filled in here.

    Returns:
        The bytes of the `.onnx` file.

    Raises:
        ManifestError: If the graph is no protobuf message, or has a description already.
    """
    if any(True for _ in _find_descriptions(graph, len(graph))):
        raise ManifestError("the graph already holds a description of captcha-rt")
    digest = hashlib.sha256(graph)
    described = replace(manifest, format=FORMAT, graph=Graph(len(graph), digest.hexdigest()))
    rest = _entry(described.to_json().encode()) + _CHECKSUM
    digest.update(rest)
    return graph + rest + digest.hexdigest().encode()


def detach(model: bytes) -> Manifest:
    """Reads the description in a model file and checks all bytes of the file.

    Args:
        model: The bytes of the `.onnx` file.

    Returns:
        The description. The graph is the first `manifest.graph.size` bytes.

    Raises:
        NoManifestError: If there is no description.
        ManifestError: If there is more than one, its version is unknown, or the file is damaged. In
            files of the version 1, damage to a value of the description is not always found.
    """
    if model.rfind(_KEY) < 0:
        raise NoManifestError(_explain_missing(model))
    last = len(model) - _DIGITS
    checked = model.endswith(_CHECKSUM, 0, max(last, 0))
    end = last - len(_CHECKSUM) if checked else len(model)
    found = list(_find_descriptions(model, end))
    if len(found) != 1:
        raise ManifestError(f"the file has {len(found)} descriptions in its metadata, not one")
    [(graph_end, value)] = found
    if model[graph_end:end] != _entry(value):
        raise ManifestError(f"{_CUT}: it doesn't end with its description")
    digest = hashlib.sha256(memoryview(model)[:graph_end])
    graph = Graph(graph_end, digest.hexdigest())
    if checked:
        digest.update(memoryview(model)[graph_end:last])
        if model[last:] != digest.hexdigest().encode():
            raise ManifestError(f"{_CUT}: its SHA-256 is {digest.hexdigest()[:12]}…")
    manifest = Manifest.from_json(value)
    if checked != (manifest.format > 1):
        raise ManifestError(f"{_CUT}: only format version 1 has no checksum")
    if manifest.graph is None:
        raise ManifestError("the description does not say which graph it belongs to")
    if manifest.graph != graph:
        raise ManifestError(f"{_CUT}: the graph's SHA-256 is not {manifest.graph.sha256[:12]}…")
    return manifest


def has_loop(model: bytes) -> bool:
    """Whether a graph has a `Loop` or `Scan`: only such a graph may run without an end.

    The names of operators stand somewhere in the graph's nodes or the model's functions. The
    weights, most of the bytes, are left out: to search them would take a millisecond.

    Args:
        model: A serialised ONNX model, with a description or without, or a model in onnxruntime's
            own format.

    Raises:
        ManifestError: If the bytes are no protobuf message.
    """
    if not is_protobuf(model):
        return b"Loop" in model or b"Scan" in model
    for number, _, content, stop in fields(model, 0, len(model)):
        inner = fields(model, content, stop) if number == GRAPH else [(0, 0, content, stop)]
        for field, _, start, end in inner:
            if field != INITIALIZER and (
                model.find(b"Loop", start, end) >= 0 or model.find(b"Scan", start, end) >= 0
            ):
                return True
    return False


def is_protobuf(model: bytes) -> bool:
    """Whether a model is a protobuf message, not one in onnxruntime's own format."""
    return model[4:8] != b"ORTM"


def _entry(value: bytes) -> bytes:
    """The metadata entry that holds the description, as a field of a protobuf message."""
    entry = _KEY + _varint(len(value)) + value
    return _ENTRY + _varint(len(entry)) + entry


def _find_descriptions(model: bytes, end: int) -> Iterator[tuple[int, bytes]]:
    """Finds the metadata entries whose keys are ours.

    Yields:
        The position of an entry, and its value.

    Raises:
        ManifestError: If the bytes up to `end` are no protobuf message.
    """
    for number, start, content, stop in fields(model, 0, end):
        if number == _METADATA:
            entry = {inner: model[a:b] for inner, _, a, b in fields(model, content, stop)}
            if entry.get(1, b"").startswith(b"captcha_rt"):
                yield start, entry.get(2, b"")


def fields(message: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Walks through the fields of a protobuf message, without a look into them.

    Yields:
        A field's number, and the positions of its start, of its content and after it.

    Raises:
        ManifestError: If a field doesn't end within the message, or is of no known type.
    """
    while start < end:
        tag, content = _read_varint(message, start)
        match tag & 7:
            case 0:
                stop = _read_varint(message, content)[1]
            case 1:
                stop = content + 8
            case 2:
                length, content = _read_varint(message, content)
                stop = content + length
            case 5:
                stop = content + 4
            case _:
                raise ManifestError(_CUT)
        if stop > end:
            raise ManifestError(_CUT)
        yield tag >> 3, start, content, stop
        start = stop


def _explain_missing(model: bytes) -> str:
    """Says why a file may have no description, from what its first bytes look like."""
    start = model[:64].lstrip().lower()
    if not model:
        return "the file is empty"
    if start.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer, not the model: run `git lfs pull`"
    if start.startswith((b"<", b"{")):
        return "this is text (HTML or JSON), not an ONNX model"
    return (
        "no description of captcha-rt in the file: the file is cut off, or is not a model that "
        "`captcha-rt export` wrote"
    )


def _varint(number: int) -> bytes:
    """Encodes a protobuf variable-length integer: seven bits per byte, the lowest bits first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    """Decodes the integer at `start`; returns the integer and the position after its bytes."""
    number = shift = 0
    for position, byte in enumerate(data[start : start + 10], start + 1):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position
    raise ManifestError(_CUT)
