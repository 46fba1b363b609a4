"""A trunk: the weights of a network that others start from, in one small file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.files import write_atomically
from captcha_rt_train.errors import NPZ_ERRORS, TrainingError


@dataclass(frozen=True, slots=True)
class Trunk:
    """The weights of a network.

    Attributes:
        preset: The name of the network's preset.
        characters: The characters of its classes, without the blank, which is class 0.
        seed: The seed of the pictures that it was trained on.
        epoch: The number of epochs that it was trained.
        weights: All weights, in the order of `keras.Model.get_weights`; float16 in a file.
    """

    preset: str
    characters: str
    seed: int
    epoch: int
    weights: tuple[NDArray[Any], ...]

    def save(self, file: Path) -> None:
        """Writes the trunk to an `.npz` file, in float16: half the bytes."""
        arrays: dict[str, Any] = {
            f"weight-{n:03d}": w.astype(np.float16) for n, w in enumerate(self.weights)
        }
        with write_atomically(file) as partial, partial.open("wb") as out:
            np.savez(
                out,
                preset=self.preset,
                characters=self.characters,
                seed=self.seed,
                epoch=self.epoch,
                **arrays,
            )

    def load_into(self, model: keras.Model, characters: str) -> None:
        """Gives a model the weights.

        Args:
            model: A network of the trunk's preset.
            characters: The characters of the model's classes, without the blank.

        Raises:
            TrainingError: If the model has other characters or other layers.
        """
        if self.characters != characters:
            raise TrainingError(
                f"the trunk reads the characters {self.characters}, the network {characters}: "
                "it was made with another version of the mixture"
            )
        wanted = [weight.shape for weight in model.get_weights()]
        found = [weight.shape for weight in self.weights]
        if wanted != found:
            raise TrainingError(
                f"the trunk of the preset {self.preset!r} has weights of other shapes than the "
                "network: it was made with another version of the preset"
            )
        model.set_weights([weight.astype(np.float32) for weight in self.weights])


def load_trunk(file: Path) -> Trunk:
    """Reads what `Trunk.save` wrote.

    Raises:
        TrainingError: If the file can't be read, or is no trunk.
    """
    try:
        with np.load(file) as data:
            names = sorted(name for name in data if name.startswith("weight-"))
            return Trunk(
                preset=str(data["preset"]),
                characters=str(data["characters"]),
                seed=int(data["seed"]),
                epoch=int(data["epoch"]),
                weights=tuple(data[name] for name in names),
            )
    except NPZ_ERRORS as error:
        raise TrainingError(
            f"can't read the trunk {file}: {error}; `captcha-rt pretrain` writes a trunk.npz"
        ) from error
