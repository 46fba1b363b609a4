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


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Measures, writes checkpoints and history, and stops early.

    Attributes:
        history: A row an epoch: epoch (from 1), loss and val_loss (of the logits alone),
            val_exact_match, seconds.
    """

    def __init__(
        self, run: Path, *, seed: int, patience: int, exact_match: Callable[[], float]
    ) -> None:
        """Takes up the run's history, if it has one.

        Args:
            run: The run's folder.
            seed: The run's seed.
            patience: Epochs without a better validation loss before training stops.
            exact_match: Measures the model on the validation pictures.
        """
        super().__init__()
        self._csv = run / "history.csv"
        self._checkpoint = run / "checkpoint"
        self._checkpoint.mkdir(exist_ok=True)
        self._seed = seed
        self._patience = patience
        self._exact_match = exact_match
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
        """The epoch of the lowest validation loss, from 1; 0 before the first."""
        return (
            int(min(self.history, key=lambda row: row["val_loss"])["epoch"]) if self.history else 0
        )

    @property
    def exhausted(self) -> bool:
        """Whether the validation loss has not improved for too long."""
        return self.done - self.best >= self._patience

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
        logs["val_exact_match"] = self._exact_match()
        row = {
            "epoch": epoch + 1,
            "loss": float(logs["logits_loss"]),
            "val_loss": float(logs["val_logits_loss"]),
            "val_exact_match": logs["val_exact_match"],
            "seconds": round(time.perf_counter() - self._started, 2),
        }
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
        self.model.stop_training = self.exhausted
