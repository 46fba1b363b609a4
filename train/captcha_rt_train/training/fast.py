"""A copy of a network that trains in half of the time."""

from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

_PRECISE: Final = 0.05
"""How far scores may be apart, as a fraction of the largest: bfloat16 has three digits."""


class FusedNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]  # no types
    """Keras's layer, computed by TensorFlow's fused operation.

    Keras 3 computes it by a dozen operations over the whole tensor, always in float32: half of the
    time of a training step. Both give the same, but for the moving variance, which gets the
    unbiased estimate here.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:  # noqa: ANN401, ARG002
        """Normalises `(N, H, W, C)` over all axes but the last."""
        import tensorflow as tf

        fuse = tf.compat.v1.nn.fused_batch_norm
        learned = {"scale": self.gamma, "offset": self.beta, "epsilon": self.epsilon}
        if not training:
            moving = {"mean": self.moving_mean, "variance": self.moving_variance}
            return fuse(inputs, **learned, **moving, is_training=False)[0]
        normal, mean, variance = fuse(inputs, **learned)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + value * (1 - self.momentum))
        return normal


# A checkpoint names layers by their class. With Keras's name, it can be loaded into the network
# itself, and with another backend.
FusedNormalization.__name__ = keras.layers.BatchNormalization.__name__


def fast_copy(model: keras.Model, *, bfloat16: bool) -> keras.Model:
    """A copy of a network to train: the same weights in the same order, and the same scores.

    Batch normalisations are computed in one operation where TensorFlow is Keras's backend. A
    network that would gain nothing is returned as it is.

    Args:
        model: A network in float32, which Keras alone can load.
        bfloat16: Whether to compute in bfloat16, the last layer apart: with TensorFlow on a
            processor that has it, with JAX on an accelerator. Filters in multiples of 32 gain most.
    """
    if bfloat16 and has_bfloat16():
        half = _copy(model, "mixed_bfloat16")
        if _agree(model, half):
            return half
    return _copy(model, "float32") if any(map(_can_be_fused, model.layers)) else model


def _copy(model: keras.Model, dtype: str) -> keras.Model:
    """A copy with fused normalisations, which computes in a type, but for its outputs."""

    def copy(layer: keras.Layer | keras.Operation) -> keras.Layer | keras.Operation:
        kind, config = type(layer), layer.get_config()
        if _can_be_fused(layer):
            kind = FusedNormalization
        if isinstance(layer, keras.Layer) and layer.name not in model.output_names:
            config["dtype"] = dtype
        return kind.from_config(config)

    copied = keras.models.clone_model(model, clone_function=copy)
    copied.set_weights(model.get_weights())
    return copied


def _agree(model: keras.Model, half: keras.Model) -> bool:
    """Whether two networks give the same scores, as precisely as bfloat16 is.

    TensorFlow 2.21's convolutions in bfloat16 are wrong for a few shapes, such as 8 filters over 8
    rows of 8 channels.
    """
    noise = np.random.default_rng(0).random((8, *model.input_shape[1:]), np.float32)
    scores, halved = (np.asarray(network(noise, training=False)) for network in (model, half))
    return bool(np.abs(scores - halved).max() <= _PRECISE * np.abs(scores).max())


def _can_be_fused(layer: keras.Layer | keras.Operation) -> bool:
    """Whether TensorFlow computes a layer that normalises pictures, `(N, H, W, C)`."""
    plain = type(layer) is keras.layers.BatchNormalization
    return (
        keras.backend.backend() == "tensorflow"
        and plain
        and layer.axis == -1
        and len(layer.input.shape) == len("NHWC")
    )


def has_bfloat16() -> bool:
    """Whether what computes does so in bfloat16; of a processor, that is only known on Linux."""
    match keras.backend.backend():
        case "jax":
            import jax

            return bool(jax.default_backend() != "cpu")
        case "torch":
            return False
    try:
        flags = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
