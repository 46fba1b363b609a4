"""A trunk: the weights of a network that others start from, in one small file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.files import write_atomically
from captcha_rt_export.errors import ExportError
from captcha_rt_export.run import Run
from captcha_rt_train.errors import NPZ_ERRORS, TrainingError
from captcha_rt_train.networks import RESIDUAL
from captcha_rt_train.presets import Letters, Preset
from captcha_rt_train.trunks import TRUNKS


@dataclass(frozen=True, slots=True)
class Trunk:
    """The weights of a network.

    Attributes:
        preset: The name of the network's preset.
        characters: The characters of its classes, without the blank, which is class 0.
        seed: The seed of the pictures that it was trained on.
        pictures: The number of pictures that it has seen, each time counted.
        weights: All weights, in the order of `keras.Model.get_weights`; float16 in a file.
    """

    preset: str
    characters: str
    seed: int
    pictures: int
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
                pictures=self.pictures,
                **arrays,
            )

    def weights_for(self, model: keras.Model) -> list[NDArray[np.float32] | None]:
        """The trunk's weights in the order of a model's: None for those that it lacks.

        A trunk may lack the residual convolutions, all of them: they change nothing at first.

        Raises:
            TrainingError: If the model has other layers.
        """
        lacking: set[int] = set()
        if len(self.weights) != len(model.weights):
            residuals = [layer for layer in model.layers if layer.name.startswith(RESIDUAL)]
            lacking = {id(variable) for layer in residuals for variable in layer.weights}
        wanted = [tuple(v.shape) for v in model.weights if id(v) not in lacking]
        if wanted != [weight.shape for weight in self.weights]:
            raise TrainingError(
                f"the trunk of the preset {self.preset!r} has weights of other shapes than the "
                "network: it was made with another version of the preset"
            )
        found = iter(self.weights)
        return [None if id(v) in lacking else next(found).astype(np.float32) for v in model.weights]

    def load_into(self, model: keras.Model, characters: str) -> None:
        """Gives a model the weights; what the trunk lacks stays as it is (`weights_for`).

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
        weights = zip(self.weights_for(model), model.get_weights(), strict=True)
        model.set_weights([own if weight is None else weight for weight, own in weights])

    def adapt_to(self, model: keras.Model, characters: str, letters: Letters, seed: int) -> None:
        """Starts a network for other characters, and for one channel or three.

        Each character starts with the row of scores that the trunk has for it: a new row for a
        character that the trunk knows is the worst mistake with few pictures. A network that sees
        one channel sums the first kernel over the channels: so it sees a grey picture as the trunk
        does.

        Args:
            model: A network of the trunk's preset, with any characters and 1 or 3 channels. The
                input may have any width. The blank is class 0.
            characters: The characters of the model's classes, without the blank.
            letters: Which rows the letters start with.
            seed: The seed of the rows of characters that the trunk doesn't know.

        Raises:
            TrainingError: If the model has other layers.
        """
        weights = [weight.astype(np.float32) for weight in self.weights]
        if model.input_shape[-1] == 1 and weights[0].shape[2] > 1:
            weights[0] = weights[0].sum(axis=2, keepdims=True)
        kernel, bias = weights[-2:]
        before = kernel.shape[:-1]  # a last convolution's kernel has a width, too
        kernel = kernel.reshape(-1, kernel.shape[-1])
        rows = [_rows(character, self.characters, letters) for character in characters]
        rng = np.random.default_rng(seed)
        new_kernel = rng.normal(0, kernel.std(), (len(kernel), 1 + len(rows))).astype(np.float32)
        new_bias = np.full(1 + len(rows), bias[1:].mean(), np.float32)
        new_kernel[:, 0], new_bias[0] = kernel[:, 0], bias[0]
        for place, classes in enumerate(rows, 1):
            if classes:
                new_kernel[:, place] = kernel[:, classes].mean(axis=1)
                new_bias[place] = bias[classes].mean()
        weights[-2:] = new_kernel.reshape(*before, -1), new_bias
        if [weight.shape for weight in model.get_weights()] != [w.shape for w in weights]:
            raise TrainingError(
                f"the weights of {self.preset!r} are not those of a network with these layers"
            )
        model.set_weights(weights)


def _rows(character: str, known: str, letters: Letters) -> list[int]:
    """The trunk's classes that a character starts with: one, two, or none if it is unknown."""
    other = character.swapcase()
    wanted = {"same": (character,), "other": (other,), "both": (character, other)}[letters]
    found = [1 + known.index(c) for c in dict.fromkeys(wanted) if c in known]
    return found or [1 + known.index(c) for c in (character, other) if c in known][:1]


def start_from(preset: Preset, model: keras.Model, charset: Charset, seed: int) -> None:
    """Gives a new network the weights that its preset starts from, if it names any.

    Raises:
        TrainingError: If there is no such trunk or model, or it is another network's.
    """
    if preset.start.endswith(".keras"):
        trunk = _trunk_of(Path(preset.start))
    elif preset.start in TRUNKS:
        trunk = load_trunk(TRUNKS[preset.start])
    elif preset.start:
        raise TrainingError(
            f"no trunk {preset.start!r}; there are: {', '.join(TRUNKS)}, or the model.keras of a "
            "run"
        )
    else:
        return
    trunk.adapt_to(model, charset.characters, preset.letters, seed)


def _trunk_of(file: Path) -> Trunk:
    """The weights of a run's model; its description lies beside it."""
    try:
        manifest = Run(file.parent).manifest
        model = keras.models.load_model(file, compile=False)
    except (ExportError, OSError, ValueError, KeyError) as error:
        raise TrainingError(f"can't start from {file}: {error}") from error
    if manifest.decoder != "ctc" or manifest.charset.blank != 0:
        raise TrainingError(
            f"can't start from {file}: only models with CTC, whose blank is class 0, can learn "
            "other characters"
        )
    weights = tuple(model.get_weights())
    return Trunk(manifest.name, manifest.charset.characters, 0, 0, weights)


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
                pictures=int(data["pictures"]),
                weights=tuple(data[name] for name in names),
            )
    except NPZ_ERRORS as error:
        raise TrainingError(
            f"can't read the trunk {file}: {error}; `captcha-rt pretrain` writes a trunk.npz"
        ) from error
