"""What happens after each epoch, and how a killed run is resumed.

Beside the weights, a run stores only its history. The best epoch, the patience that is left and the
next epoch follow from the history. An epoch's row is written after its weights, so that a run can
be resumed after a kill at any moment.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import keras

from captcha_rt.files import write_atomically
from captcha_rt.metrics import Evaluation
from captcha_rt_export.run import Run
from captcha_rt_train.presets import Monitor

NOTHING: Final = 0.05
"""A fraction of right characters that is as good as none."""


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Measures each epoch, writes checkpoints and history, and stops early.

    Attributes:
        history: One row per epoch: `epoch` (from 1); `loss` and `val_loss` (of the logits alone);
            `accuracy`, the fraction of the training characters that are right (missing with CTC);
            `val_accuracy`, the fraction of the validation characters that are right at their
            position; `val_exact_match`; `val_digit1`, `val_digit2`, ..., the accuracy at each
            position; `seconds`.
    """

    def __init__(
        self,
        run: Run,
        *,
        seed: int,
        max_epochs: int,
        patience: int,
        monitor: Monitor,
        measure: Callable[[], tuple[float, Evaluation]],
        plateau: int = 0,
        minutes: float | None = None,
    ) -> None:
        """Continues a network's history, if it has one.

        Args:
            run: The folder of the network's history and weights.
            seed: The network's seed.
            max_epochs: The largest number of epochs.
            patience: Training stops after this number of epochs without a better one.
            monitor: What makes an epoch better: `"loss"`, a lower validation loss, or `"accuracy"`,
                a higher validation accuracy, and at equal accuracy a lower validation loss.
            measure: Returns the loss and the metrics on the validation samples.
            plateau: Training stops after this number of epochs if the network is `stuck`; 0 never
                does.
            minutes: Training stops after the epoch in which the time is over, in minutes; those of
                the history count. None has no end.
        """
        super().__init__()
        self._run = run
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        self._seed = seed
        self._max_epochs = max_epochs
        self._patience = patience
        self._monitor = monitor
        self._measure = measure
        self._plateau = plateau
        self._seconds = float("inf") if minutes is None else 60 * minutes
        self.history = run.history()

    @property
    def done(self) -> int:
        """The number of completed epochs."""
        return len(self.history)

    @property
    def best(self) -> int:
        """The best epoch, from 1; the first of equally good epochs; 0 if there was no epoch."""

        def badness(row: dict[str, float]) -> tuple[float, float]:
            accuracy = row["val_accuracy"] if self._monitor == "accuracy" else 0
            return -accuracy, row["val_loss"]

        return int(min(self.history, key=badness)["epoch"]) if self.history else 0

    @property
    def stuck(self) -> bool:
        """Whether the network stands on CTC's plateau: it still reads next to nothing."""
        return 0 < self._plateau <= self.done and self.history[-1]["val_accuracy"] < NOTHING

    @property
    def finished(self) -> bool:
        """Whether training has to stop: it is done or stuck, or patience or time is used up."""
        return (
            self.done >= self._max_epochs
            or self.stuck
            or sum(row["seconds"] for row in self.history) >= self._seconds
            or (self.done > 0 and self.done - self.best >= self._patience)
        )

    def load_best(self, model: keras.Model) -> None:
        """Loads the weights of the best epoch into a model, if there was an epoch."""
        if self.done:
            model.load_weights(self._run.weights_file(self.best))

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Loads the last epoch's weights and optimizer state, if there was an epoch."""
        self._started = time.perf_counter()
        if self.done:
            self.model.load_weights(self._run.weights_file(self.done))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Seeds the dropout for the epoch, since Keras's checkpoints don't hold its state.

        The dropout's state is a seed and a counter of the draws. Each epoch has room for 2**16
        draws, so that no mask is drawn twice.
        """
        states = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        for number, state in enumerate(states):
            state.assign([(self._seed * 1000 + number) % 2**32, epoch << 16])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures the epoch, writes its weights, then its row, and stops if training is over."""
        logs = logs if logs is not None else {}
        val_loss, result = self._measure()
        measured = {
            "val_loss": val_loss,
            "val_accuracy": result.character_accuracy,
            "val_exact_match": result.exact_match,
            **{f"val_digit{i}": value for i, value in enumerate(result.position_accuracy, 1)},
        }
        logs.update(measured)  # for the callbacks that come later: Keras's bar, TensorBoard
        trained = {"loss": float(logs.get("logits_loss", logs["loss"]))}
        if "accuracy" in logs:
            trained["accuracy"] = float(logs["accuracy"])
        ended = time.perf_counter()  # what is written below counts for the next epoch
        seconds = round(ended - self._started, 2)
        row = {"epoch": epoch + 1, **trained, **measured, "seconds": seconds}
        self.history.append(row)

        with write_atomically(self._run.weights_file(self.done)) as path:
            self.model.save_weights(path)
        self._run.write_history(self.history)
        self._run.keep_weights(self.done, self.best)
        self._started = ended
        self.model.stop_training = self.finished
