"""The training pictures of a run, as an export in 8 bits takes them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from captcha_rt import decode_image
from captcha_rt_export.errors import ExportError
from captcha_rt_export.int8 import CALIBRATION_SAMPLES
from captcha_rt_export.run import Run, SampleFile
from captcha_rt_train.data.samples import Sample
from captcha_rt_train.training.preparing import keep_drawn


def drawn(channels: int, number: int = 0) -> Sample:
    """A picture without a file."""
    picture = np.random.default_rng(number).integers(256, size=(8, 12, channels), dtype=np.uint8)
    return Sample(None, f"drawn/{number}", "ab", picture, np.zeros((8, 12, 1), np.float32), "drawn")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_drawn_pictures_are_kept_for_8_bits(tmp_path: Path, channels: int) -> None:
    """A run that learned from drawn pictures alone can be exported later, on these very pixels."""
    run, samples = Run(tmp_path / "run"), [drawn(channels, number) for number in range(900)]
    run.write_split([SampleFile(Path(s.name), s.label, "training", s.source) for s in samples])
    keep_drawn(run, samples)
    paths = [sample.path for sample in run.training_samples()]
    assert CALIBRATION_SAMPLES / 2 < len(paths) <= CALIBRATION_SAMPLES
    np.testing.assert_array_equal(decode_image(paths[0]), samples[0].picture)
    assert len(set(paths)) == len(paths)


def test_files_are_taken_as_they_are(tmp_path: Path) -> None:
    """Drawn pictures beside them are left out; pictures that are gone are an error."""
    file = tmp_path / "x.png"
    file.touch()
    run, sample = Run(tmp_path / "run"), replace(drawn(1), path=file, name="x.png", source="")
    row = SampleFile(file, "ab", "training")
    run.write_split([row, SampleFile(Path("drawn/0"), "ab", "training")])
    keep_drawn(run, [sample, drawn(1)])
    assert run.training_samples() == [row]
    file.unlink()
    with pytest.raises(ExportError, match="are gone"):
        run.training_samples()
