"""Batches that are drawn while the network trains on the ones before."""

from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.cores import available_cores
from captcha_rt.manifest import Manifest
from captcha_rt.steps import Scale
from captcha_rt_train.data.real import SHARE, RealPictures
from captcha_rt_train.generators.mixture.batch import DrawnBatch, draw_batch, start_worker

_AHEAD: Final = 12  # batches that are drawn in advance


class DrawnBatches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Batches of the mixture for `pretraining`, drawn by other processes.

    A batch depends on the seed, the epoch and its index only, so that a resumed training sees the
    same pictures as an uninterrupted one.
    """

    def __init__(
        self,
        faces: Path,
        manifest: Manifest,
        *,
        batch_size: int,
        steps: int,
        time_steps: int,
        seed: int,
        epoch: int,
        real: RealPictures | None = None,
    ) -> None:
        """Starts to draw the first batches.

        Args:
            faces: The file with the faces.
            manifest: Recipe and charset, as `draw_batch` takes them.
            batch_size: The pictures of a batch.
            steps: The batches of an epoch.
            time_steps: The time steps of the network's scores.
            seed: Chooses the pictures.
            epoch: The number of the first epoch, from 0.
            real: Labelled pictures; one picture in `SHARE` is one of them.
        """
        super().__init__(workers=1)
        self._faces = faces
        self._manifest = manifest
        self._batch_size = batch_size
        self._steps = steps
        self._time_steps = time_steps
        self._seed = seed
        self._epoch = epoch
        self._real = real
        self._real_size = 0 if real is None else -(-batch_size // SHARE)
        # Processes that are spawned share no locks with TensorFlow's threads.
        self._pool = ProcessPoolExecutor(
            max(1, available_cores() - 1),
            mp_context=get_context("spawn"),
            initializer=start_worker,
        )
        self._waiting: dict[int, Future[DrawnBatch]] = {}
        self._ask(epoch * steps)

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
        self._ask(step)
        drawn = self._waiting.pop(step).result()
        if self._real is not None:
            real = self._real.choose((self._seed, step), self._real_size)
            drawn = DrawnBatch(
                np.concatenate([drawn.pictures, real.pictures]),
                np.concatenate([drawn.labels, real.labels]),
                np.concatenate([drawn.columns, real.columns]),
            )
        times = (drawn.columns * self._time_steps).astype(np.int32).clip(0, self._time_steps - 1)
        target = {
            "labels": drawn.labels,
            "times": np.where(drawn.columns < 0, -1, times),
            "step": np.full(len(times), step, np.int32),
        }
        return Scale()(drawn.pictures), target

    def on_epoch_end(self) -> None:
        """Goes on to the next epoch; Keras calls it when no batch is being made."""
        self._epoch += 1

    def close(self) -> None:
        """Ends the processes that draw."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, step: int) -> None:
        """Starts to draw a batch and the next ones, unless that was done before.

        Args:
            step: The batch's number, counted from the first epoch's first batch.
        """
        for number in range(step, step + _AHEAD):
            if number not in self._waiting:
                self._waiting[number] = self._pool.submit(
                    draw_batch,
                    self._faces,
                    self._manifest,
                    (self._seed, number),
                    self._batch_size - self._real_size,
                )
