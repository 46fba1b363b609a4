"""Networks that are narrowed, and trunks that start networks for other characters."""

from pathlib import Path

import keras
import numpy as np
import pytest

from captcha_rt_train.errors import TrainingError
from captcha_rt_train.networks import Dimensions, compact
from captcha_rt_train.training.narrowing import narrow
from captcha_rt_train.training.trunk import Trunk, load_trunk
from captcha_rt_train.trunks import TRUNKS

WIDE = {"rows": [(8, 5, 2, 2), (12, 3, 2, 1)], "columns": [(16, 1, 1), (16, 5, 1)]}
SLIM = {"rows": [(4, 5, 2, 2), (6, 3, 2, 1)], "columns": [(8, 1, 1), (8, 5, 1)]}


def build(layers: dict, classes: int = 5, channels: int = 3, width: int = 40) -> keras.Model:
    added = {"residuals": [2], "context": True, "text_context": True}
    return compact(Dimensions((24, width, channels), 4, classes), **layers, **added)


def pictures(channels: int = 3, width: int = 40) -> np.ndarray:
    return np.random.default_rng(1).random((3, 24, width, channels), np.float32)


def with_random_weights(model: keras.Model, seed: int = 0) -> keras.Model:
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(0.1, 0.6, w.shape) for w in model.get_weights()])
    return model


def test_filters_that_nothing_reads_can_go() -> None:
    """If the filters beyond the narrow network's are read with 0, both give the same scores."""
    wide = with_random_weights(build(WIDE))
    weights = {layer.name: layer.get_weights() for layer in wide.layers if layer.weights}
    for name, reader in [("rows1", "rows2"), ("rows2", "columns1"), ("columns1", "columns2")]:
        filters = weights[name][0].shape[-1]
        weights[reader][0][:, :, : filters // 2] = 0
    weights["residual2"][0][:, :, :6] = 0
    for reader in ("context", "text_context", "logits"):
        weights[reader][0][: len(weights[reader][0]) // 2] = 0
    for name, values in weights.items():
        wide.get_layer(name).set_weights(values)
    slim = build(SLIM)
    narrow(wide, slim)
    np.testing.assert_allclose(
        slim.predict(pictures(), verbose=0), wide.predict(pictures(), verbose=0), rtol=1e-4
    )


def test_what_a_residual_convolution_reads_is_important() -> None:
    """Also filters that the next convolution hardly reads."""
    wide, slim = with_random_weights(build(WIDE)), build(SLIM)
    for name, least in (("columns1", slice(6)), ("residual2", slice(6, None))):
        [kernel] = wide.get_layer(name).get_weights()
        kernel[:, :, least] *= 1e-3
        wide.get_layer(name).set_weights([kernel * (10 if name == "residual2" else 1)])
    narrow(wide, slim)
    [before], [after] = (network.get_layer("residual2").get_weights() for network in (wide, slim))
    np.testing.assert_array_equal(after, before[:, :, :6, :6])


def trunk_of(model: keras.Model, characters: str) -> Trunk:
    return Trunk("test", characters, 0, 1, tuple(model.get_weights()))


def test_known_characters_keep_their_scores() -> None:
    """In whatever order the new network has them; the blank stays the first."""
    model = with_random_weights(build(WIDE))
    scores = model.predict(pictures(), verbose=0)
    other = build(WIDE, classes=4)
    trunk_of(model, "abcA").adapt_to(other, "cXa", "same", seed=0)
    found = other.predict(pictures(), verbose=0)
    np.testing.assert_allclose(found[..., [0, 1, 3]], scores[..., [0, 3, 1]], rtol=1e-5)


@pytest.mark.parametrize(("letters", "rows"), [("same", [1]), ("other", [4]), ("both", [1, 4])])
def test_letters_of_the_other_case(letters: str, rows: list[int]) -> None:
    """`a` starts with the scores of `a`, of `A`, or with their mean."""
    model = with_random_weights(build(WIDE))
    scores = model.predict(pictures(), verbose=0)
    other = build(WIDE, classes=2)
    trunk_of(model, "abcA").adapt_to(other, "a", letters, seed=0)  # type: ignore[arg-type]
    found = other.predict(pictures(), verbose=0)
    np.testing.assert_allclose(found[..., 1], scores[..., rows].mean(axis=-1), rtol=1e-4)


def test_a_grey_network_sees_a_grey_picture_as_the_trunk_does() -> None:
    """One channel, another width: the same scores as of the picture in three equal channels."""
    model = with_random_weights(build(WIDE, width=60))
    grey = build(WIDE, channels=1, width=60)
    trunk_of(build(WIDE), "abcd").adapt_to(grey, "abcd", "same", seed=0)  # another width is fine
    trunk_of(model, "abcd").adapt_to(grey, "abcd", "same", seed=0)
    picture = pictures(channels=1, width=60)
    expected = model.predict(np.repeat(picture, 3, axis=3), verbose=0)
    np.testing.assert_allclose(grey.predict(picture, verbose=0), expected, rtol=1e-4)


def test_weights_of_another_network_are_refused() -> None:
    """The message says so, in place of an error from inside of Keras."""
    trunk = trunk_of(build(WIDE), "abcd")
    with pytest.raises(TrainingError, match="not those of a network with these layers"):
        trunk.adapt_to(build(SLIM), "abcd", "same", seed=0)


@pytest.mark.parametrize("name", sorted(TRUNKS))
def test_the_trunks_belong_to_their_presets(name: str) -> None:
    """Each trunk that comes along says which preset's it is, and knows letters and digits."""
    trunk = load_trunk(Path(TRUNKS[name]))
    assert trunk.preset == name
    assert set("aZ09") <= set(trunk.characters)
