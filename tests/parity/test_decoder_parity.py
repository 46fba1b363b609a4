"""Compares CTC greedy decoding with TensorFlow's and Keras's, in one test body for both."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from captcha_rt import ctc_greedy_decode

keras = pytest.importorskip("keras", reason="the references need Keras and TensorFlow")
tf = pytest.importorskip("tensorflow", reason="the references need Keras and TensorFlow")

BATCHES = 10_000
Reference = Callable[[NDArray[np.float32], int], list[tuple[int, ...]]]


def tensorflow_decode(scores: NDArray[np.float32], blank: int) -> list[tuple[int, ...]]:
    """Decodes with `tf.nn.ctc_greedy_decoder`."""
    n, steps, _ = scores.shape
    [sparse], _ = tf.nn.ctc_greedy_decoder(
        np.ascontiguousarray(scores.transpose(1, 0, 2)),
        np.full(n, steps, np.int32),
        merge_repeated=True,
        blank_index=blank,
    )
    rows: list[list[int]] = [[] for _ in range(n)]
    for (row, _), value in zip(sparse.indices.numpy(), sparse.values.numpy(), strict=True):
        rows[row].append(int(value))
    return [tuple(row) for row in rows]


def keras_decode(scores: NDArray[np.float32], blank: int) -> list[tuple[int, ...]]:
    """Decodes with `keras.ops.ctc_decode(strategy="greedy")`, which pads with -1."""
    n, steps, _ = scores.shape
    decoded, _ = keras.ops.ctc_decode(
        scores, np.full(n, steps, np.int32), strategy="greedy", mask_index=blank
    )
    rows = keras.ops.convert_to_numpy(decoded)[0]
    return [tuple(int(i) for i in row if i >= 0) for row in rows]


def random_scores(rng: np.random.Generator, kind: str) -> tuple[NDArray[np.float32], int]:
    """Makes a batch of logits `(N, T, C)` of any shape and of one of `KINDS`, and the blank."""
    n, steps, classes = rng.integers(1, 4), rng.integers(1, 30), rng.integers(2, 25)
    blank = int(rng.choice([0, classes - 1]))
    scores = rng.normal(0, 3, (n, steps, classes)).astype(np.float32)
    if kind == "all blank":
        scores[:, :, blank] += 50
    elif kind == "mostly blank":
        scores[:, :, blank] += 6
    elif kind == "repeated":
        scores = np.repeat(scores, rng.integers(2, 5), axis=1)
    elif kind == "length 1":
        scores = scores[:, :1]
    return scores, blank


KINDS = ("any", "all blank", "mostly blank", "repeated", "length 1")
"""The kinds of scores on which decoders are likely to differ."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reference", [tensorflow_decode, keras_decode])
def test_best_path_equals_the_reference(reference: Reference, kind: str) -> None:
    """The ids are identical on ten thousand random batches, with the blank first or last."""
    rng = np.random.default_rng(KINDS.index(kind))
    for _ in range(BATCHES // len(KINDS)):
        scores, blank = random_scores(rng, kind)
        ours = [d.ids for d in ctc_greedy_decode(scores, blank=blank, kind="logits")]
        assert ours == reference(scores, blank)


@pytest.mark.parametrize("blank", [0, 4])
def test_no_time_steps_are_no_text(blank: int) -> None:
    """Without time steps nothing is read, as the references read nothing of length 0."""
    scores = np.random.default_rng(0).normal(0, 3, (2, 5, 5)).astype(np.float32)
    nothing = np.zeros(2, np.int32)
    [sparse], _ = tf.nn.ctc_greedy_decoder(
        scores.transpose(1, 0, 2).copy(), nothing, blank_index=blank
    )
    decoded, _ = keras.ops.ctc_decode(scores, nothing, strategy="greedy", mask_index=blank)
    assert not sparse.values.numpy().size
    assert (keras.ops.convert_to_numpy(decoded) == -1).all()
    ours = ctc_greedy_decode(scores[:, :0], blank=blank, kind="logits")
    assert [d.ids for d in ours] == [(), ()]
