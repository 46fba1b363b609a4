"""`captcha-rt samples`, and what the embedded model makes of its pictures."""

from pathlib import Path

import numpy as np

from captcha_rt import Solver, decode_image
from captcha_rt_train.generators.kaptcha import draw, random_text, write_samples

SAMPLES = Path(__file__).parent.parent / "samples"


def test_the_embedded_model_reads_generated_pictures() -> None:
    """Trained on real pictures, it reads at least 95 of 100 drawn ones."""
    rng = np.random.default_rng(7)
    texts = [random_text(rng) for _ in range(200)]
    answers = Solver().solve_batch([draw(text, rng) for text in texts])
    assert np.mean([a.text == t for a, t in zip(answers, texts, strict=True)]) >= 0.95


def test_the_command_makes_the_committed_samples(command, tmp_path: Path) -> None:
    """`captcha-rt samples tests/samples --count 6 --seed 0`, within two levels on average.

    Other versions of Pillow and OpenCV rasterise a little differently.
    """
    result = command("samples", tmp_path / "new", "--count", "6", "--seed", "0")
    assert len(result.stdout.splitlines()) == 6
    assert {p.name for p in (tmp_path / "new").iterdir()} == {p.name for p in SAMPLES.iterdir()}
    for path in SAMPLES.iterdir():
        old, new = decode_image(path), decode_image(tmp_path / "new" / path.name)
        assert np.abs(old.astype(int) - new).mean() < 2


def test_more_samples_begin_like_fewer(tmp_path: Path) -> None:
    """A larger count goes on where a smaller one ends."""
    few = write_samples(tmp_path / "few", 3, seed=4)
    many = write_samples(tmp_path / "many", 6, seed=4)
    assert [p.name for p in many[:3]] == [p.name for p in few]
