"""Loads Keras with the settings that training and export need, whatever `keras.json` says."""

import logging
import os
from typing import Final

from captcha_rt.errors import InstallationError

_CAN_TRAIN: Final = ("tensorflow", "jax", "torch")
"""Keras's other backends, `numpy` and `openvino`, only run models."""


def set_up_keras(backend: str | None = None) -> None:
    """Imports Keras, and sets what `~/.keras/keras.json` may have set for other programs.

    The backend is the one that the variable KERAS_BACKEND names, else TensorFlow. The axes of
    pictures are `channels_last`, and numbers are float32: the networks are built for these.

    Args:
        backend: The only backend that will do; None takes any that can train.

    Raises:
        InstallationError: If the backend is not installed, unknown, or can't train.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # else TensorFlow prints some twenty lines
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # and warns that it compiles again
    if backend is not None or not os.environ.get("KERAS_BACKEND"):
        os.environ["KERAS_BACKEND"] = backend or "tensorflow"
    name = os.environ["KERAS_BACKEND"]
    try:
        import keras
    except Exception as error:  # Keras raises ImportError, ValueError, AssertionError, ...
        reason = (str(error).splitlines() or [""])[0]
        raise InstallationError(
            f"Keras does not load with the backend {name!r} of KERAS_BACKEND: "
            f"{type(error).__name__}: {reason}; unset KERAS_BACKEND to take TensorFlow, and see "
            "that ~/.keras/keras.json is a file that Keras wrote"
        ) from error
    if keras.config.backend() not in _CAN_TRAIN:
        raise InstallationError(
            f"Keras can't train with the backend {keras.config.backend()!r}; set KERAS_BACKEND to "
            f"one of {', '.join(_CAN_TRAIN)}, or unset it to take TensorFlow"
        )
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
