"""Callbacks of a long training: the average of its weights, and its deadline."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.files import write_atomically
from captcha_rt_export.errors import RunError
from captcha_rt_export.run import Run
from captcha_rt_train.errors import NPZ_ERRORS

KEPT: Final = 0.999
"""How much of the average stays in a step of a long training."""


def growing(step: Any) -> Any:  # noqa: ANN401  (a number, or a tensor of one)
    """How much of an average stays at most in a step (from 0): less while it is of few steps."""
    return (1 + step) / (10 + step)


class WeightAverage(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Averages the weights over the last steps, which reads better than the last weights alone.

    Attributes:
        weights: The average, float32, in the order of `keras.Model.get_weights`.
        steps: The number of steps that it is of.
        kept: How much of it stays in a step, in 0..1.
    """

    def __init__(self, run: Run, network: keras.Model, steps: int, kept: float = KEPT) -> None:
        """Starts with a network's weights, or goes on with the average that the run stores.

        Args:
            run: The run.
            network: The network whose weights are averaged; the model that is trained may have
                one more head.
            steps: The steps that the run has done so far.
            kept: How much of the average stays in a step, in 0..1.

        Raises:
            RunError: If the run has done steps, but their average is missing or damaged.
        """
        super().__init__()
        self._file = run.average_file
        self._before = self._file.with_name(f"before-{self._file.name}")
        self._network = network
        self.steps = steps
        self.kept = kept
        self.weights = [np.array(weight, np.float32) for weight in network.get_weights()]
        if steps:
            found = _load_average(self._file, steps)
            if found is None:
                # A training that was killed between an epoch's average and its row: the average of
                # the epoch before is the right one.
                found = _load_average(self._before, steps)
                if found is not None:
                    self._before.replace(self._file)
            if found is None:
                raise RunError(
                    f"can't resume: {self._file} is not the average of the {steps} steps that were "
                    "done; choose another folder, and --start from a trunk if there is one"
                )
            self.weights = found

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Adds the weights after a step."""
        self.model  # noqa: B018  (JAX's trainer keeps the weights until a callback asks for it)
        keep = np.float32(min(self.kept, growing(self.steps)))
        for average, weight in zip(self.weights, self._network.get_weights(), strict=True):
            average *= keep
            average += (1 - keep) * weight
        self.steps += 1

    def put(self, weights: list[NDArray[np.float32]], steps: int) -> None:
        """Takes an average that was made elsewhere, of so many steps."""
        self.weights, self.steps = weights, steps

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Gives the network the average for a while, to be measured."""
        trained = self._network.get_weights()
        self._network.set_weights(self.weights)
        yield
        self._network.set_weights(trained)

    def save(self) -> None:
        """Writes the average, so that a resumed training goes on with it; keeps the last one."""
        if self._file.exists():
            self._file.replace(self._before)
        arrays: dict[str, Any] = {f"weight-{n}": weight for n, weight in enumerate(self.weights)}
        with write_atomically(self._file) as partial, partial.open("wb") as out:
            np.savez(out, steps=self.steps, **arrays)


def _load_average(file: Path, steps: int) -> list[NDArray[Any]] | None:
    """The average of the weights in a file; None if it can't be read, or is that of other steps."""
    try:
        with np.load(file) as data:
            if int(data["steps"]) != steps:
                return None
            return [data[f"weight-{n}"] for n in range(len(data) - 1)]
    except NPZ_ERRORS:
        return None


class Deadline(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Stops the training after an epoch, when the time is over."""

    def __init__(self, minutes: float) -> None:
        """Starts the clock.

        Args:
            minutes: The time, in minutes.
        """
        super().__init__()
        self._end = time.monotonic() + 60 * minutes

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Stops the training if it is time."""
        if time.monotonic() > self._end:
            self.model.stop_training = True
