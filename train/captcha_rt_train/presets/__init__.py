"""Presets: the documents' systems and our own, one TOML file each, beside this module.

A new preset is one file; the file's stem is the preset's name. docs/training.md says what the
documents are. `captcha-rt train` without a preset writes what it has chosen as such a file into the
run's folder, for a person to change and to train again. This module doesn't import NumPy, so that
the help of `captcha-rt train` can list the presets quickly.
"""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from captcha_rt_train.errors import TrainingError

if TYPE_CHECKING:
    from captcha_rt.recipe import Recipe

Monitor = Literal["loss", "accuracy"]

Letters = Literal["same", "other", "both"]
"""Which of a trunk's letters a label's letters stand for: the same ones, those of the other case,
as where labels in lower case were typed for capitals, or both."""


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
        epoch_steps: The least number of training steps of an epoch. With few pictures, an epoch
            uses each picture more often than `repeat` says.
        averaged: Whether the average of the weights over the last steps is the result. Then the
            learning rate needs not fall, and a training may end at any epoch.
        spliced: The fraction of the training pictures that are spliced of two, in 0..1: the left
            characters of one, the right ones of another, as soon as the network knows where
            they stand (`data.splicing`); for the decoder `ctc`.
        left_out: The largest fraction of the training pictures that an epoch leaves out since the
            network contradicts their labels, in 0..1, below 1. Where it contradicts more, none are
            left out: it can't read yet.
        plateau: Training stops after this number of epochs if the network then reads nothing; 0
            never does.
        bfloat16: Whether the network is trained in bfloat16 where the processor has it, with
            TensorFlow, or on an accelerator with JAX, which takes less time; its scores and what is
            saved stay in float32.
        minutes: Training stops after the epoch in which this time is over; None for no limit.
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
    epoch_steps: int = 0
    averaged: bool = False
    spliced: float = 0.0
    left_out: float = 0.0
    plateau: int = 0
    bfloat16: bool = False
    minutes: float | None = None
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
        fractions = (self.augmentation, self.curves, self.noise, self.spliced)
        if not all(0 <= value <= 1 for value in fractions):
            raise TrainingError("augmentation, curves, noise and spliced must be in 0..1")
        if not 0 <= self.left_out < 1:
            raise TrainingError(f"left out must be in 0..1, below 1, not {self.left_out}")
        if (
            min(
                self.local_weight,
                self.position_weight,
                self.warm_up,
                self.epoch_steps,
                self.plateau,
            )
            < 0
        ):
            raise TrainingError(
                "local weight, position weight, warm-up, epoch steps and plateau are at least 0"
            )
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise TrainingError(f"the minutes are a number above 0, not {self.minutes}")
        if self.local_weight and self.position_weight:
            raise TrainingError("set the local weight or the position weight, not both")
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            raise TrainingError(f"a seed is in 0..{2**32 - 1}, not {self.seed!r}")
        if not isinstance(self.licence, str):
            raise TrainingError(f"the licence is a text, not {self.licence!r}")
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
        start: The name of the trunk to start from, in `trunks`, or the path of a run's
            `model.keras`; empty starts with random weights.
        letters: Which of the trunk's letters the labels' letters stand for.
    """

    name: str
    document: str
    network: str
    decoder: str
    blank: bool
    recipe: "Recipe"
    settings: Settings
    layers: Mapping[str, Any] = field(default_factory=dict)
    start: str = ""
    letters: Letters = "same"


def preset_names() -> list[str]:
    """The names of all presets, sorted."""
    names = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def preset_text(name: str) -> str:
    """Reads the TOML file of one of `preset_names()`.

    Raises:
        TrainingError: If there is no such preset.
    """
    if name not in preset_names():
        raise TrainingError(
            f"no preset {name!r}; there are: {', '.join(preset_names())}, or name a .toml file"
        )
    return (files(__name__) / f"{name}.toml").read_text("utf-8")


def load_preset(name: str) -> Preset:
    """Reads a preset.

    Args:
        name: One of `preset_names()`, or the path of a TOML file.

    Raises:
        TrainingError: If there is no such preset, or the file is no preset.
    """
    path = Path(name)
    if path.suffix != ".toml":
        return _parse(name, preset_text(name))
    try:
        return _parse(path.stem, path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"can't read the preset {path}: {error}") from error


def write_preset(preset: Preset, comments: str) -> str:
    """Writes a preset as the text of a TOML file, which `load_preset` reads.

    Args:
        preset: The preset; its name is that of the file and is not written.
        comments: Lines to begin with, each as a comment.
    """
    defaults = {f.name: f.default for f in fields(Settings)}
    settings = {
        key: value
        for key, value in asdict(preset.settings).items()
        if value is not None and value != defaults[key]
    }
    steps = ",\n".join(f"    {_toml(step)}" for step in preset.recipe.to_json())
    top = {
        "document": preset.document,
        "network": preset.network,
        "decoder": preset.decoder,
        "blank": preset.blank,
        "start": preset.start,
        "letters": preset.letters,
    }
    return "\n".join(
        [
            *(f"# {line}".rstrip() for line in comments.splitlines()),
            "",
            *(f"{key} = {_toml(value)}" for key, value in top.items() if value != ""),
            "",
            f"recipe = [\n{steps},\n]",
            "",
            "[layers]",
            *(f"{key} = {_toml(value)}" for key, value in preset.layers.items()),
            "",
            "[training]",
            *(f"{key} = {_toml(value)}" for key, value in settings.items()),
            "",
        ]
    )


def _parse(name: str, text: str) -> Preset:
    from captcha_rt.recipe import Recipe  # loads NumPy and OpenCV

    values = tomllib.loads(text)
    if unknown := sorted(values.keys() - _KEYS):
        raise TrainingError(f"preset {name!r} has no setting {', '.join(unknown)}")
    letters = values.get("letters", "same")
    if letters not in get_args(Letters):
        raise TrainingError(f"letters is {letters!r}; it must be one of {get_args(Letters)}")
    return Preset(
        name=name,
        document=values.get("document", ""),
        network=values["network"],
        decoder=values["decoder"],
        blank=values["blank"],
        recipe=Recipe.from_json(values["recipe"]),
        settings=Settings(**values["training"]),
        layers=values.get("layers", {}),
        start=values.get("start", ""),
        letters=letters,
    )


_KEYS: Final = frozenset(
    ["document", "network", "decoder", "blank", "recipe", "training", "layers", "start", "letters"]
)


def _toml(value: object) -> str:
    """A value in TOML; strings, numbers, booleans and lists are written as JSON writes them."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key} = {_toml(item)}" for key, item in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)
