"""The documents' systems and our own as presets: one TOML file each, beside this module.

A new preset is one file; its stem is its name. The import loads no NumPy, so that the help of
`captcha-rt train` can list the presets quickly.
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
        batch_size: The pictures of a training step.
        epochs: The largest number of epochs.
        patience: Training stops after this number of epochs without a better one.
        learning_rate: Adam's learning rate.
        validation: The share of the pictures that validate, in 0..1.
        monitor: What makes an epoch better: `"loss"` or `"accuracy"` of the validation pictures.
        falling_rate: Whether the learning rate falls along a cosine, over all epochs.
        augmentation: The strength of the changes to the training pictures, in 0..1.
        curves: The share of the changed pictures that get one more noise curve, in 0..1.
        noise: The share of the changed pictures that get noise and another contrast, in 0..1.
        augment_after: The number of the recipe's steps that run before the changes: steps that
            are costly run only once a picture, and others would fail on a changed picture.
        repeat: How often an epoch goes over the training pictures.
        clip_norm: The largest global norm of a step's gradients; None for no limit.
        local_weight: The weight of the CTC loss on the features; the logits' loss has 1.
        position_weight: The weight of the cross-entropy of a head for each place; the logits' loss
            has 1.
        warm_up: The epochs over which the strength of the changes grows from nothing; with a
            position weight, the weight of the CTC loss grows as well.
        test: The share of the pictures that is only read at the end, in 0..1.
        seed: Seeds the split, the weights, the shuffling, the augmentation and the dropout.
        characters: The charset's characters in order; None takes those of the labels.
        licence: The model's licence.

    Raises:
        TrainingError: If a number is out of range.
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
            raise TrainingError("epochs, batch size, patience and repeat are above 0")
        if not (self.learning_rate > 0 and (self.clip_norm is None or self.clip_norm > 0)):
            raise TrainingError("learning rate and clip norm are above 0")
        if not all(0 <= share <= 1 for share in (self.augmentation, self.curves, self.noise)):
            raise TrainingError("augmentation, curves and noise are in 0..1")
        if min(self.local_weight, self.position_weight, self.warm_up) < 0:
            raise TrainingError("local weight, position weight and warm-up are at least 0")
        if self.local_weight and self.position_weight:
            raise TrainingError("a network has a local head or a head for each place, not both")
        if self.monitor not in get_args(Monitor):
            raise TrainingError(f"monitor is {self.monitor!r}; it is one of {get_args(Monitor)}")
        if not (self.validation > 0 and self.test >= 0 and self.validation + self.test < 1):
            raise TrainingError(
                f"validation {self.validation} and test {self.test} leave nothing to train on; "
                "both are shares in 0..1, validation above 0"
            )


@dataclass(frozen=True, slots=True)
class Preset:
    """One system: its preprocessing, its network and how it is trained.

    Attributes:
        name: The file's stem.
        document: The document that it follows, `"000"` to `"004"`; empty for our own.
        network: The network's name in `networks.NETWORKS`.
        decoder: How the scores are read: a name in the runtime's `DECODERS`.
        blank: Whether the classes include a blank: CTC's, or for places without a character.
        recipe: The preprocessing.
        settings: The default settings of the training.
        layers: What the network takes beside its dimensions.
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
