"""Document 001's ensemble: a network a digit, trained one after the other or alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from captcha_rt.manifest import Manifest, Tensor
from captcha_rt_train.data import Item
from captcha_rt_train.epochs import Epochs
from captcha_rt_train.fitting import fit
from captcha_rt_train.presets import Settings

_START = 2  # epochs in which one network learns all digits, for one of each digit's own
_FINE = 0.5  # the digits' learning rate, of that with which all were learned at once


@dataclass(frozen=True, slots=True)
class Network:
    """A trained network: all of a model, or one of an ensemble.

    Attributes:
        name: `digit 3` in an ensemble, else empty.
        model: The network with its best weights.
        epochs: How it was trained.
    """

    name: str
    model: keras.Model
    epochs: Epochs


def train_digits(
    build: Callable[[int], keras.Model],
    manifest: Manifest,
    parts: Mapping[str, Sequence[Item]],
    start: Settings,
    settings: Mapping[int, Settings],
    run: Path,
    *,
    only: int | None = None,
    verbose: int = 0,
    logs: Path | None = None,
) -> list[Network]:
    """Trains an ensemble's networks one after the other, or only one of them.

    The document had thousands of pictures. Where there are some hundred, a network that learns
    one digit alone sees too few of each: it read 97 to 99 % of the validation digits, so that the
    six together read 90 % of the texts. Hence two things. All start from one network that learned
    all digits at once: what a digit looks like doesn't depend on its place. And each learns its
    digit, give or take one digit's width, among other pictures' digits: from the whole pictures it
    learned which picture has which digit, and read 2 of 88 first digits wrong, with this none.

    Args:
        build: Builds a network for so many digits.
        manifest: What the ensemble is.
        parts: The split.
        start: How the network for all digits is trained, over twice as many epochs.
        settings: How each digit's is trained, from 1, at half the learning rate.
        run: The run's folder.
        only: Trains this digit's network alone.
        verbose: As Keras takes it.
        logs: Where TensorBoard's logs go, if anywhere.

    Returns:
        The networks in the digits' order, also those that are not trained yet.
    """
    keras.utils.set_random_seed(start.seed)
    together = build(len(settings))
    fit(
        together,
        manifest,
        parts,
        replace(start, epochs=_START * start.epochs, patience=_START * start.epochs),
        run / "start",
        verbose=verbose,
        tensorboard=logs and logs / "start",
    )
    one = replace(manifest, output=Tensor("logits", (None, 1, manifest.charset.classes)))
    networks: list[Network] = []
    for digit, mine in settings.items():
        folder = run / f"digit-{digit}"
        keras.utils.set_random_seed(mine.seed)
        model = build(1)
        _copy_digit(together, model, digit - 1)
        characters = {
            part: [replace(item, label=item.label[digit - 1]) for item in items]
            for part, items in parts.items()
        }
        epochs = fit(
            model,
            one,
            characters,
            replace(mine, learning_rate=_FINE * mine.learning_rate),
            folder,
            window=((digit - 2) / len(settings), (digit + 1) / len(settings)),
            verbose=verbose,
            tensorboard=logs and logs / folder.name,
            train=only in (None, digit),
        )
        networks.append(Network(f"digit {digit}", model, epochs))
    return networks


def _copy_digit(start: keras.Model, model: keras.Model, place: int) -> None:
    """Gives a digit's network the weights of one for all digits: of the head its own classes."""
    *shared, kernel, bias = start.get_weights()
    classes = model.output_shape[-1]
    mine = slice(place * classes, (place + 1) * classes)
    model.set_weights([*shared, kernel[:, mine], bias[mine]])
