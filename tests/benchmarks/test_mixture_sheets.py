"""The sheets that show what the general model learns from, and what it misreads."""

import pytest

pytest.importorskip("captcha_rt_train", reason="the benchmarks need training and export")

from benchmarks.accuracy import mixture
from captcha_rt import Solver
from captcha_rt_train.generators.mixture import FACES_VARIABLE
from captcha_rt_train.generators.mixture.styles import STYLES


@pytest.fixture(autouse=True)
def _few_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws with matplotlib's faces."""
    monkeypatch.delenv(FACES_VARIABLE, raising=False)


def test_each_style_has_a_row_of_pictures() -> None:
    """The rows are full but for the last picture's place."""
    sheet = mixture.draw_sheet()
    assert sheet.shape == (len(STYLES) * (mixture.HEIGHT + mixture.GAP), mixture.WIDTH, 3)
    for row in sheet.reshape(len(STYLES), -1, mixture.WIDTH, 3):
        assert (row[mixture.GAP :, 90 : mixture.WIDTH // 2] != 128).mean() > 0.5


def test_misread_pictures_are_shown_with_the_answer() -> None:
    """The embedded model misreads most; each row has pictures, and white captions below."""
    sheet = mixture.draw_misread(Solver(device="cpu"))
    rows = sheet.reshape(8, -1, mixture.WIDTH, 3)
    for row in rows:
        top = mixture.GAP + mixture.HEIGHT
        assert (row[mixture.GAP : top, : mixture.WIDTH // 2] != 128).mean() > 0.5
        assert (row[top:, : mixture.WIDTH // 2] > 200).any()
