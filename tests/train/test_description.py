"""`captcha-rt dataset`: what a folder holds."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from captcha_rt_train.data.description import describe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures with the same pixels but different labels, two that agree, a damaged one."""
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    other = np.full((4, 4, 3), 200, np.uint8)
    pictures = {"1.png": grey, "2.bmp": grey, "3.png": other, "4.png": other, "6.png": other + 9}
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / name), picture)
    (tmp_path / "5.png").write_text("no picture")
    (tmp_path / "labels.csv").write_text(
        "filename,label\n1.png,ab\n2.bmp,ac\n3.png,007\n4.png,007\n5.png,ab\n9.png,x\n"
    )
    return tmp_path


def test_the_description(folder: Path) -> None:
    """Counts of labels include unreadable pictures; counts of sizes and formats don't."""
    found = describe(folder)
    assert (found.pictures, found.form) == (5, "labels.csv")
    assert found.sizes == {"6 x 4": 2, "4 x 4": 2}
    assert found.formats.keys() >= {".png RGB"}
    assert sum(found.formats.values()) == 4
    assert found.lengths == {2: 3, 3: 2}
    assert list(found.characters.items()) == [("0", 4), ("7", 2), ("a", 3), ("b", 2), ("c", 1)]
    assert found.repeated_labels == 2
    assert [name for name, _ in found.unreadable] == ["5.png"]
    assert "not a PNG" in found.unreadable[0][1]
    assert not found.unreadable[0][1].startswith(str(folder))
    assert dict(found.problems).keys() == {"labels.csv:7", "6.png"}


def test_same_pixels_are_found_by_their_content(folder: Path) -> None:
    """Each group says whether its labels agree; the same bytes in another shape are different."""
    cv2.imwrite(str(folder / "6.png"), np.arange(24, dtype=np.uint8).reshape(6, 4))
    (folder / "labels.csv").write_text(
        "filename,label\n1.png,ab\n2.png,q\n3.png,007\n4.png,007\n6.png,ab\n"
    )
    cv2.imwrite(str(folder / "2.png"), np.arange(24, dtype=np.uint8).reshape(4, 6))
    wrong, right = describe(folder).duplicates
    assert (wrong.paths, wrong.labels, wrong.agree) == (("1.png", "2.png"), ("ab", "q"), False)
    assert (right.paths, right.agree) == (("3.png", "4.png"), True)


def test_the_command_prints_the_description(command, folder: Path) -> None:
    """Text goes to stdout; a picture that can't be read makes the exit code 1."""
    (folder / "2.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "2.bmp").unlink()
    rows = (folder / "labels.csv").read_text().replace("2.bmp", "2.png")
    (folder / "labels.csv").write_text(rows)
    result = command("dataset", folder)
    lines = result.stdout.splitlines()
    assert lines[0] == "pictures: 5"
    assert "--labels labels.csv" in lines[1]
    assert "  0 4" in lines
    assert "same pixels, different labels: 1.png (ab), 2.png (ac)" in lines
    assert "same pixels: 3.png (007), 4.png (007)" in lines
    assert any(line.startswith("unreadable: 5.png: ") for line in lines)
    assert "problem: labels.csv:7: no such picture: '9.png'" in lines
    assert (result.returncode, result.stderr) == (1, "")


def test_the_command_prints_json(command, folder: Path) -> None:
    """The same numbers under their names; `--labels` chooses the form."""
    values = json.loads(command("dataset", folder, "--json", "--quiet").stdout)
    assert (values["pictures"], values["lengths"]) == (5, {"2": 3, "3": 2})
    values = json.loads(command("dataset", folder, "--json", "--labels", "stem").stdout)
    assert (values["pictures"], values["characters"]["6"]) == (6, 1)


def test_what_can_not_be_used_is_wrong_usage(command, folder: Path, tmp_path: Path) -> None:
    """Exit code 2 and one line."""
    for arguments in (("no-such-folder",), (folder, "--labels", "stem-first"), (folder, "--bad")):
        result = command("dataset", *arguments, cwd=tmp_path)
        assert (result.returncode, result.stdout) == (2, "")
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("name", "count", "size", "format_", "length", "characters"),
    [
        ("captcha_v2", 936, "200 x 50", ".png RGBA", 5, "2345678bcdefgmnpwxy"),
        ("thsrc", 9000, "140 x 48", ".jpg RGB", 4, "234579ACFHKMNPQRTYZ"),
        ("court", 880, "120 x 40", ".png RGBA", 6, "0123456789"),
        ("metu", 6000, "150 x 50", ".jpg RGB", 6, "0123456789"),
    ],
)
def test_real_folders(
    captcha_data: Path,
    name: str,
    count: int,
    size: str,
    format_: str,
    length: int,
    characters: str,
) -> None:
    """The descriptions have the numbers that the folders' README gives."""
    found = describe(captcha_data / name)
    assert (found.sizes, found.formats) == ({size: count}, {format_: count})
    assert (found.lengths, "".join(found.characters)) == ({length: count}, characters)
    assert (found.duplicates, found.unreadable, found.problems) == ((), (), ())
