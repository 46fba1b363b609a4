"""Presets: the documents' systems and our own, one TOML file each, beside this module.

A new preset is one file; the file's stem is the preset's name. docs/training.md says what the
documents are. This module doesn't import NumPy, so that the help of `captcha-rt train` can list the
presets quickly.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, get_args

from captcha_rt_train.errors import TrainingError

if TYPE_CHECKING:
    from captcha_rt.recipe import Recipe

Monitor = Literal["loss", "accuracy"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run trains; a preset's numbers are the defaults.

    Attributes:
        batch_size: The number of pictures in a training step.
        epochs: The largest number of epochs.
        patience: Training stops after this number of epochs without a better one.
        learning_rate: Adam's learning rate.
        validation: The fraction of the pictures for validation, in 0..1, above 0.
        monitor: What makes an epoch better: the validation pictures' `"loss"` or `"accuracy"`.
        falling_rate: Whether the learning rate falls along a cosine, over all epochs.
        augmentation: The strength of the changes to the training pictures, in 0..1.
        curves: The fraction of the changed pictures that get one more noise curve, in 0..1.
        noise: The fraction of the changed pictures that get noise and another contrast, in 0..1.
        augment_after: The number of the recipe's steps that run before the changes. Costly steps
            then run only once for each picture, and some steps would fail on a changed picture.
        repeat: How often an epoch uses each training picture.
        clip_norm: The largest global norm of a step's gradients; None for no limit.
        local_weight: The weight of the loss of `networks.with_local_head`, beside 1 for the loss of
            the logits; 0 for no such head.
        position_weight: The weight of the loss of `networks.with_position_head`, beside 1 for the
            loss of the logits; 0 for no such head.
        warm_up: The number of epochs over which the strength of the changes grows from 0. With a
            second head, the weight of the logits' loss grows as well.
        test: The fraction of the pictures for the test, in 0..1; they are read only at the end.
        seed: Seeds the split, the weights, the shuffling, the augmentation and the dropout.
        characters: The charset's characters in order; None takes those of the labels, sorted.
        licence: The model's licence, as an SPDX expression where there is one.

    Raises:
        TrainingError: If a value is out of range, or two settings exclude each other.
    """

    batch_size: int
    epochs: int
    patience: int
    learning_rate: float
    validation: float
    monitor: Monitor = "loss"
    falling_rate: bool = False
    augmentation: float = 0.0
    curves: float = 0.0
    noise: float = 0.0
    augment_after: int = 0
    repeat: int = 1
    clip_norm: float | None = None
    local_weight: float = 0.0
    position_weight: float = 0.0
    warm_up: int = 0
    test: float = 0.0
    seed: int = 0
    characters: str | None = None
    licence: str = "unknown"

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.patience, self.repeat) < 1:
            raise TrainingError("epochs, batch size, patience and repeat must be above 0")
        if not (self.learning_rate > 0 and (self.clip_norm is None or self.clip_norm > 0)):
            raise TrainingError("learning rate and clip norm must be above 0")
        if not all(0 <= value <= 1 for value in (self.augmentation, self.curves, self.noise)):
            raise TrainingError("augmentation, curves and noise must be in 0..1")
        if min(self.local_weight, self.position_weight, self.warm_up) < 0:
            raise TrainingError("local weight, position weight and warm-up must be at least 0")
        if self.local_weight and self.position_weight:
            raise TrainingError("set the local weight or the position weight, not both")
        if self.monitor not in get_args(Monitor):
            raise TrainingError(
                f"monitor is {self.monitor!r}; it must be one of {get_args(Monitor)}"
            )
        if not (self.validation > 0 and self.test >= 0 and self.validation + self.test < 1):
            raise TrainingError(
                f"validation {self.validation} and test {self.test} leave nothing to train on; "
                "both must be fractions in 0..1, validation above 0"
            )


@dataclass(frozen=True, slots=True)
class Preset:
    """One system: its preprocessing, its network and its training settings.

    Attributes:
        name: The file's stem.
        document: The document that the system follows, `"000"` to `"004"`; empty for our own.
        network: The network's name in `networks.NETWORKS`.
        decoder: How the scores are read: a name in the runtime's `DECODERS`.
        blank: Whether the classes include a blank, for CTC or for places without a character.
        recipe: The preprocessing.
        settings: The default settings of the training.
        layers: The keyword arguments that the network's function takes beside its dimensions.
    """

    name: str
    document: str
    network: str
    decoder: str
    blank: bool
    recipe: "Recipe"
    settings: Settings
    layers: Mapping[str, Any] = field(default_factory=dict)


def preset_names() -> list[str]:
    """The names of all presets, sorted."""
    names = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_preset(name: str) -> Preset:
    """Reads a preset.

    Args:
        name: One of `preset_names()`.

    Raises:
        TrainingError: If there is no such preset.
    """
    if name not in preset_names():
        raise TrainingError(f"no preset {name!r}; there are: {', '.join(preset_names())}")
    from captcha_rt.recipe import Recipe  # loads NumPy and OpenCV

    values = tomllib.loads((files(__name__) / f"{name}.toml").read_text("utf-8"))
    return Preset(
        name=name,
        document=values.get("document", ""),
        network=values["network"],
        decoder=values["decoder"],
        blank=values["blank"],
        recipe=Recipe.from_json(values["recipe"]),
        settings=Settings(**values["training"]),
        layers=values.get("layers", {}),
    )
