from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt.decoders import DECODERS
from captcha_rt.errors import FolderError
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale, Transpose
from captcha_rt_train.data.augmentation import Augmentation, augment
from captcha_rt_train.data.batches import Batches
from captcha_rt_train.data.samples import Dataset, SourceSettings, split
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.data.targets import TARGETS, encode_labels
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.generators.kaptcha import write_samples
from captcha_rt_train.training.planning import skip_misfits

RECIPE = Recipe((Grey(), Scale(), Resize(50, 200), Transpose()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    write_samples(folder, 20, seed=1)
    return folder


def save(path: Path, height: int = 50, width: int = 200) -> None:
    cv2.imwrite(str(path), np.full((height, width), 255, np.uint8))


def test_labels_are_the_file_names(folder: Path) -> None:
    """Each stem is a label; the charset holds the labels' characters, sorted, after the blank."""
    dataset = read_dataset(folder, RECIPE)
    assert [sample.label for sample in dataset.samples] == sorted(p.stem for p in folder.iterdir())
    letters = {c for sample in dataset.samples for c in sample.label}
    assert dataset.charset.characters == "".join(sorted(letters))
    assert dataset.charset.blank == 0
    assert dataset.tensor_shape == (200, 50, 1)
    assert dataset.skipped == ()


def test_what_can_not_be_used_is_skipped_and_listed(folder: Path) -> None:
    """Unreadable pictures, empty labels and unknown characters are listed with their reasons."""
    (folder / "bad.png").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    save(folder / " .png")
    save(folder / "ÄÖ.png")
    dataset = read_dataset(folder, RECIPE, characters="2345678bcdefgmnpwxy")
    assert len(dataset.samples) == 20
    reasons = dict(dataset.skipped)
    assert reasons.keys() == {"bad.png", "empty.png", " .png", "ÄÖ.png"}
    assert "not a PNG" in reasons["bad.png"] or "outside" in reasons["bad.png"]
    assert reasons[" .png"] == "empty label"
    assert reasons["ÄÖ.png"] == "characters outside of the charset: ÄÖ"


def test_pictures_of_another_shape_are_skipped(folder: Path) -> None:
    """If the recipe doesn't resize, only pictures of the most frequent size are used."""
    save(folder / "2x2.png", 40, 200)
    dataset = read_dataset(folder, Recipe((Grey(), Scale(), Transpose())))
    assert len(dataset.samples) == 20
    assert dataset.skipped == (("2x2.png", "gives the shape (200, 40, 1), most give (200, 50, 1)"),)


def test_labels_that_ctc_can_not_align_are_skipped(folder: Path) -> None:
    """A doubled character needs a blank between: `nn` takes three time steps."""
    save(folder / "nn.png")
    save(folder / "nx.png")
    dataset = skip_misfits(read_dataset(folder, RECIPE), "ctc", places=2)
    assert [sample.label for sample in dataset.samples] == ["nx"]
    assert ("nn.png", "needs 3 time steps, the network has 2") in dataset.skipped
    assert skip_misfits(dataset, "ctc", places=1).samples == ()


def test_places_without_a_blank_read_one_length(folder: Path) -> None:
    """Places read texts of the most frequent length; other labels are skipped."""
    save(folder / "nn.png")
    dataset = read_dataset(folder, RECIPE, blank=False)
    assert dataset.charset.blank is None
    assert TARGETS["position"].text_length(dataset) == 5
    fitting = skip_misfits(dataset, "position", places=5)
    assert len(fitting.samples) == 20
    assert fitting.skipped == (("nn.png", "2 characters, the network reads 5"),)


def test_places_with_a_blank_read_shorter_texts_too(folder: Path) -> None:
    """The longest label sets the number of places; the blank pads the others."""
    save(folder / "nn.png")
    save(folder / "2345678.png")
    dataset = read_dataset(folder, RECIPE)
    assert TARGETS["position"].text_length(dataset) == 7
    assert skip_misfits(dataset, "position", places=7).skipped == ()
    position = replace(
        describe(dataset),
        decoder="position",
        output=Tensor("logits", (None, 7, dataset.charset.classes)),
    )
    shorter = [sample for sample in dataset.samples if len(sample.label) < 7]
    assert encode_labels(shorter, position).shape == (21, 7)  # as many as the network has places
    labels = encode_labels(dataset.samples, position)
    [row] = [r for r, sample in zip(labels, dataset.samples, strict=True) if sample.label == "nn"]
    assert row[2:].tolist() == [dataset.charset.blank] * 5


def test_characters_of_labels_that_are_skipped_are_no_classes(folder: Path) -> None:
    """A skipped label adds no characters to the charset; a charset that was given stays."""
    save(folder / "QQ.png")
    dataset = read_dataset(folder, RECIPE, blank=False)
    assert "Q" in dataset.charset.characters
    assert "Q" not in skip_misfits(dataset, "position", places=5).charset.characters
    asked = read_dataset(folder, RECIPE, characters="2345678Qbcdefgmnpwxyz", blank=False)
    assert "Q" in skip_misfits(asked, "position", places=5).charset.characters


def test_equal_names_in_sub_folders_stay_apart(tmp_path: Path) -> None:
    """A picture is named from the data set's folder on."""
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        save(tmp_path / part / "1.png")
    (tmp_path / "labels.csv").write_text("file,label\na/1.png,xy\nb/1.png,yx\n")
    dataset = read_dataset(tmp_path, RECIPE)
    assert [(s.name, s.label) for s in dataset.samples] == [("a/1.png", "xy"), ("b/1.png", "yx")]


def test_folders_without_pictures_are_refused(tmp_path: Path) -> None:
    """A path without a folder and a folder without picture files are refused."""
    with pytest.raises(FolderError, match="not a folder"):
        read_dataset(tmp_path / "gone", RECIPE)
    with pytest.raises(FolderError, match="no picture files"):
        read_dataset(tmp_path, RECIPE)
    (tmp_path / "a.png").write_text("no picture")
    dataset = read_dataset(tmp_path, RECIPE)
    assert (dataset.samples, len(dataset.skipped)) == ((), 1)


def test_a_split_is_seeded_and_by_picture(folder: Path) -> None:
    """The parts don't overlap, cover all samples, and depend only on the seed."""
    dataset = read_dataset(folder, RECIPE)
    parts = split(dataset, validation=0.2, test=0.1, seed=3)
    assert {name: len(part) for name, part in parts.items()} == {
        "training": 14,
        "validation": 4,
        "test": 2,
    }
    labels = [sample.label for part in parts.values() for sample in part]
    assert sorted(labels) == [sample.label for sample in dataset.samples]
    again = split(dataset, validation=0.2, test=0.1, seed=3)
    other = split(dataset, validation=0.2, test=0.1, seed=4)
    assert [s.label for s in again["validation"]] == [s.label for s in parts["validation"]]
    assert [s.label for s in other["validation"]] != [s.label for s in parts["validation"]]


def test_a_split_that_leaves_nothing_is_refused(folder: Path) -> None:
    """Two pictures can't be three parts."""
    dataset = read_dataset(folder, RECIPE)
    with pytest.raises(TrainingError, match="2 pictures can't be split"):
        split(replace(dataset, samples=dataset.samples[:2]), validation=0.1, test=0.1, seed=0)


def test_each_source_is_split_by_itself(folder: Path) -> None:
    """A source is split by its own fractions, else by the run's; with 0 and 0, it only trains."""
    samples = read_dataset(folder, RECIPE).samples
    sources = ["a"] * 10 + ["b"] * 5 + ["c"] * 5
    dataset = replace(
        read_dataset(folder, RECIPE),
        samples=tuple(replace(s, source=name) for s, name in zip(samples, sources, strict=True)),
        settings={"a": SourceSettings(test=0.5), "b": SourceSettings(), "c": SourceSettings(0, 0)},
    )
    parts = split(dataset, validation=0.2, test=0.2, seed=0)
    counts = {name: Counter(sample.source for sample in part) for name, part in parts.items()}
    assert counts == {
        "test": {"a": 5, "b": 1},
        "validation": {"a": 2, "b": 1},
        "training": {"a": 3, "b": 3, "c": 5},
    }
    dataset = replace(dataset, settings=dict.fromkeys("abc", SourceSettings(0, 0)))
    with pytest.raises(TrainingError, match="no picture is left for validation"):
        split(dataset, validation=0.2, test=0.2, seed=0)


def test_an_epoch_uses_the_given_number_of_samples_of_each_source(folder: Path) -> None:
    """Samples repeat if there are too few; if there are more, the next epoch uses others."""
    dataset = read_dataset(folder, RECIPE)
    samples = [replace(s, source="ab"[n % 2]) for n, s in enumerate(dataset.samples)]
    batches = Batches(samples, describe(dataset), batch_size=64, counts={"a": 25, "b": 3}, seed=5)
    seen = []
    for _ in range(2):
        _, labels = batches[0]
        seen.append(Counter(dataset.charset.decode(row) for row in labels))
        batches.on_epoch_end()
    for epoch in seen:
        counts = {name: sum(epoch[s.label] for s in samples if s.source == name) for name in "ab"}
        assert counts == {"a": 25, "b": 3}
        assert {epoch[s.label] for s in samples if s.source == "a"} == {2, 3}
    assert seen[0] != seen[1]


def test_a_warm_up_starts_from_the_pictures_as_they_are(folder: Path) -> None:
    """The first epoch has no changes and no weight on the first output; then both grow."""
    dataset = read_dataset(folder, RECIPE)

    def batches(epoch: int) -> tuple:
        return Batches(
            dataset.samples,
            describe(dataset),
            batch_size=20,
            outputs=2,
            augmentation=Augmentation(strength=1.0, noise=1.0, warm_up=4),
            seed=5,
            epoch=epoch,
        )[0]

    plain = np.sort([sample.tensor.sum() for sample in dataset.samples])
    for epoch, weight in enumerate((0, 0.25, 0.5, 0.75, 1, 1)):
        inputs, labels, (first, second) = batches(epoch)
        assert (first == np.float32(weight)).all()
        assert (second == 1).all()
        assert second.shape == labels[1].shape
        assert np.allclose(np.sort(inputs.sum(axis=(1, 2, 3))), plain) == (epoch == 0)


def test_batches_hold_every_picture_once_in_a_new_order_each_epoch(folder: Path) -> None:
    """Inputs are made by the recipe; labels are ids, padded with the blank."""
    save(folder / "2n.png")
    dataset = read_dataset(folder, RECIPE)
    batches = Batches(dataset.samples, describe(dataset), batch_size=8, seed=5)

    def epoch() -> list[str]:
        texts = []
        for index in range(len(batches)):
            inputs, labels = batches[index]
            assert inputs.dtype == np.float32
            assert labels.shape == (len(inputs), 5)
            for tensor, ids in zip(inputs, labels, strict=True):
                text = dataset.charset.decode(i for i in ids if i)
                sample = next(sample for sample in dataset.samples if sample.label == text)
                assert (tensor == RECIPE.apply(sample.picture)).all()
                texts.append(text)
        batches.on_epoch_end()
        return texts

    first, second = epoch(), epoch()
    assert sorted(first) == sorted(second) == [sample.label for sample in dataset.samples]
    assert first != second
    resumed = Batches(dataset.samples, describe(dataset), batch_size=8, seed=5, epoch=1)
    assert (resumed[0][1][0] == batches_at(dataset, 1)[0][1][0]).all()


def test_all_outputs_learn_the_same_labels(folder: Path) -> None:
    """A network with two outputs gets the labels twice."""
    dataset = read_dataset(folder, RECIPE)
    _, (labels, again) = Batches(dataset.samples, describe(dataset), batch_size=8, outputs=2)[0]
    assert labels is again


def test_augmented_pictures_are_the_same_in_a_resumed_run(folder: Path) -> None:
    """They differ from the originals, and depend only on the seed and the epoch."""
    dataset = read_dataset(folder, RECIPE)
    manifest = describe(dataset)

    def first(epoch: int, augmentation: float) -> np.ndarray:
        return Batches(
            dataset.samples,
            manifest,
            batch_size=8,
            seed=5,
            epoch=epoch,
            augmentation=Augmentation(augmentation),
        )[0][0]

    assert (first(1, 1.0) == first(1, 1.0)).all()
    assert (first(1, 1.0) != first(1, 0.0)).any()
    assert first(1, 1.0).shape == first(1, 0.0).shape


def test_a_curve_has_the_colour_of_the_ink_and_crosses_the_picture() -> None:
    """With strength 0, only the curve is drawn; without a curve, nothing is changed."""
    picture = np.full((40, 120, 4), 200, np.uint8)
    picture[10:30, 40:50] = 0, 0, 0, 255
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert (augment(picture, rng, Augmentation()) == picture).all()
        drawn = augment(picture, rng, Augmentation(curves=1.0))
        changed = (drawn != picture).any(axis=-1)
        assert (drawn[changed] == (0, 0, 0, 255)).all()
        columns = np.flatnonzero((drawn == (0, 0, 0, 255)).all(axis=-1).any(axis=0))
        assert columns.min() <= 30
        assert columns.max() >= 80


def test_outside_of_the_window_stand_columns_of_other_pictures(folder: Path) -> None:
    """Inside is the picture itself; outside, in most cases, one other picture."""
    samples = tuple(
        replace(sample, picture=np.full_like(sample.picture, 10 * number))
        for number, sample in enumerate(read_dataset(folder, RECIPE).samples)
    )
    dataset = replace(read_dataset(folder, RECIPE), samples=samples)
    batches = Batches(
        samples,
        describe(dataset),
        batch_size=20,
        seed=5,
        augmentation=Augmentation(strength=1e-9, window=(-0.2, 0.4)),
    )
    inputs, _ = batches[0]
    shown = (inputs[..., 0] * 255).round()  # (N, W, H), each of one colour on either side
    own, others = shown[:, :79], shown[:, 81:]
    assert sorted(own[:, 0, 0]) == [10 * number for number in range(20)]
    assert (own == own[:, :1, :1]).all()
    assert (others == others[:, :1, :1]).all()
    assert 10 <= (own[:, 0, 0] != others[:, 0, 0]).sum() < 20


def describe(dataset: Dataset) -> Manifest:
    return Manifest(
        name="test",
        charset=dataset.charset,
        recipe=RECIPE,
        decoder="ctc",
        scores="logits",
        input=Tensor("image", (None, *dataset.tensor_shape)),
        output=Tensor("logits", (None, 50, dataset.charset.classes)),
    )


def batches_at(dataset: Dataset, epoch: int) -> Batches:
    batches = Batches(dataset.samples, describe(dataset), batch_size=8, seed=5)
    for _ in range(epoch):
        batches.on_epoch_end()
    return batches


def test_every_decoder_of_the_runtime_has_a_target() -> None:
    """A decoder without an entry is a KeyError; it is not trained like another decoder."""
    assert TARGETS.keys() == DECODERS.keys()
    with pytest.raises(KeyError, match="nothing"):
        TARGETS["nothing"]
