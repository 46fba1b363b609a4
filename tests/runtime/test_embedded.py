"""The model that lies in the wheel."""

from pathlib import Path

import pytest

from captcha_rt import Solver, load_model
from captcha_rt.card import model_card
from captcha_rt.metrics import Reading, evaluate
from captcha_rt.model import EMBEDDED

SAMPLES = sorted((Path(__file__).parent.parent / "samples").glob("*.png"))


def test_it_reads_the_samples() -> None:
    """Every generated sample, each with confidence."""
    assert len(SAMPLES) >= 6
    for path in SAMPLES:
        solution = Solver().solve(path)
        assert solution.text == path.stem
        assert solution.confidence > 0.5


def test_it_is_the_default_of_the_command(command) -> None:
    """`captcha-rt solve img.png` needs no `--model`."""
    result = command("solve", SAMPLES[0])
    assert (result.stdout, result.stderr, result.returncode) == (f"{SAMPLES[0].stem}\n", "", 0)


def test_its_manifest_holds_its_own_held_out_figure() -> None:
    """Measured on pictures that it wasn't trained on, with an interval."""
    manifest = load_model().manifest
    figures = manifest.accuracy["validation"]
    assert figures["pictures"] == manifest.training["pictures"]["validation"]
    assert figures["exact_match"] >= 0.98
    assert figures["interval"][0] < figures["exact_match"] <= figures["interval"][1]
    assert manifest.charset.characters == "2345678bcdefgmnpwxy"
    assert manifest.licence == "Apache-2.0"


def test_its_card_is_the_generated_one() -> None:
    """The committed card is what `captcha-rt info --card` prints."""
    card = EMBEDDED.with_name("MODEL_CARD.md").read_text("utf-8")
    assert card == model_card(load_model().manifest, EMBEDDED.stat().st_size)


def test_it_reads_the_real_pictures(captcha_data: Path) -> None:
    """All of captcha_v2, most of which it was trained on: a floor, not a figure."""
    paths = sorted((captcha_data / "captcha_v2").glob("*.png"))
    answers = Solver().solve_batch(paths)
    readings = [
        Reading(path.name, path.stem, answer.text, answer.confidence)
        for path, answer in zip(paths, answers, strict=True)
    ]
    assert evaluate(readings).exact_match == pytest.approx(1, abs=0.02)
