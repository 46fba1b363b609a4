"""Chooses how to train on a folder of labelled pictures, and says why.

What the small network's trunk makes of the pictures as they are decides: of several ways to see
them (grey, in colour, the alpha channel) and to read their labels (the letters' case), the one that
the trunk finds likeliest is taken; and where it finds none likely, the larger network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from numpy.typing import NDArray

from captcha_rt.charset import Charset
from captcha_rt.errors import RecipeError
from captcha_rt.recipe import Recipe
from captcha_rt_export.spread import spread
from captcha_rt_train.data.samples import Dataset, Sample, characters_of
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.networks import NETWORKS, Dimensions
from captcha_rt_train.presets import Letters, Preset, Settings, load_preset
from captcha_rt_train.training.fitting import repeats
from captcha_rt_train.training.trunk import Trunk, load_trunk
from captcha_rt_train.trunks import TRUNKS

TRUNK: Final = "slim"
"""The preset of the small network; people's own captchas are looked at with its trunk."""

LARGER: Final = "general"
"""The preset of the larger network, for pictures that the small one's trunk finds hard."""

HEIGHT: Final = 48
"""The rows that the network sees."""

_LOOKED_AT: Final = 160  # pictures that the candidates are compared on
_ROOM: Final = 2.2  # time steps a character, blanks between equal characters included
_STRIDE: Final = 4  # columns a time step
_WIDTHS: Final = 64, 768
_AS_GOOD: Final = 1.03  # a loss so much larger is as good: grey takes less time than colour
_CLEARLY: Final = 0.9  # another case of the letters has to lower the loss to this fraction
_ALPHA: Final = 3

_HARD: Final = 0.45
"""The loss a character from which on the larger network is taken. Three real kinds and two packages
that the small one learns to read have 0.09 to 0.43, and five further packages 0.57 to 1.23."""

_EPOCH: Final = 50  # steps
_BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen for a folder.

    Attributes:
        preset: How to train.
        reasons: Why, a line each.
    """

    preset: Preset
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _View:
    """A way to see the pictures and to read the labels, and how likely the trunk finds it.

    Attributes:
        step: The recipe's first step.
        letters: Which of the trunk's letters the labels' letters are.
        loss: The mean of CTC's loss a character.
    """

    step: dict[str, Any]
    letters: Letters
    loss: float


def choose(
    dataset: Dataset, name: str, minutes: float, seed: int, *, small: bool = False
) -> Choice:
    """Chooses network, recipe, input size, time steps, start and settings for a data set.

    Args:
        dataset: Labelled pictures, read with any recipe; at least one.
        name: The name of the preset to make.
        minutes: The time that the training may take.
        seed: Seeds whatever is drawn at random.
        small: Whether to take the small network, however hard the pictures are.

    Returns:
        A preset that starts from a trunk, and the reasons.

    Raises:
        TrainingError: If no way to see the pictures shows anything.
    """
    samples = [sample for sample in dataset.samples if sample.label]
    looking = load_preset(TRUNK)
    frame, frame_reason = _frame(samples)
    looked_at = spread(samples, _LOOKED_AT)
    trunk = load_trunk(TRUNKS[TRUNK])
    views = [
        view
        for step in _steps(looked_at)
        for view in _views(looked_at, step, frame, looking, trunk)
    ]
    if not views:
        raise TrainingError("no recipe can use these pictures: see why each was skipped")
    view, view_reasons = _best(views, looked_at)
    characters = dataset.charset.characters
    network, network_reason = _network(view, small=small)
    base = load_preset(network)
    settings, settings_reason = _settings(base.settings, samples, minutes, seed)
    preset = replace(
        base,
        name=name,
        recipe=Recipe.from_json([view.step, frame, {"step": "scale"}]),
        settings=settings,
        start=network,
        letters=view.letters,
    )
    lengths = sorted({len(sample.label) for sample in samples})
    length = (
        f"{lengths[0]} characters each"
        if len(lengths) == 1
        else f"{lengths[0]} to {lengths[-1]} characters"
    )
    reasons = (
        f"charset: {characters} ({len(characters)}), {length}",
        *view_reasons,
        frame_reason,
        network_reason,
        settings_reason,
    )
    return Choice(preset, reasons)


def go_on_from(file: Path, preset: Preset, dataset: Dataset, minutes: float, seed: int) -> Choice:
    """Chooses how to go on with an earlier run's model, for more or other pictures.

    Args:
        file: The run's `model.keras`.
        preset: What the run was trained with.
        dataset: Its pictures and the new ones.
        minutes: The time that the training may take.
        seed: Seeds whatever is drawn at random.

    Returns:
        The preset, with a wider input if the new texts or pictures need one, and the reasons.
    """
    samples = [sample for sample in dataset.samples if sample.label]
    frame, _ = _frame(samples)
    frame_reason = "input: as before"
    steps = preset.recipe.to_json()
    places = [place for place, step in enumerate(steps) if step["step"] in ("fit", "resize")]
    if preset.network == load_preset(TRUNK).network and places:
        old = steps[places[-1]]
        width = max(frame["width"], old["width"])
        steps[places[-1]] = {**old, "width": width}
        frame_reason = f"input: {width} x {old['height']}, "
        frame_reason += "as before" if width == old["width"] else "wider, for the new pictures"
    settings, settings_reason = _settings(preset.settings, samples, minutes, seed)
    settings = replace(settings, learning_rate=settings.learning_rate / 2)
    characters = dataset.charset.characters
    reasons = (
        f"start: {file}; charset: {characters} ({len(characters)})",
        frame_reason,
        settings_reason,
    )
    recipe = Recipe.from_json(steps)
    chosen = replace(
        preset, recipe=recipe, settings=settings, start=str(file.resolve()), letters="same"
    )
    return Choice(chosen, reasons)


def case_hint(labels: Sequence[str]) -> str | None:
    """A hint where the labels have one case only, although letters of both may be shown."""
    letters = {c for label in labels for c in label if c.lower() != c.upper()}
    cases = {c.islower() for c in letters}
    if len(letters) < 5 or len(cases) != 1:
        return None
    return f"all letters in the labels are {'lower' if cases.pop() else 'upper'} case"


def _frame(samples: Sequence[Sample]) -> tuple[dict[str, Any], str]:
    """The recipe's step to the network's size, and why."""
    shapes = [sample.picture.shape for sample in samples]
    aspect = float(np.quantile([width / height for height, width, _ in shapes], 0.95))
    longest = max(len(s.label) + sum(a == b for a, b in pairwise(s.label)) for s in samples)
    needed = _multiple(_ROOM * longest * _STRIDE)
    width = min(max(_multiple(aspect * HEIGHT), _WIDTHS[0]), _WIDTHS[1])
    sizes = {(w, h) for h, w, _ in shapes}
    what = (
        f"{len(sizes)} sizes"
        if len(sizes) > 1
        else " x ".join(str(side) for side in next(iter(sizes)))
    )
    if needed > width:
        return (
            {"step": "resize", "height": HEIGHT, "width": needed},
            f"input: {needed} x {HEIGHT}, stretched, so that {longest} characters have "
            f"{needed // _STRIDE} time steps; the pictures have {what}",
        )
    return (
        {"step": "fit", "height": HEIGHT, "width": width},
        f"input: {width} x {HEIGHT}, the aspect kept, {width // _STRIDE} time steps; "
        f"the pictures have {what}",
    )


def _multiple(columns: float) -> int:
    return math.ceil(columns / _STRIDE) * _STRIDE


def _steps(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """The first steps of a recipe that are worth a look, the cheapest first."""
    pictures = [sample.picture for sample in samples]
    steps: list[dict[str, Any]] = [{"step": "grey", "over_white": True}]
    if any(_coloured(picture) for picture in pictures):
        steps.append({"step": "rgb"})
    if all(p.shape[2] > _ALPHA and np.ptp(p[:, :, _ALPHA]) > 0 for p in pictures):
        steps.append({"step": "channel", "index": _ALPHA})
    return steps


def _coloured(picture: NDArray[np.uint8]) -> bool:
    if picture.shape[2] < _ALPHA:
        return False
    colours = picture[:, :, :3].astype(np.int16)
    return bool(np.ptp(colours, axis=2).max() > 8)


def _views(
    samples: Sequence[Sample],
    step: dict[str, Any],
    frame: dict[str, Any],
    base: Preset,
    trunk: Trunk,
) -> list[_View]:
    """The views of one first step: with each case of the letters."""
    recipe = Recipe.from_json([step, frame, {"step": "scale"}])
    try:
        rows = np.stack([recipe.apply(sample.picture) for sample in samples])
    except RecipeError:
        return []
    charset = Charset(characters_of(samples), blank=0)
    longest = max(len(sample.label) for sample in samples)
    labels = np.zeros((len(samples), longest), np.int32)
    for row, sample in zip(labels, samples, strict=True):
        row[: len(sample.label)] = charset.encode(sample.label)
    dimensions = Dimensions(rows.shape[1:], longest, charset.classes)
    model = NETWORKS[base.network](dimensions, **base.layers)
    has_letters = any(c.swapcase() != c for c in charset.characters)
    every: tuple[Letters, ...] = ("same", "other", "both") if has_letters else ("same",)
    found = []
    for letters in every:
        trunk.adapt_to(model, charset.characters, letters, seed=0)
        scores = model.predict(rows, batch_size=64, verbose=0)
        loss = float(keras.losses.CTC()(labels, scores)) / (labels > 0).sum() * len(labels)
        found.append(_View(step, letters, loss))
    return found


def _best(views: Sequence[_View], samples: Sequence[Sample]) -> tuple[_View, list[str]]:
    """The view to take, and why."""
    best = min(views, key=lambda view: view.loss)
    cheap = min((v for v in views if v.step == views[0].step), key=lambda view: view.loss)
    view = cheap if cheap.loss <= best.loss * _AS_GOOD else best
    same = next(v for v in views if v.step == view.step and v.letters == "same")
    if view.loss > _CLEARLY * same.loss:
        view = same
    others = {v.step["step"]: v.loss for v in reversed(views) if v.letters == "same"}
    what = {"grey": "grey", "rgb": "colour", "channel": "the alpha channel"}
    losses = ", ".join(f"{what[name]} {loss:.2f}" for name, loss in sorted(others.items()))
    channels = f"channels: {what[view.step['step']]}"
    if len(others) > 1:
        channels += f" (the trunk's loss a character: {losses})"
    reasons = [channels]
    hint = case_hint([sample.label for sample in samples])
    if view.letters != "same":
        meant = "letters of the other case" if view.letters == "other" else "letters of both cases"
        reasons.append(
            f"case: the labels are kept, but the pictures seem to show {meant} "
            f"(loss {view.loss:.2f} against {same.loss:.2f})"
        )
    elif hint:
        reasons.append(f"case: kept; {hint}, and so the pictures seem")
    return view, reasons


def _network(view: _View, *, small: bool) -> tuple[str, str]:
    """The preset whose network and trunk to start from, and why."""
    hard = view.loss >= _HARD
    what = f"its trunk finds the pictures {'hard' if hard else 'easy'}: loss {view.loss:.2f}"
    if small:
        return TRUNK, f"network: the small one, as asked for ({what})"
    if hard:
        return LARGER, (
            f"network: the larger one, which takes twice the time for a picture; the small one "
            f"(--small) would learn less, since {what}"
        )
    return TRUNK, f"network: the small one, since {what}"


def epoch_steps(pictures: int) -> int:
    """The training steps of an epoch, which uses each of the training pictures equally often."""
    return math.ceil(repeats(pictures, _EPOCH, _BATCH) * pictures / _BATCH)


def _settings(
    base: Settings, samples: Sequence[Sample], minutes: float, seed: int
) -> tuple[Settings, str]:
    """The training's settings by the number of pictures, and why."""
    count = len(samples)
    validation = 0.2 if count < 500 else 0.1
    steps = int(np.interp(count, (50, 200, 1000, 5000, 20000), (400, 600, 2280, 5000, 12000)))
    each = epoch_steps(round(count * (1 - validation)))
    epochs = math.ceil(steps / each)
    settings = Settings(
        batch_size=_BATCH,
        epochs=epochs,
        patience=max(6, epochs // 3),
        learning_rate=0.001,
        validation=validation,
        augmentation=0.8,
        noise=0.3,
        augment_after=1,
        spliced=0.5,
        left_out=0.05,
        averaged=True,
        epoch_steps=_EPOCH,
        clip_norm=base.clip_norm,
        bfloat16=base.bfloat16,
        minutes=minutes,
        seed=seed,
    )
    # How many are held back may be an option, and is said when it is known.
    limits = f"{epochs * each} steps of {_BATCH} pictures and {minutes:g} minutes"
    return settings, f"training: at most {limits}"
