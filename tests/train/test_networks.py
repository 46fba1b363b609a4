"""The documents' networks: their layers, by what the documents print of them."""

import keras
import numpy as np
import pytest

from captcha_rt_train.networks import (
    NETWORKS,
    Dimensions,
    merge,
    with_local_head,
    with_position_head,
)
from captcha_rt_train.presets import load_preset


@pytest.mark.parametrize("name", ["context", "text_context"])
def test_context_starts_as_nothing_and_reaches_every_place(name: str) -> None:
    """An untrained layer changes no score; a trained one tells each place of a far one."""
    layers = {"rows": [[4, 3, 4, 2]], "columns": [[6, 1, 1], [6, 3, 1]]}
    dimensions = Dimensions((16, 80, 1), 5, 7)
    keras.utils.set_random_seed(0)
    plain = NETWORKS["compact"](dimensions, **layers)
    model = NETWORKS["compact"](dimensions, **layers, **{name: True})
    for weight in plain.weights:
        next(w for w in model.weights if w.path == weight.path).assign(weight)
    pictures = np.random.default_rng(0).random((2, 16, 80, 1), np.float32)
    assert np.allclose(model(pictures), plain(pictures))
    other = pictures.copy()
    other[:, :, -8:] = 1 - other[:, :, -8:]  # far from the first place
    assert np.array_equal(model(pictures)[:, 0], model(other)[:, 0])
    model.get_layer(name).kernel.assign(np.eye(6))
    assert not np.allclose(model(pictures)[:, 0], model(other)[:, 0])


def test_a_residual_convolution_starts_as_nothing() -> None:
    """So it can join a network that is trained; with other weights it adds what it sees."""
    layers = {"rows": [[4, 3, 2, 2], [6, 3, 2, 1]], "columns": [[6, 1, 1]]}
    dimensions = Dimensions((16, 80, 1), 5, 7)
    plain = NETWORKS["compact"](dimensions, **layers)
    model = NETWORKS["compact"](dimensions, **layers, residuals=[2])
    for weight in plain.weights:
        next(w for w in model.weights if w.path == weight.path).assign(weight)
    pictures = np.random.default_rng(0).random((2, 16, 80, 1), np.float32)
    assert np.allclose(model(pictures), plain(pictures))
    model.get_layer("residual2_norm").gamma.assign(np.ones(6))
    assert not np.allclose(model(pictures), plain(pictures))


@pytest.mark.parametrize(
    ("name", "input_shape", "length", "classes", "parameters", "output_shape"),
    [
        ("multihead", (48, 140, 3), 4, 20, 4_835_208, (None, 4, 20)),
        ("ensemble", (40, 120, 1), 1, 10, 619_370, (None, 1, 10)),
        ("glyph", (23, 15, 1), 6, 10, 143_114, (None, 10)),
        ("steps", (200, 50, 1), 5, 19, 2_002_835, (None, 5, 19)),
        ("crnn", (200, 50, 1), 5, 20, 432_596, (None, 50, 20)),
        ("crnn-conv1d", (200, 50, 1), 5, 20, 432_596, (None, 50, 20)),
    ],
)
def test_a_network_has_its_documents_parameters(
    name: str,
    input_shape: tuple[int, ...],
    length: int,
    classes: int,
    parameters: int,
    output_shape: tuple[int | None, ...],
) -> None:
    """000 and 001 print totals; the other totals follow from the layers that are printed."""
    model = NETWORKS[name](Dimensions(input_shape, length, classes))
    assert model.count_params() == parameters
    assert model.output_shape == output_shape


def test_the_multi_head_network_normalises_its_rows() -> None:
    """Document 000 prints 16 and 8 parameters: four values for each of 4 and of 2 rows."""
    model = NETWORKS["multihead"](Dimensions((48, 140, 3), 4, 20))
    normalisations = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert [layer.count_params() for layer in normalisations] == [16, 8]
    assert model.count_params() - sum(w.size for w in _trainable(model)) == 12
    assert {f"digit{i}" for i in range(1, 5)} <= {layer.name for layer in model.layers}


def test_one_network_of_the_ensemble_has_960_parameters_that_are_not_trained() -> None:
    """Document 001 prints 618,410 trainable parameters of 619,370."""
    model = NETWORKS["ensemble"](Dimensions((40, 120, 1), 1, 10))
    assert sum(w.size for w in _trainable(model)) == 618_410


def test_a_merged_ensemble_says_what_its_networks_say() -> None:
    """It has one input, and the networks' logits side by side in order."""
    networks = [NETWORKS["ensemble"](Dimensions((40, 120, 1), 1, 10)) for _ in range(3)]
    merged = merge(networks)
    pictures = np.random.default_rng(0).random((2, 40, 120, 1), np.float32)
    expected = np.concatenate([network.predict(pictures, verbose=0) for network in networks], 1)
    np.testing.assert_allclose(merged.predict(pictures, verbose=0), expected, atol=1e-6)
    assert merged.count_params() == 3 * 619_370
    assert len(merged.inputs) == len(merged.outputs) == 1


def test_the_time_steps_need_columns_that_can_be_divided_evenly() -> None:
    """50 columns can't be seven equal time steps."""
    with pytest.raises(ValueError, match="50 columns can't be divided evenly into 7"):
        NETWORKS["steps"](Dimensions((200, 50, 1), 7, 19))


@pytest.mark.parametrize("name", ["crnn", "crnn-conv1d"])
def test_the_local_head_sees_the_features_alone(name: str) -> None:
    """The second logits are computed from `features`, and share all layers up to it."""
    model = NETWORKS[name](Dimensions((200, 50, 1), 5, 20))
    trained = with_local_head(model)
    assert [output.shape for output in trained.outputs] == [(None, 50, 20)] * 2
    assert trained.count_params() == model.count_params() + 64 * 20 + 20


def test_the_compact_network_keeps_every_fourth_column() -> None:
    """Its preset's layers give 40 time steps of 160 columns, without recurrence."""
    preset = load_preset("compact")
    model = NETWORKS["compact"](Dimensions((48, 160, 1), 5, 36), **preset.layers)
    assert model.output_shape == (None, 40, 36)
    assert not any(isinstance(layer, keras.layers.RNN) for layer in model.layers)


def test_the_position_head_sees_all_features() -> None:
    """The second output has logits for each place, and shares the layers of the first output."""
    layers = {"rows": [[4, 3, 2, 2], [4, 3, 1, 1]], "columns": [[8, 1, 1], [8, 5, 2]]}
    model = NETWORKS["compact"](Dimensions((16, 40, 1), 5, 7), **layers)
    trained = with_position_head(model, 3)
    assert [output.shape for output in trained.outputs] == [(None, 20, 7), (None, 3, 7)]
    assert trained.count_params() == model.count_params() + (20 * 8 + 1) * 3 * 7


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_layers_have_the_same_names_in_every_process(name: str) -> None:
    """Layers with weights are named, so that `explain --layer` can be written down."""
    preset = load_preset(name)
    shapes = {"multihead": (48, 140, 3), "ensemble": (40, 120, 1), "glyph": (23, 15, 1)}
    shape = (48, 160, 1) if name == "compact" else shapes.get(name, (200, 50, 1))
    names = []
    for _ in range(2):
        model = NETWORKS[name](Dimensions(shape, 5, 20), **preset.layers)
        names.append([layer.name for layer in model.layers if layer.weights])
    assert names[0] == names[1]


def _trainable(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in model.trainable_weights]
