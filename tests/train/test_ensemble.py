"""Document 001's networks, one per digit, trained together and alone, in real processes."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

OPTIONS = ("--preset", "ensemble", "--epochs", "1", "--validation", "0.2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten transparent pictures of two digits, in the alpha channel alone."""
    folder = tmp_path_factory.mktemp("court")
    for text in ("01", "12", "23", "34", "45", "56", "67", "78", "89", "90"):
        picture = np.zeros((40, 60, 4), np.uint8)
        alpha = np.zeros((40, 60), np.uint8)
        cv2.putText(alpha, text, (8, 30), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 2)
        picture[:, :, 3] = alpha
        cv2.imwrite(str(folder / f"{text}.png"), picture)
    return folder


def history(run: Path, digit: int) -> list[dict[str, str]]:
    with (run / f"digit-{digit}" / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_digits_can_be_trained_one_at_a_time(command, folder: Path, tmp_path: Path) -> None:
    """`--digit 2` comes first, `--resume` trains the rest, `--digit 1` starts that digit again."""
    run = tmp_path / "run"
    alone = command("train", folder, "-o", run, *OPTIONS, "--digit", "2")
    assert alone.returncode == 0, alone.stderr
    assert "some digits are not trained yet" in alone.stdout
    assert not (run / "manifest.json").exists()
    assert len(history(run, 2)) == 1

    rest = command("train", folder, "-o", run, *OPTIONS, "--resume")
    assert rest.returncode in (0, 1), rest.stderr  # 1: it has learned nothing yet
    facts = json.loads((run / "manifest.json").read_text())["training"]
    assert facts["epochs_trained"] == [1, 1]
    assert facts["parameters"] > 1_000_000

    second = (run / "digit-2" / "history.csv").read_bytes()
    again = command("train", folder, "-o", run, *OPTIONS, "--digit", "1", "--epochs", "2")
    assert again.returncode in (0, 1), again.stderr
    assert len(history(run, 1)) == 2
    assert (run / "digit-2" / "history.csv").read_bytes() == second
    facts = json.loads((run / "manifest.json").read_text())["training"]
    assert facts["epochs_trained"] == [2, 1]


def test_a_resumed_digit_is_not_trained_from_scratch(command, folder: Path, tmp_path: Path) -> None:
    """`--digit 1 --resume` keeps the history; a digit out of range creates no run."""
    run = tmp_path / "run"
    assert command("train", folder, "-o", run, *OPTIONS, "--digit", "3").returncode == 2
    assert not run.exists()
    options = (*OPTIONS, "--digit", "1")
    assert command("train", folder, "-o", run, *options).returncode == 0
    first = (run / "digit-1" / "history.csv").read_bytes()
    assert command("train", folder, "-o", run, *options, "--resume").returncode == 0
    assert (run / "digit-1" / "history.csv").read_bytes() == first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--digit", "7"), "no digit 7"),
        (("--digit", "1", "--preset", "crnn"), "one network for all digits"),
    ],
)
def test_a_digit_that_does_not_exist_is_refused(
    command, folder: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    """One line, exit code 2."""
    result = command("train", folder, "-o", tmp_path / "run", *OPTIONS, *options)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
