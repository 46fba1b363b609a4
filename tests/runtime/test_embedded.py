"""The embedded model: the one in the wheel."""

from pathlib import Path

import numpy as np
import pytest

from captcha_rt import Solver, load_model
from captcha_rt.diagnostics.card import model_card
from captcha_rt.labels import read_labels
from captcha_rt.metrics import Prediction, evaluate
from captcha_rt.model import EMBEDDED, GENERAL

KINDS = ("captcha_v2", "thsrc", "court", "metu")
SAMPLES = sorted((Path(__file__).parent.parent / "samples").glob("*.png"))


def test_it_reads_the_samples() -> None:
    """The model reads every generated sample, with a confidence above 0.5."""
    assert len(SAMPLES) >= 6
    for path in SAMPLES:
        solution = Solver().solve(path)
        assert solution.text == path.stem
        assert solution.confidence > 0.5


def test_it_is_the_default_of_the_command(command) -> None:
    """`captcha-rt solve img.png` needs no `--model`."""
    result = command("solve", SAMPLES[0])
    assert (result.stdout, result.stderr, result.returncode) == (f"{SAMPLES[0].stem}\n", "", 0)


def test_its_manifest_holds_what_was_measured() -> None:
    """The accuracy on each kind of test pictures is in the description, with an interval."""
    manifest = load_model().manifest
    for kind in KINDS:
        measured = manifest.accuracy[f"test {kind}"]
        assert measured["pictures"] >= 500
        assert measured["exact_match"] >= 0.99
        assert measured["interval"][0] < measured["exact_match"] <= measured["interval"][1]
    assert manifest.charset.characters == "0123456789ACFHKMNPQRTYZbcdefgmnpwxy"
    assert manifest.licence == "Apache-2.0"
    assert EMBEDDED.stat().st_size <= 1_000_000


def test_what_shows_no_text_is_rejected() -> None:
    """Empty pictures and noise get a confidence below the model's smallest one."""
    solver = Solver()
    noise = np.random.default_rng(0).integers(0, 256, (50, 150, 3), np.uint8)
    for picture in (np.full((50, 150, 1), 255, np.uint8), np.zeros((40, 120, 3), np.uint8), noise):
        assert solver.solve(picture).confidence < solver.manifest.min_confidence


@pytest.mark.parametrize(("file", "card"), [(EMBEDDED, "MODEL_CARD"), (GENERAL, "GENERAL_CARD")])
def test_the_card_is_the_generated_one(file: Path, card: str) -> None:
    """The committed card is what `captcha-rt info --card` prints."""
    written = file.with_name(f"{card}.md").read_text("utf-8")
    assert written == model_card(load_model(file).manifest, file.stat().st_size)


@pytest.mark.parametrize("kind", KINDS)
def test_it_reads_the_real_pictures(captcha_data: Path, kind: str) -> None:
    """At least 97 % are read; the model was trained on some of them, and some labels are wrong."""
    items = read_labels(captcha_data / kind).items[-300:]
    answers = Solver().solve_batch([path for path, _ in items])
    predictions = [
        Prediction(path.name, label, answer.text, answer.confidence)
        for (path, label), answer in zip(items, answers, strict=True)
    ]
    assert evaluate(predictions).exact_match >= 0.97
