"""`captcha-rt export --to triton`: the folder that `captcha-rt deploy triton` writes."""

from pathlib import Path

import pytest

from captcha_rt.deploy.triton import write_triton
from captcha_rt.model import load_model
from captcha_rt_export.errors import ExportError
from captcha_rt_export.to import triton
from captcha_rt_export.to.source import Source


@pytest.fixture
def pictures(stripes_png, tmp_path: Path) -> Path:
    """Three pictures for `stripes`."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for text in ("abc", "ab", "c"):
        (folder / f"{text}.png").write_bytes(stripes_png(text.ljust(16, "-")))
    return folder


def test_the_folder_is_that_of_deploy(stripes: Path, pictures: Path, tmp_path: Path) -> None:
    """Both commands write the same files, and the pictures are counted."""
    out = tmp_path / "repository" / "reader"
    source = Source(stripes, pictures=pictures, device="cuda", instances=3)
    taken = triton.write(source, out)
    assert (taken.name, taken.pictures, taken.same) == ("reader", 3, 3)
    other = tmp_path / "deployed" / "reader"
    files = sorted(pictures.iterdir())
    assert write_triton(other, load_model(stripes), files, device="cuda", instances=3) == [
        *("ab", "abc", "c")
    ]
    found = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (out, other)
    ]
    assert found[0] == found[1]
    with pytest.raises(FileExistsError, match="is there already"):
        triton.write(source, out)


def test_a_name_that_triton_does_not_take_is_refused(
    stripes: Path, pictures: Path, tmp_path: Path
) -> None:
    """The folder's name is the model's, and goes into the configuration as it is."""
    with pytest.raises(ExportError, match="name a folder of letters"):
        triton.write(Source(stripes, pictures=pictures), tmp_path / 'a"b')


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ["--to", "tflite", "-o", "x.onnx"],
            "--to tflite writes a file that ends in .tflite: -o x.tflite",
        ),
        (
            ["--to", "keras", "-o", "x.h5"],
            "--to keras writes a file that ends in .keras: -o x.keras",
        ),
        (["--to", "triton", "-o", "x.onnx"], "--to triton writes a folder: -o x"),
        (["-o", "x.tflite"], "export without --to writes a file that ends in .onnx: -o x.onnx"),
        (["-o", "x.onnx", "--device", "cpu"], "--device is for --to triton"),
        (["--to", "ddddocr", "-o", "x", "--instances", "1"], "--instances is for --to triton"),
    ],
)
def test_options_and_names_of_another_form_are_refused(
    call, stripes: Path, options: list[str], reason: str
) -> None:
    """One line says what to type; nothing is loaded or written."""
    result = call("export", stripes, *options)
    assert (result.returncode, result.stderr) == (2, f"captcha-rt: {reason}\n")
