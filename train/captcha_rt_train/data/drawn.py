"""Batches of a pool's pictures, with a few real ones."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.steps import Scale
from captcha_rt_train.data.pool import Pool
from captcha_rt_train.data.real import RealPictures, real_in
from captcha_rt_train.generators.mixture.batch import DrawnBatch


def time_steps(columns: Any, count: int) -> Any:  # noqa: ANN401  (arrays of NumPy or of JAX)
    """The time steps at which characters stand: int32, -1 where the place is not known.

    Args:
        columns: Their places as fractions of the width, float32 of any shape; -1 if not known.
        count: The time steps of the network's scores.
    """
    steps = (columns * count).astype(np.int32).clip(0, count - 1)
    return steps * (columns >= 0) - (columns < 0)


class DrawnBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches for `pretraining`; a thread makes the next ones while the network trains.

    A batch depends on the seed, the epoch and its index only, so that a resumed training sees the
    same pictures as an uninterrupted one.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        batch_size: int,
        steps: int,
        time_steps: int,
        seed: int,
        epoch: int,
        real: RealPictures | None = None,
    ) -> None:
        """Prepares batches.

        Args:
            pool: The drawn pictures.
            batch_size: The pictures of a batch.
            steps: The batches of an epoch.
            time_steps: The time steps of the network's scores.
            seed: Chooses the pictures.
            epoch: The number of the first epoch, from 0.
            real: Labelled pictures; one picture in `SHARE` is one of them.
        """
        super().__init__(workers=1)
        self._pool = pool
        self._batch_size = batch_size
        self._steps = steps
        self._time_steps = time_steps
        self._seed = seed
        self._epoch = epoch
        self._real = real
        self._real_size = 0 if real is None else real_in(batch_size)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return self._steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The batch at `index` of the epoch.

        Returns:
            The inputs, `(N, H, W, 3)` float32 in 0..1, and what `AlignedModel.compute_loss` takes
            as `y`.
        """
        step = self._epoch * self._steps + index
        size = self._batch_size - self._real_size
        drawn = self._pool.choose(self._seed, step * size, size)
        if self._real is not None:
            real = self._real.choose((self._seed, step), self._real_size)
            drawn = DrawnBatch(
                np.concatenate([drawn.pictures, real.pictures]),
                np.concatenate([drawn.labels, real.labels]),
                np.concatenate([drawn.columns, real.columns]),
            )
        target = {
            "labels": drawn.labels,
            "times": time_steps(drawn.columns, self._time_steps),
            "step": np.full(self._batch_size, step, np.int32),
        }
        return Scale()(drawn.pictures), target

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch; Keras calls it when no batch is being made."""
        self._epoch += 1
