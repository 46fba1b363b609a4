"""A model file, read and checked."""

import os
from dataclasses import dataclass
from pathlib import Path

from captcha_rt.errors import ManifestError, ModelError, ModelNotFoundError
from captcha_rt.manifest import Manifest, detach

EMBEDDED = Path(__file__).parent / "models" / "default.onnx"
"""The model that travels in the wheel."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model file's bytes and what they are.

    Attributes:
        path: Where it was read.
        data: The whole file.
        manifest: The description inside it, which the data was checked against.
    """

    path: Path
    data: bytes
    manifest: Manifest


def load_model(path: str | os.PathLike[str] | None = None) -> Model:
    """Reads a model file and checks it against the description inside it.

    Args:
        path: The `.onnx` file; None takes the embedded one.

    Raises:
        ModelNotFoundError: If there is no such file.
        ManifestError: If it holds no, a damaged or an unknown description, or a damaged graph.
        ModelError: If it can't be read.
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
