"""Ctrl-C while a network runs: it waits until the code of Keras's backend has ended.

A KeyboardInterrupt that is raised while TensorFlow runs a step becomes a SystemError, or is lost.
JAX runs an epoch of `pretrain` in one call, in which Python can't act: there it waits for its end.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import keras


class Interrupts(keras.callbacks.Callback):  # type: ignore[misc]
    """Raises KeyboardInterrupt after the batch in which Ctrl-C was pressed."""

    def __init__(self) -> None:
        """Starts without an interrupt."""
        super().__init__()
        self.pressed = False

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:  # noqa: ARG002
        """Ends the training."""
        self.check()

    def check(self) -> None:
        """Raises what was kept back.

        Raises:
            KeyboardInterrupt: If Ctrl-C was pressed.
        """
        if self.pressed:
            raise KeyboardInterrupt


@contextmanager
def kept_back() -> Iterator[Interrupts]:
    """Keeps Ctrl-C back until the block ends, or a batch does for which the callback is asked.

    Pressed a second time, it acts at once. In another thread than the main one, which receives no
    signals, nothing changes.

    Raises:
        KeyboardInterrupt: At the end of the block, if Ctrl-C was pressed in it.
    """
    interrupts = Interrupts()
    before = signal.getsignal(signal.SIGINT)

    def keep(number: int, frame: FrameType | None) -> None:
        if interrupts.pressed and callable(before):
            before(number, frame)
        interrupts.pressed = True

    try:
        if callable(before):  # else the signal is ignored, as under nohup, or ends the program
            signal.signal(signal.SIGINT, keep)
    except ValueError:  # not in the main thread
        yield interrupts
        return
    try:
        yield interrupts
    finally:
        signal.signal(signal.SIGINT, before)
    interrupts.check()
