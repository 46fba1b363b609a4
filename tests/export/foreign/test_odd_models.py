"""Broken and odd models of other exporters: the message says what to type, and typing it works."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import cv2
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper
from striped import Dress, build, write_stripes

from captcha_rt import Solver

Call = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="session")
def stripes_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled pictures of stripes."""
    return write_stripes(tmp_path_factory.mktemp("striped") / "pictures")


def value(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def with_labels() -> ModelProto:
    """A network that returns a loss as well, for which it takes the labels."""
    proto = build(Dress(), [helper.make_node("Add", ["y", "labels"], ["loss"])])
    proto.graph.input.append(value("labels", ["batch", 32, 1]))
    proto.graph.output.insert(0, value("loss", [None, None, None]))
    return proto


def with_threshold() -> ModelProto:
    """A network whose scores depend on a second input, after the tensor `logits`."""
    proto = build(Dress(end="Identity"))
    proto.graph.node[-1].CopyFrom(helper.make_node("Mul", ["logits", "sharpness"], ["y"]))
    proto.graph.input.append(value("sharpness", []))
    return proto


def bare(dress: Dress) -> Callable[[], ModelProto]:
    return lambda: build(dress)


CASES: dict[str, tuple[Callable[[], ModelProto], list[str], str, list[str]]] = {
    "wrong blank": (
        bare(Dress()),
        ["--blank", "first"],
        r"type (--blank last)",
        [],
    ),
    "blank that is no class": (
        bare(Dress()),
        ["--blank", "9"],
        r"has 7 classes; type --blank first, (--blank last)",
        [],
    ),
    "no blank for ctc": (
        bare(Dress()),
        ["--decoder", "ctc", "--blank", "none"],
        r"CTC needs a blank: type --blank first or (--blank last)",
        ["--decoder", "ctc"],
    ),
    "charset too short": (
        bare(Dress()),
        ["--charset", "3W7ak", "--decoder", "ctc"],
        r"has 5 characters; the network has 7 classes, one of them the blank, so it takes 6",
        ["--charset", "3W7akz"],
    ),
    "charset in another order": (
        bare(Dress()),
        ["--charset", "37Wakz"],
        r"type (--charset '3W7akz'), or leave --charset out",
        [],
    ),
    "charset with a doubled character": (
        bare(Dress()),
        ["--charset", "3W7aka"],
        r"has 'a' twice",
        ["--charset", "3W7akz"],
    ),
    "wrong decoder": (
        bare(Dress()),
        ["--decoder", "position"],
        r"type (--decoder ctc)",
        [],
    ),
    "glyphs of an output with time steps": (
        bare(Dress()),
        ["--decoder", "glyph"],
        r"type (--decoder ctc)",
        [],
    ),
    "unknown decoder": (
        bare(Dress()),
        ["--decoder", "beam"],
        r"--decoder beam: it is one of ctc, position, glyph",
        ["--decoder", "ctc"],
    ),
    "wrong numbers": (
        bare(Dress(low=-1)),
        ["--recipe", "grey,scale"],
        r"type (--recipe \S+stretch:-1:1), or leave",
        [],
    ),
    "misspelt step": (
        bare(Dress()),
        ["--recipe", "gray,scale"],
        r"unknown step 'gray'; did you mean grey\? Known: frames, grey, rgb",
        ["--recipe", "grey,scale"],
    ),
    "unknown setting": (
        bare(Dress()),
        ["--recipe", "grey,resize:hight=8:width=32,scale"],
        r"step 'resize' takes height, width, not 'hight'",
        ["--recipe", "grey,resize:height=8:width=32,scale"],
    ),
    "recipe of another shape": (
        bare(Dress()),
        ["--recipe", "grey,scale,resize:32x8"],
        r"the recipe makes \(32, 8, 1\), the network takes \(8, 32, 1\): name another by --recipe",
        ["--recipe", "grey,scale,resize:8x32"],
    ),
    "channels first": (
        bare(Dress(channels_first=True)),
        ["--recipe", "grey,scale"],
        r"takes \(1, 8, 32\): name another by --recipe, .* (--recipe grey,scale,channels_first)",
        [],
    ),
    "free width": (
        bare(Dress(free_width=True)),
        [],
        r"leaves the size free, .* by (--input-shape 8x\?x1)",
        ["--input-shape", "8x32x1"],
    ),
    "two inputs": (
        with_labels,
        [],
        r"several outputs may hold the scores: .*; choose one: (--scores loss)",
        ["--scores", "y"],
    ),
    "scores of two inputs": (
        with_threshold,
        [],
        r"also depend on the input sharpness: .*; name the tensor before that by --scores",
        ["--scores", "logits"],
    ),
    "no such output": (
        bare(Dress()),
        ["--scores", "z"],
        r"no tensor 'z'; the outputs are y",
        ["--scores", "y"],
    ),
    "no softmax": (bare(Dress(end="")), [], "", []),
    "a sigmoid": (bare(Dress(end="Sigmoid")), [], "", []),
    "float16": (bare(Dress(kind=TensorProto.FLOAT16)), [], "", []),
    "a fixed batch": (bare(Dress(batch=1, time_first=True)), [], "", []),
}


@pytest.mark.parametrize("name", CASES)
def test_the_message_says_what_to_type(
    call: Call, tmp_path: Path, stripes_folder: Path, name: str
) -> None:
    """One line on stderr, exit code 3 and no file; with what it says all pictures are read."""
    make, wrong, message, right = CASES[name]
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(make(), model)
    export = ["export", model, "-o", out, "--pictures", stripes_folder]
    if message:
        result = call(*export, *wrong)
        assert result.returncode == 3, result.stdout
        assert len(result.stderr.splitlines()) == 1
        found = re.search(message, result.stderr)
        assert found, result.stderr
        assert not out.exists()
        if not right and wrong:
            right = found[1].replace("'", "").split(" ", 1)
    result = call(*export, *right)
    assert result.returncode == 0, result.stderr
    solver = Solver(out, device="cpu")
    assert all(solver.solve(path).text == path.stem for path in stripes_folder.iterdir())


def test_what_is_no_foreign_model_is_refused(call: Call, tmp_path: Path, stripes: Path) -> None:
    """A model of captcha-rt, a damaged file and a missing one are named as what they are."""
    out = tmp_path / "out.onnx"
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    for path, message in (
        (stripes, "is already a model of captcha-rt"),
        (damaged, "is no ONNX model"),
        (tmp_path / "missing.onnx", "can't read"),
    ):
        result = call("export", path, "-o", out, "--pictures", tmp_path)
        assert result.returncode in (2, 3)
        assert len(result.stderr.splitlines()) == 1
        assert message in result.stderr
    assert not out.exists()


@pytest.mark.parametrize("shape", ["", "8x", "8x0x1", "8x²x1", "8,32,1"])
def test_a_size_is_numbers(call: Call, tmp_path: Path, stripes_folder: Path, shape: str) -> None:
    """`--input-shape` takes sizes above 0, and says how they are written."""
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(build(Dress(free_width=True)), model)
    result = call("export", model, "-o", out, "--pictures", stripes_folder, "--input-shape", shape)
    assert result.returncode == 3
    assert "as 50x200x1" in result.stderr


def test_pictures_are_asked_for(call: Call, tmp_path: Path) -> None:
    """Without pictures nothing is written, and the message says why they are needed."""
    model = tmp_path / "net.onnx"
    onnx.save(build(Dress()), model)
    result = call("export", model, "-o", tmp_path / "out.onnx")
    assert result.returncode == 3
    assert "name a folder of pictures that the model reads by --pictures FOLDER" in result.stderr


def test_nothing_is_believed_that_reads_nothing(call: Call, tmp_path: Path) -> None:
    """Labels of other pictures end in an error that shows the best of what was tried."""
    folder = write_stripes(tmp_path / "pictures", length=5)
    paths = sorted(folder.iterdir())
    names = [path.name for path in paths]
    for path in paths:
        path.rename(path.with_suffix(".old"))
    for path, name in zip(paths, names[7:] + names[:7], strict=True):
        path.with_suffix(".old").rename(folder / name)
    model = tmp_path / "net.onnx"
    onnx.save(build(Dress()), model)
    result = call("export", model, "-o", tmp_path / "out.onnx", "--pictures", folder)
    assert result.returncode == 3
    assert "no way to read the network reads the labelled pictures; the best of" in result.stderr
    assert not (tmp_path / "out.onnx").exists()


def test_a_picture_that_is_none_is_left_out(call: Call, tmp_path: Path) -> None:
    """One damaged picture of many is named and left out; with many, nothing is made."""
    folder = write_stripes(tmp_path / "pictures", count=40)
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(build(Dress()), model)
    paths = sorted(folder.iterdir())
    paths[3].write_bytes(b"no picture")
    result = call("export", model, "-o", out, "--pictures", folder)
    assert result.returncode == 0, result.stderr
    assert f"pictures: 1 are left out, {paths[3].name} first: " in result.stdout
    assert "read right: 39 of 39 pictures" in result.stdout
    out.unlink()
    for path in paths[:20]:
        path.write_bytes(b"no picture")
    result = call("export", model, "-o", out, "--pictures", folder)
    assert result.returncode == 2
    assert "20 of 40 pictures fail; " in result.stderr
    assert not out.exists()


def test_the_model_itself_is_not_written_over(
    call: Call, tmp_path: Path, stripes_folder: Path
) -> None:
    """`-o` that names the model is refused, and the model stays as it is."""
    model = tmp_path / "net.onnx"
    onnx.save(build(Dress()), model)
    before = model.read_bytes()
    result = call("export", model, "-o", model, "--pictures", stripes_folder)
    assert result.returncode == 3
    assert "is the model itself: name another file to write" in result.stderr
    assert model.read_bytes() == before


def test_few_labels_are_not_enough(call: Call, tmp_path: Path) -> None:
    """With a handful of pictures, the message names what they can't tell, and the option."""
    folder = write_stripes(tmp_path / "pictures", count=5)
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(build(Dress()), model)
    export = ["export", model, "-o", out, "--pictures", folder]
    result = call(*export)
    assert "5 labelled pictures are too few to find out the recipe; name a folder with more" in (
        result.stderr
    )
    told = ["--recipe", "grey,scale", "--charset", "3W7akz"]
    assert call(*export, *told).returncode == 0


def test_options_for_foreign_models_are_refused_for_a_run(call: Call, tmp_path: Path) -> None:
    """A run knows its recipe: an option that would be without effect is an error."""
    result = call("export", tmp_path, "-o", tmp_path / "out.onnx", "--blank", "last")
    assert result.returncode == 2
    assert "--blank is for models that were trained elsewhere" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
def test_the_search_shows_its_progress_and_can_be_stopped(tmp_path: Path) -> None:
    """On a terminal a bar shows what is tried; Ctrl-C ends it with 130, and leaves no file."""
    import pty

    folder = write_stripes(tmp_path / "pictures", count=40)
    model, out = tmp_path / "net.onnx", tmp_path / "out.onnx"
    for path in folder.iterdir():  # large pictures take their time
        large = cv2.resize(cv2.imread(str(path)), None, fx=60, fy=60, interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(path), large)
    onnx.save(build(Dress()), model)
    terminal, end = pty.openpty()
    program = [sys.executable, "-m", "captcha_rt", "export", model, "-o", out]
    with subprocess.Popen(
        [*program, "--pictures", folder],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "TERM": "xterm"},
    ) as process:
        os.close(end)
        shown = b""
        while b"trying" not in shown:
            assert process.poll() is None, shown
            shown += os.read(terminal, 1024)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 130
    assert not out.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "pictures"]
