"""Wrong labels among the training pictures: which are doubted, and that they are not learned."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawn import write_digits

from captcha_rt.charset import Charset
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.recipe import Recipe
from captcha_rt.steps import Grey, Resize, Scale
from captcha_rt_export.run import Run
from captcha_rt_train.data.augmentation import Augmentation
from captcha_rt_train.data.batches import Batches
from captcha_rt_train.data.samples import Dataset, Sample, with_recipe
from captcha_rt_train.data.sources import read_dataset
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.presets import load_preset
from captcha_rt_train.training.choosing import TRUNK, choose
from captcha_rt_train.training.doubts import (
    DOUBTED,
    contradict,
    describe_doubts,
    spare_rare,
)
from captcha_rt_train.training.fitting import Fit, fit, predict_scores
from captcha_rt_train.training.planning import plan
from captcha_rt_train.training.trunk import start_from


def sample(label: str) -> Sample:
    """A picture that shows nothing."""
    recipe = Recipe((Grey(), Resize(20, 30), Scale()))
    picture = np.zeros((20, 30, 1), np.uint8)
    return Sample(None, label, label, picture, recipe.apply(picture))


def manifest(decoder: str, places: int) -> Manifest:
    """The description of a network for three characters."""
    recipe = sample("a").picture.shape
    return Manifest(
        name="m",
        charset=Charset("abc", blank=0),
        recipe=Recipe((Grey(), Resize(*recipe[:2]), Scale())),
        decoder=decoder,
        scores="logits",
        input=Tensor("image", (None, 20, 30, 1)),
        output=Tensor("logits", (None, places, 4)),
    )


@pytest.mark.parametrize(("decoder", "blanks"), [("ctc", 1), ("position", 0)])
def test_only_sure_contradictions_are_probably_wrong(decoder: str, blanks: int) -> None:
    """Reading the label, or nothing, is none; a guess is a little one, a sure answer is one."""
    texts = ("ab", "ab", "", "ab")
    sure = (9.0, 1.0, 9.0, 9.0)
    step = 1 + blanks
    scores = np.zeros((4, 2 * step, 4), np.float32)
    for rows, text, height in zip(scores, texts, sure, strict=True):
        rows[:, 0] = height
        for place, character in enumerate(text):
            rows[place * step, 0] = 0
            rows[place * step, 1 + "abc".index(character)] = height
    samples = [sample(label) for label in ("ac", "ac", "ac", "ab")]
    read, wrong = contradict(samples, manifest(decoder, 2 * step), scores)
    assert read == list(texts)
    assert wrong[0] > 0.99
    assert 0 < wrong[1] < 0.1
    assert wrong[2] == wrong[3] == 0
    described = manifest(decoder, 2 * step)
    [few] = describe_doubts(samples, described, scores, "look")
    assert few.startswith("it contradicts 1 of 4 labels: it can't read these pictures yet")
    many = [samples[0], *[samples[3]] * 19], np.stack([scores[0], *[scores[3]] * 19])
    line = "1 label looks wrong, such as ac: ac, read ab. To look at them: look"
    assert describe_doubts(many[0], described, many[1], "look") == [line]
    assert describe_doubts(samples[3:], described, scores[3:], "look") == []


def test_a_character_of_few_pictures_is_not_left_out() -> None:
    """A network that doesn't know it yet contradicts all of its pictures."""
    labels = ["ab"] * 12 + ["ac"]
    doubted = np.array([True] * 2 + [False] * 10 + [True])
    assert spare_rare(labels, doubted).tolist() == [True] * 2 + [False] * 11


def test_what_is_left_out_is_in_no_batch() -> None:
    """Nor as a part of a spliced picture; the epoch stays as long, and all may come back."""
    samples = [sample(label) for label in ("aa", "ab", "bb", "cc")]
    changes = Augmentation(strength=0.01, spliced=0.9, after_steps=1)
    batches = Batches(
        samples, manifest("ctc", 8), batch_size=40, augmentation=changes, repeat=10, seed=0
    )
    batches.locate([np.array([0.3, 0.7])] * 4)

    def shown() -> set[int]:
        return set(np.unique(batches[0][1]))

    before = batches[0][1]
    assert shown() == {1, 2, 3}
    batches.leave_out(np.array([3]))
    assert shown() == {1, 2}
    assert (len(batches), len(batches[0][1])) == (1, 40)
    batches.leave_out(np.array([], np.intp))
    np.testing.assert_array_equal(batches[0][1], before)


def test_a_source_is_not_left_out() -> None:
    """A source of one picture, which is doubted, keeps it: an epoch needs pictures of each."""
    samples = [sample("aa"), sample("bb"), replace(sample("cc"), source="earlier")]
    batches = Batches(samples, manifest("ctc", 8), batch_size=6, repeat=2, seed=0)
    batches.leave_out(np.array([0, 2]))
    assert sorted(batches[0][1][:, 0]) == [2, 2, 2, 2, 3, 3]


def test_all_pictures_can_not_be_left_out() -> None:
    """The fraction is below 1."""
    with pytest.raises(TrainingError, match=r"below 1, not 1\.0"):
        replace(load_preset(TRUNK).settings, left_out=1.0)


@pytest.fixture(scope="module")
def wrongly_labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, str]:
    """A hundred pictures to learn from, one of which has a wrong label; and its name."""
    folder = tmp_path_factory.mktemp("doubts")
    write_digits(folder, 108, seed=8)
    shown = read_dataset(folder, load_preset(TRUNK).recipe)
    first, *others = shown.samples
    wrong = replace(first, label=str(9 - int(first.label[0])) + first.label[1:])
    return replace(shown, samples=(wrong, *others)), first.name


@pytest.mark.parametrize(("left_out", "learned"), [(0.05, False), (0.0, True)])
def test_a_wrong_label_is_not_learned_by_heart(
    wrongly_labelled: tuple[Dataset, str], tmp_path: Path, left_out: float, learned: bool
) -> None:
    """The network goes on to contradict it; where none may be left out, it learns it."""
    dataset, name = wrongly_labelled
    preset = choose(dataset, "doubts", 1, seed=0).preset
    planned = plan(with_recipe(dataset, preset.recipe), preset)
    samples = planned.dataset.samples
    parts = {"training": samples[:100], "validation": samples[100:]}
    short = {"epochs": 6, "patience": 6, "batch_size": 25, "epoch_steps": 4, "minutes": None}
    settings = replace(preset.settings, **short, left_out=left_out)
    model = planned.build(planned.length)
    start_from(preset, model, planned.manifest.charset, seed=0)
    fit(model, Fit(planned.manifest, parts, settings, Run(tmp_path / "run")))
    scores = predict_scores(model, planned.manifest, parts["training"])
    _, wrong = contradict(parts["training"], planned.manifest, scores)
    doubted = [s.name for s, p in zip(parts["training"], wrong, strict=True) if p >= DOUBTED]
    assert doubted == ([] if learned else [name])
