"""Ctrl-C while a network is trained."""

import signal

import keras
import numpy as np
import pytest

from captcha_rt_train.training.interrupts import kept_back


class _Press(keras.callbacks.Callback):
    """Presses Ctrl-C before the first batch, and counts the batches that ended."""

    ended = 0

    def on_train_batch_begin(self, batch: int, logs: object = None) -> None:  # noqa: ARG002
        signal.raise_signal(signal.SIGINT)

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002
        self.ended += 1


def test_a_batch_is_ended_first() -> None:
    """Inside of TensorFlow a KeyboardInterrupt becomes a SystemError, or is lost."""
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    press = _Press()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), kept_back() as interrupts:
        model.fit(np.zeros((8, 1)), np.zeros(8), 2, callbacks=[press, interrupts], verbose=0)
    assert press.ended == 1
    assert signal.getsignal(signal.SIGINT) == before


def test_it_is_not_lost_after_the_last_batch() -> None:
    """What was pressed in the block is raised at its end."""
    with pytest.raises(KeyboardInterrupt), kept_back():
        signal.raise_signal(signal.SIGINT)


def test_the_second_time_acts_at_once() -> None:
    """Whoever presses it twice doesn't want to wait."""
    with kept_back() as interrupts:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        interrupts.pressed = False
