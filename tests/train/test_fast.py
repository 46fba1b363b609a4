"""Batch normalisation in one operation: the same network, trained faster."""

from pathlib import Path

import keras
import numpy as np
import pytest

from captcha_rt_train.networks import Dimensions, compact
from captcha_rt_train.training.fast import FusedNormalization, fast_copy, has_bfloat16

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only TensorFlow has the operation"
)


def test_the_fused_network_computes_and_learns_the_same(tmp_path: Path) -> None:
    """Scores, moving averages and weights after steps of training; a checkpoint fits both."""
    keras.utils.set_random_seed(0)
    plain = compact(
        Dimensions((16, 32, 3), 4, 7), rows=[[8, 3, 2, 2], [8, 3, 2, 2]], columns=[[8, 1, 1]]
    )
    fused = fast_copy(plain, bfloat16=False)
    kinds = [type(layer) for layer in fused.layers]
    assert kinds.count(FusedNormalization) == 3
    assert [w.shape for w in plain.get_weights()] == [w.shape for w in fused.get_weights()]
    rng = np.random.default_rng(0)
    inputs = rng.random((64, 16, 32, 3), np.float32)
    labels = rng.integers(0, 7, (64, 8))
    losses = []
    for network in (plain, fused):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(keras.optimizers.SGD(0.1), loss)
        history = network.fit(inputs, labels, batch_size=16, epochs=3, shuffle=False, verbose=0)
        losses.append(history.history["loss"])
    assert np.allclose(*losses, rtol=1e-4)
    for one, other in zip(plain.get_weights(), fused.get_weights(), strict=True):
        assert np.allclose(one, other, rtol=0.02, atol=2e-3)
    scores = [network.predict(inputs, verbose=0) for network in (plain, fused)]
    assert np.allclose(*scores, rtol=0.05, atol=0.02)
    file = tmp_path / "checkpoint.weights.h5"
    fused.save_weights(file)
    plain.load_weights(file)
    for one, other in zip(plain.get_weights(), fused.get_weights(), strict=True):
        assert (one == other).all()
    scores = [network.predict(inputs, verbose=0) for network in (plain, fused)]
    assert np.allclose(*scores, atol=1e-5)


def test_bfloat16_leaves_scores_and_what_is_learned_in_float32() -> None:
    """Where the processor has it; elsewhere the copy computes in float32 too."""
    plain = compact(
        Dimensions((12, 32, 3), 4, 7), rows=[[16, 3, 2, 2]], columns=[[16, 1, 1]], context=True
    )
    fast = fast_copy(plain, bfloat16=True)
    assert fast.output.dtype == "float32"
    assert {weight.dtype.name for weight in fast.get_weights()} == {"float32"}
    expected = "bfloat16" if has_bfloat16() else "float32"
    assert fast.get_layer("rows1").compute_dtype == expected
    assert all(layer.compute_dtype == "float32" for layer in plain.layers)


def test_a_shape_that_bfloat16_computes_wrongly_stays_in_float32() -> None:
    """TensorFlow gives zeros for 8 filters over 8 rows; whatever it gives, the scores are right."""
    keras.utils.set_random_seed(0)
    shape = Dimensions((16, 32, 3), 4, 7)
    plain = compact(shape, rows=[[8, 3, 2, 2]], columns=[[8, 1, 1]])
    fast = fast_copy(plain, bfloat16=True)
    inputs = np.random.default_rng(0).random((4, 16, 32, 3), np.float32)
    scores = [network.predict(inputs, verbose=0) for network in (plain, fast)]
    assert np.allclose(*scores, atol=0.05 * np.abs(scores[0]).max())
