"""What happens after each epoch: measure, keep, stop; and how a killed run goes on.

`history.csv` is the run's only memory beside the weights: the best epoch, the patience left and
the epoch to go on from are read from it. A row is written after the weights that it speaks of, so
that a kill at any moment leaves a state to go on from.
"""

import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from captcha_rt.files import write_atomically
from captcha_rt.metrics import Evaluation
from captcha_rt_train.presets import Monitor


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Measures, writes checkpoints and history, and stops early.

    Attributes:
        history: A row an epoch: epoch (from 1), loss and val_loss (of the logits alone), accuracy
            (of the training characters, where each has its place), val_accuracy (the same of the
            validation texts), val_exact_match, val_digit1 and so on (the share right at each
            place), seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        most: int,
        patience: int,
        monitor: Monitor,
        measure: Callable[[], tuple[float, Evaluation]],
    ) -> None:
        """Takes up a network's history, if it has one.

        Args:
            folder: Where its history and weights lie.
            seed: The network's seed.
            most: The number of epochs after which training stops in any case.
            patience: Epochs that are not better before training stops.
            monitor: What makes an epoch better: a lower validation loss, or a higher accuracy
                (of equals the lower loss).
            measure: Gives the loss and the figures on the validation pictures.
        """
        super().__init__()
        self._csv = folder / "history.csv"
        self._checkpoint = folder / "checkpoint"
        self._checkpoint.mkdir(parents=True, exist_ok=True)
        self._seed = seed
        self._most = most
        self._patience = patience
        self._monitor = monitor
        self._measure = measure
        self.history: list[dict[str, float]] = []
        if self._csv.exists():
            with self._csv.open(newline="", encoding="utf-8") as file:
                self.history = [
                    {**{k: float(v) for k, v in row.items()}, "epoch": number}
                    for number, row in enumerate(csv.DictReader(file), 1)
                ]

    @property
    def done(self) -> int:
        """The number of whole epochs."""
        return len(self.history)

    @property
    def best(self) -> int:
        """The best epoch, from 1, the first of equals; 0 before the first."""

        def badness(row: dict[str, float]) -> tuple[float, float]:
            accuracy = row["val_accuracy"] if self._monitor == "accuracy" else 0
            return -accuracy, row["val_loss"]

        return int(min(self.history, key=badness)["epoch"]) if self.history else 0

    @property
    def finished(self) -> bool:
        """Whether there were enough epochs, or no better one for too long."""
        return self.done >= self._most or (
            self.done > 0 and self.done - self.best >= self._patience
        )

    def weights(self, epoch: int) -> Path:
        """The file with an epoch's weights; there are those of the last and of the best."""
        return self._checkpoint / f"epoch-{epoch:04d}.weights.h5"

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Takes up the last epoch's weights and optimizer state."""
        if self.done:
            self.model.load_weights(self.weights(self.done))

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Seeds the dropout by epoch: Keras keeps its state in no checkpoint.

        A state is a seed and a counter of the draws; 2**16 draws lie between two epochs, so that
        no mask comes twice.
        """
        self._started = time.perf_counter()
        states = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        for number, state in enumerate(states):
            state.assign([(self._seed * 1000 + number) % 2**32, epoch << 16])

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measures, writes the weights, then the row, then stops if it is time."""
        logs = logs if logs is not None else {}
        val_loss, figures = self._measure()
        measured = {
            "val_loss": val_loss,
            "val_accuracy": figures.character_accuracy,
            "val_exact_match": figures.exact_match,
            **{f"val_digit{i}": share for i, share in enumerate(figures.position_accuracy, 1)},
        }
        logs.update(measured)  # for callbacks that come after: Keras's bar, TensorBoard
        trained = {"loss": float(logs.get("logits_loss", logs["loss"]))}
        if "accuracy" in logs:
            trained["accuracy"] = float(logs["accuracy"])
        seconds = round(time.perf_counter() - self._started, 2)
        row = {"epoch": epoch + 1, **trained, **measured, "seconds": seconds}
        self.history.append(row)

        with write_atomically(self.weights(self.done)) as path:
            self.model.save_weights(path)
        with (
            write_atomically(self._csv) as path,
            path.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerows(self.history)
        wanted = {self.weights(self.done), self.weights(self.best)}
        for path in set(self._checkpoint.iterdir()) - wanted:
            path.unlink()
        self.model.stop_training = self.finished
