"""The model file: one `.onnx` file that holds a graph and its description.

A protobuf message may be written in pieces. So the graph comes first, and the description follows
as one more metadata entry, with the key `captcha_rt` and JSON as the value:

    graph bytes | 0x72 length | 0x0a 10 "captcha_rt" | 0x12 length JSON

Every ONNX reader sees a normal model. `detach` compares the graph's bytes with the length and the
SHA-256 in the description, without a protobuf parser, before onnxruntime sees them.
"""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from captcha_rt.errors import ManifestError, ModelError, ModelNotFoundError
from captcha_rt.manifest import Graph, Manifest

__all__ = ["Model", "load_model"]

_MODELS: Final = Path(__file__).parent / "models"

EMBEDDED: Final = _MODELS / "default.onnx"
"""The small model in the wheel, which reads first."""

GENERAL: Final = _MODELS / "general.onnx"
"""The general model in the wheel, which reads what the small one rejects."""

# Protobuf: field 14 (metadata_props) of ModelProto, then fields 1 (key) and 2 (value) in it.
_ENTRY: Final = b"\x72"
_KEY: Final = b"\x0a\x0acaptcha_rt\x12"


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
        data = file.read_bytes()
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"no model file at {file}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"can't read the model {file}: {reason}") from error
    try:
        return Model(file, data, detach(data))
    except ManifestError as error:
        raise ManifestError(f"{file}: {error}") from error


def attach(graph: bytes, manifest: Manifest) -> bytes:
    """Makes a model file from a graph and its description.

    Args:
        graph: A serialised ONNX model without metadata.
        manifest: The description; its field `graph` is filled in here.

    Returns:
        The bytes of the `.onnx` file.
    """
    described = replace(manifest, graph=_describe(graph))
    value = described.to_json().encode()
    entry = _KEY + _varint(len(value)) + value
    return graph + _ENTRY + _varint(len(entry)) + entry


def detach(model: bytes) -> Manifest:
    """Reads the description in a model file and checks the graph's bytes against it.

    Args:
        model: The bytes of the `.onnx` file.

    Returns:
        The description. The graph is the first `manifest.graph.size` bytes.

    Raises:
        ManifestError: If there is no description, its version is unknown, or the graph is damaged.
    """
    key = model.rfind(_KEY)
    if key < 0:
        raise ManifestError(_explain_missing(model))
    length, start = _read_varint(model, key + len(_KEY))
    if len(model) != start + length:
        raise ManifestError(
            f"the file is cut off or was changed: it has {len(model)} bytes, "
            f"its description says {start + length}"
        )
    manifest = Manifest.from_json(model[start:])
    if manifest.graph is None:
        raise ManifestError("the description does not say which graph it belongs to")
    entry = _ENTRY + _varint(len(model) - key)
    graph_end = key - len(entry)
    if model[graph_end:key] != entry:
        raise ManifestError("the entry that holds the description is damaged")
    if manifest.graph != _describe(model[:graph_end]):
        raise ManifestError(
            "the graph is damaged or was changed after the export: "
            f"its SHA-256 is not {manifest.graph.sha256[:12]}…"
        )
    return manifest


def _describe(graph: bytes) -> Graph:
    return Graph(len(graph), hashlib.sha256(graph).hexdigest())


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
    for position, byte in enumerate(data[start : start + 5], start + 1):
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position
    raise ManifestError("the file is cut off in its description")
