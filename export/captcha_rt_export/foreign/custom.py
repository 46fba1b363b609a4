"""Imports the file with the layers of somebody's own code, which `--custom` names."""

import importlib.util
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from captcha_rt_export.errors import ExportError


def import_custom(path: Path, keras: ModuleType) -> dict[str, Any]:
    """Runs a file of Python code, and returns the classes and functions that it defines.

    Args:
        path: The file.
        keras: What `keras` and `tensorflow.keras` mean in the file: Keras 3, or `tf_keras` for a
            model of Keras 2. Layers of one don't fit into models of the other.

    Returns:
        The classes and functions by name, those that the file imports left out.

    Raises:
        ExportError: If the file is missing, or raises an error.
    """
    spec = importlib.util.spec_from_file_location("captcha_rt_custom", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ExportError(f"--custom takes a Python file (.py), not {path}")
    module = importlib.util.module_from_spec(spec)
    with _keras_is(keras):
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ExportError(f"--custom {path}: {type(error).__name__}: {error}") from error
    return {
        name: _lenient(value)
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }


@contextmanager
def _keras_is(keras: ModuleType) -> Iterator[None]:
    """Makes `import keras` and `from tensorflow import keras` find this Keras."""
    import tensorflow as tf

    names = ("keras", "tensorflow.keras")
    before = {
        name: module
        for name, module in sys.modules.items()
        if name.startswith(tuple(f"{name}." for name in names)) or name in names
    }
    attribute = tf.keras
    for name in before:
        del sys.modules[name]
    sys.modules.update(dict.fromkeys(names, keras))
    tf.keras = keras
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "keras"]:
            del sys.modules[name]
        sys.modules.pop("tensorflow.keras", None)
        sys.modules.update(before)
        tf.keras = attribute


def _lenient(value: Any) -> Any:  # noqa: ANN401  (a class or a function)
    """Lets a layer be made from settings that its `__init__` doesn't take.

    Keras stores `name`, `trainable` and `dtype` of every layer. Many layers in notebooks take the
    name alone, and could be saved, but not loaded.
    """
    if not inspect.isclass(value) or "from_config" in vars(value):
        return value
    if not hasattr(value, "from_config"):
        return value
    known = inspect.signature(value.__init__).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values()):
        return value

    def from_config(cls: Any, config: dict[str, Any]) -> Any:  # noqa: ANN401
        return cls(**{name: setting for name, setting in config.items() if name in known})

    setattr(value, "from_config", classmethod(from_config))  # noqa: B010  (mypy knows no such name)
    return value
