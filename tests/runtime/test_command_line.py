"""`captcha-rt`, run as a process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from captcha_rt import load_model
from captcha_rt.cli.app import COMMANDS, app
from captcha_rt.model import attach

PICTURE = Path(__file__).parent.parent / "samples" / "dnwnb.png"


@pytest.fixture
def folder(tmp_path: Path, stripes_png) -> Path:
    """A folder of two pictures and a file between them that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "abc.png").write_bytes(stripes_png("-aa--bb--cc-----"))
    (folder / "bad.png").write_text("not a picture")
    (folder / "cab.png").write_bytes(stripes_png("c-a-b-----------"))
    (folder / "notes.txt").write_text("no picture, and not meant as one")
    return folder


def test_one_picture_gives_its_text_and_nothing_else(command, stripes: Path, folder: Path) -> None:
    """Standard output is the text and a newline, standard error is empty."""
    result = command("solve", folder / "abc.png", "--model", stripes)
    assert (result.stdout, result.stderr, result.returncode) == ("abc\n", "", 0)


def test_solve_loads_only_what_it_needs(run_python, stripes: Path, folder: Path) -> None:
    """`solve` loads neither pydantic, which takes half as long as all the rest, nor what it spares.

    What looks for distributions takes 10 ms, the steps that a recipe doesn't name as much.
    """
    spared = (
        *("pydantic", "rich", "importlib.metadata", "email", "multiprocessing"),
        *("captcha_rt.steps.glyphs", "captcha_rt.steps.filters", "captcha_rt.archives"),
    )
    code = (
        "import sys; from captcha_rt.cli import main\n"
        f"sys.argv = ['captcha-rt', 'solve', {str(folder / 'abc.png')!r}, '-m', {str(stripes)!r}]\n"
        "try: main()\n"
        f"finally: print([m for m in {spared!r} if m in sys.modules])"
    )
    assert run_python(code).stdout == "abc\n[]\n"


def test_solve_with_all_options_loads_no_more(run_python, stripes: Path, folder: Path) -> None:
    """Numbers and choices are converted without pydantic, too, and commands load on demand."""
    picture = str(folder / "abc.png")
    options = ["-m", str(stripes), "--device", "cpu", "--threads", "2", "--batch-size", "3"]
    options += ["--min-confidence", "0.25", "--jsonl", "--quiet"]
    code = (
        "import sys; from captcha_rt.cli import main\n"
        f"sys.argv = ['captcha-rt', 'solve', {picture!r}, *{options!r}]\n"
        "try: main()\n"
        "finally:\n"
        "    print([m for m in ('pydantic', 'rich', 'tensorflow') if m in sys.modules])\n"
        "    ours = {m for m in sys.modules if m.startswith('captcha_rt.cli.')}\n"
        "    print(sorted(m.rpartition('.')[2] for m in ours))\n"
        "    print([m for m in sys.modules if m.startswith('captcha_rt.diagnostics')])"
    )
    answer, foreign, ours, diagnostics = run_python(code).stdout.splitlines()
    assert json.loads(answer)["text"] == "abc"
    assert foreign == "[]"
    assert ours == "['answers', 'app', 'interrupts', 'lean', 'options', 'output', 'solve']"
    assert diagnostics == "[]"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--threads", "0"),
        ("--threads", "2000"),
        ("--threads", "many"),
        ("--batch-size", "1.5"),
        ("--device", "tpu"),
        ("--min-confidence", "1.5"),
        ("--min-confidence", "nan%"),
    ],
)
def test_wrong_values_are_answered_by_typer(call, option: str, value: str) -> None:
    """Typer's error messages stay, since only values that are plainly right bypass Typer."""
    result = call("solve", "x.png", option, value)
    assert (result.stdout, result.returncode) == ("", 2)
    assert f"Invalid value for '{option}'" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_module_has_a_function_of_its_name(name: str) -> None:
    """Each row of `COMMANDS` leads to a function, or names another distribution."""
    origin = COMMANDS[name]
    if origin.module is None:
        assert origin.distribution != "captcha-rt"
    else:
        assert callable(getattr(import_module(origin.module), name))


def test_a_command_that_is_not_installed_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The error is one line with the command to type, and the exit code is 2."""
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: ())
    with pytest.raises(SystemExit) as stopped:
        app(["train", "folder"])
    assert stopped.value.code == 2
    where = "is part of captcha-rt-train: pip install ./export ./train, in a checkout of captcha-rt"
    assert capsys.readouterr().err == f"captcha-rt: `captcha-rt train` {where}\n"


def test_an_output_without_a_cluster_says_what_goes(call, stripes: Path) -> None:
    """`-o` alone is wrong usage, and the line says how to write a file."""
    done = call("solve", stripes, "-o", "answers.txt")
    assert done.returncode == 2
    assert "-o goes with --cluster; else redirect the output: > FILE" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is a folder where nobody may write")
@pytest.mark.parametrize(
    "line", [("explain", PICTURE, "-o", "/proc/x.png"), ("deploy", "triton", "/proc")]
)
def test_an_output_that_cant_be_written_is_named(call, line: tuple[str | Path, ...]) -> None:
    """The line names what was asked for, neither a partial file nor a number of the system."""
    done = call(*line)
    named = "/proc/x.png" if line[0] == "explain" else "/proc/default"
    assert done.returncode == 2
    assert done.stderr == f"captcha-rt: {named}: No such file or directory\n"


def test_standard_input_is_a_picture(command, stripes: Path, stripes_png) -> None:
    """`-` reads one picture's bytes."""
    result = command("solve", "-", "-m", stripes, input=stripes_png("c-a-b-----------"), text=False)
    assert (result.stdout, result.returncode) == (f"cab{os.linesep}".encode(), 0)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_many_pictures_give_a_line_each_in_order(
    command, stripes: Path, folder: Path, batch_size: int
) -> None:
    """A file that is no picture has an empty text, a reason on stderr and exit code 1."""
    result = command("solve", folder, "-m", stripes, "--batch-size", batch_size)
    names = [str(folder / name) for name in ("abc.png", "bad.png", "cab.png")]
    assert result.stdout == f"{names[0]}\tabc\n{names[1]}\t\n{names[2]}\tcab\n"
    passed_over, error = result.stderr.splitlines()
    assert passed_over == "passed over: 1 .txt file"
    assert error.startswith(f"captcha-rt: {names[1]}")
    assert "text" in error
    assert result.returncode == 1


def test_files_folders_and_globs_mix(command, stripes: Path, folder: Path) -> None:
    """Paths are taken in the order given; a glob that the shell left alone is expanded.

    What is passed over is counted for each folder.
    """
    result = command("solve", folder / "cab.png", str(folder / "a*.png"), folder, "-m", stripes)
    names = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert [Path(n).stem for n in names] == ["cab", "abc", "abc", "bad", "cab"]
    assert result.stderr.startswith(f"{folder}: passed over: 1 .txt file\n")


def test_json_of_one_picture(call, stripes: Path, folder: Path) -> None:
    """`--json` prints an object with the documented names."""
    result = call("solve", folder / "abc.png", "-m", stripes, "--json")
    answer = json.loads(result.stdout)
    assert list(answer) == ["path", "text", "confidence", "characters", "model"]
    assert answer["text"] == "abc"
    assert [list(c) for c in answer["characters"]] == [["text", "confidence"]] * 3
    assert answer["model"] == "stripes"


def test_json_of_many_pictures(call, stripes: Path, folder: Path) -> None:
    """`--json` prints a list in order; instead of an answer an error has type and message."""
    result = call("solve", folder, "-m", stripes, "--json", "--quiet")
    answers = json.loads(result.stdout)
    assert [a.get("text") for a in answers] == ["abc", None, "cab"]
    assert list(answers[1]) == ["path", "error"]
    assert answers[1]["error"]["type"] == "ImageDecodeError"
    assert result.stderr == ""
    assert result.returncode == 1


def test_json_lines(call, stripes: Path, folder: Path) -> None:
    """`--jsonl` prints the objects of `--json`, one per line."""
    lines = call("solve", folder, "-m", stripes, "--jsonl").stdout.splitlines()
    together = json.loads(call("solve", folder, "-m", stripes, "--json").stdout)
    assert [json.loads(line) for line in lines] == together


def test_what_is_less_sure_than_asked_is_rejected(call, stripes: Path, folder: Path) -> None:
    """No text is printed, the reason is on stderr, the exit code is 4; JSON has an error."""
    arguments = ("solve", folder / "abc.png", "-m", stripes, "--min-confidence", "1")
    result = call(*arguments)
    assert (result.stdout, result.returncode) == ("", 4)
    assert "'abc'" in result.stderr
    answer = json.loads(call(*arguments, "--json").stdout)
    assert answer["error"]["type"] == "LowConfidenceError"


def test_an_error_names_its_picture_whatever_the_name(
    call, stripes: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a picture that is called as the message begins."""
    shutil.copy(folder / "abc.png", tmp_path / "read")
    monkeypatch.chdir(tmp_path)
    result = call("solve", "read", "-m", stripes, "--min-confidence", "1")
    assert result.stderr.startswith("captcha-rt: read: read 'abc' ")


def test_a_model_brings_its_own_smallest_confidence(
    call, stripes: Path, folder: Path, tmp_path: Path
) -> None:
    """The model's limit holds unless the command line sets another one."""
    loaded = load_model(stripes)
    assert loaded.manifest.graph is not None
    strict = tmp_path / "strict.onnx"
    graph = loaded.data[: loaded.manifest.graph.size]
    strict.write_bytes(attach(graph, replace(loaded.manifest, min_confidence=1.0)))
    assert call("solve", folder / "abc.png", "-m", strict).returncode == 4
    asked = call("solve", folder / "abc.png", "-m", strict, "--min-confidence", "0")
    assert (asked.stdout, asked.returncode) == ("abc\n", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems know no such names")
@pytest.mark.parametrize("name", [b"\xff.png", b"tab\tnew\nline.png", "é😀.png".encode()])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_any_file_name_is_one_line_and_valid_json(
    command, stripes: Path, folder: Path, name: bytes, encoding: str
) -> None:
    """Names that an encoding lacks, or that would forge a line of output, are escaped.

    Bytes that are no UTF-8 are escaped alike in text and in JSON, which every reader can take.
    """
    other = folder.parent / "other"
    other.mkdir()
    with open(os.fsencode(other) + b"/" + name, "wb") as file:  # noqa: PTH123  (a name of bytes)
        file.write((folder / "abc.png").read_bytes())
    options = {"env": {**os.environ, "PYTHONIOENCODING": encoding}, "encoding": encoding}
    lines = command("solve", other, "-m", stripes, **options).stdout.splitlines()
    assert [line.split("\t")[1:] for line in lines] == [["abc"]]
    printed = command("solve", other, "-m", stripes, "--json", **options).stdout
    (answer,) = json.loads(printed)
    assert answer["path"] == f"{other}/{name.decode(errors='backslashreplace')}"
    answer["path"].encode()  # no half of a surrogate pair
    if name == b"\xff.png":
        assert lines == [f"{other}/\\xff.png\tabc"]


def test_a_path_that_can_not_be_looked_at_costs_the_others_nothing(
    command, stripes: Path, folder: Path
) -> None:
    """A name that is too long and an empty name are errors; the other pictures are read."""
    result = command("solve", folder / "abc.png", "x" * 300 + ".png", "", "-m", stripes)
    assert [line.split("\t")[1] for line in result.stdout.splitlines()] == ["abc", "", ""]
    assert result.stderr.count("\n") == 2
    assert result.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX closes streams so")
@pytest.mark.parametrize("arguments", ["info", "doctor", "solve -", "solve abc.png"])
@pytest.mark.parametrize("stream", ["<&-", "2>&-"])
def test_closed_streams_end_in_no_traceback(folder: Path, arguments: str, stream: str) -> None:
    """Daemons and cron jobs start commands with closed streams."""
    line = f'"{sys.executable}" -m captcha_rt {arguments} {stream}'
    result = subprocess.run(
        ["/bin/sh", "-c", line], check=False, capture_output=True, text=True, cwd=folder
    )
    assert result.returncode in (0, 1, 4)  # what the embedded model does not know is rejected
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr


def test_a_home_that_can_not_be_written_changes_nothing(
    command, stripes: Path, folder: Path, tmp_path: Path
) -> None:
    """The telemetry of onnxruntime is off: it writes no file, and warns of none."""
    for home in (tmp_path, Path("/proc/none")):
        environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
        result = command("solve", folder / "abc.png", "-m", stripes, env=environment)
        assert (result.stdout, result.stderr) == ("abc\n", "")
    assert not list(tmp_path.rglob("*onnxruntime*"))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("solve",), 2),
        (("solve", "x.png", "--threads", "0"), 2),
        (("solve", "x.png", "--device", "tpu"), 2),
        (("solve", "x.png", "--min-confidence", "2"), 2),
        (("solve", "x.png", "--json", "--jsonl"), 2),
        (("solve", "x.png", "--no-such-option"), 2),
        (("solve", "-", "--files-from", "-"), 2),
        (("no-such-command",), 2),
        (("evaluate", "no-such-folder"), 2),
        (("solve", "x.png", "--model", "no-such-model.onnx"), 3),
        (("info", "no-such-model.onnx"), 3),
        (("solve", "no-such-picture.png"), 1),
        (("solve", "no-such-*.png"), 1),
    ],
)
def test_exit_codes(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int
) -> None:
    """Wrong usage is 2, a model that fails 3, a picture that fails 1; never a traceback."""
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.returncode == code
    assert result.stdout == "" or arguments[1] == "no-such-*.png"
    assert result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b"version https://git-lfs.github.com/spec/v1\n", b"\x00" * 999]
)
def test_a_broken_model_is_one_line(command, tmp_path: Path, data: bytes, folder: Path) -> None:
    """The line names the file, and the exit code is 3."""
    model = tmp_path / "model.onnx"
    model.write_bytes(data)
    result = command("solve", folder / "abc.png", "-m", model)
    assert result.returncode == 3
    assert result.stderr.count("\n") == 1
    assert str(model) in result.stderr


def test_a_model_that_does_not_load_is_one_line(command, tmp_path: Path, stripes: Path) -> None:
    """A graph that onnxruntime refuses is a model error, too."""
    model = tmp_path / "model.onnx"
    model.write_bytes(attach(b"\x08\x08\x3a\x04junk", load_model(stripes).manifest))
    result = command("solve", "x.png", "-m", model)
    assert (result.returncode, result.stderr.count("\n")) == (3, 1)


def test_evaluate_prints_the_metrics(command, stripes: Path, folder: Path) -> None:
    """The line of document 000 comes first; a picture that can't be read counts as misread."""
    (folder / "acb.png").write_bytes((folder / "abc.png").read_bytes())
    result = command("evaluate", folder, "-m", stripes)
    assert result.stdout.splitlines()[0] == "total captchas: 4, errors: 2, success rate: 0.5000"
    assert "confused: c as b, 1" in result.stdout
    assert "acb.png: acb as abc" in result.stdout
    assert result.returncode == 1


def test_evaluate_prints_json(call, stripes: Path, folder: Path) -> None:
    """All metrics under their names."""
    (folder / "bad.png").unlink()
    result = call("evaluate", folder, "-m", stripes, "--json")
    values = json.loads(result.stdout)
    assert values["model"] == "stripes"
    assert values["exact_match"] == 1
    assert values["character_error_rate"] == 0
    assert values["position_accuracy"] == [1, 1, 1]
    assert values["interval"] == pytest.approx([0.3424, 1.0], abs=1e-4)
    assert (values["misread"], values["confusions"]) == ([], [])
    assert result.returncode == 0


@pytest.mark.parametrize("number", ["0", "-1", "1025", "1_0", "٣", "9" * 5000, ""])
def test_a_number_of_processes_is_a_number(call, stripes: Path, number: str) -> None:
    """`--workers` is auto, or 1 to 1024 in plain digits."""
    result = call("solve", "x.png", "-m", stripes, "--workers", number)
    assert result.returncode == 2
    assert "auto, or 1 to 1024" in result.stderr


def test_info_says_what_a_model_is(call, stripes: Path) -> None:
    """`info` prints the description, as text and as JSON."""
    assert "name: stripes" in call("info", stripes).stdout
    assert json.loads(call("info", stripes, "--json").stdout)["decoder"] == "ctc"


def test_info_on_a_model_from_elsewhere(command, tmp_path: Path) -> None:
    """`info` says what to install, or with captcha-rt-export what is wrong with the file."""
    path = tmp_path / "model.keras"
    path.write_bytes(b"PK\x03\x04 and no more")
    result = command("info", path)
    assert result.returncode == 3
    assert re.search(
        "pip install ./export, in a checkout|a zip file that is cut off", result.stderr
    )


def test_doctor_runs_real_sessions(command) -> None:
    """`doctor` reports versions, and the providers that are really active."""
    report = json.loads(command("doctor", "--json").stdout)
    assert report["active"]["cpu"] == ["CPUExecutionProvider"]
    assert report["active"]["auto"]
    assert "CUDA" in report["reason"]  # why auto is where it is
    assert "numpy" in report["distributions"]
    assert report["problems"] == []


def test_help_names_the_exit_codes(command) -> None:
    """`--help` explains each exit code."""
    text = " ".join(command("--help").stdout.split())
    for code in (0, 1, 2, 3, 4, 130, 141):
        assert re.search(rf"\b{code} [a-z]", text)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has the signal")
def test_a_reader_that_leaves_ends_it_quietly(stripes: Path, folder: Path) -> None:
    """`captcha-rt solve ... | head -1` prints no error about the broken pipe."""
    paths = [str(folder / "abc.png")] * 20_000
    program = [sys.executable, "-m", "captcha_rt", "solve", *paths, "-m", str(stripes)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == f"{paths[0]}\tabc\n".encode()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has the signal")
def test_ctrl_c_ends_it_quietly(stripes: Path, folder: Path) -> None:
    """Ctrl-C leaves no traceback, and the exit code is 130."""
    paths = [str(folder / "abc.png")] * 20_000
    program = [sys.executable, "-m", "captcha_rt", "solve", *paths, "-m", str(stripes)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert (stderr, process.returncode) == (b"", 130)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
@pytest.mark.parametrize(("arguments", "bar"), [((), True), (("--quiet",), False)])
def test_progress_is_for_people(
    stripes: Path, folder: Path, arguments: tuple[str, ...], bar: bool
) -> None:
    """The bar is shown if stderr is a terminal, unless `--quiet`; stdout has only the answers."""
    import pty

    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "captcha_rt", "solve", str(folder), "-m", str(stripes)]
    result = subprocess.run(
        [*program, *arguments],
        stdout=subprocess.PIPE,
        stderr=theirs,
        check=False,
        env={**os.environ, "TERM": "xterm"},
    )
    os.close(theirs)
    shown = os.read(ours, 100_000)
    os.close(ours)
    assert (b"solving" in shown) == bar
    assert [line.split(b"\t")[1] for line in result.stdout.splitlines()] == [b"abc", b"", b"cab"]


@pytest.mark.parametrize("line", [["evaluate", ""], ["solve", "x.png", "--model", ""]])
def test_an_empty_path_is_not_the_working_folder(command, line: list[str]) -> None:
    """As a variable that isn't set makes one."""
    result = command(*line)
    assert result.returncode == 2
    assert result.stderr.strip().endswith("an empty path; is a variable not set?")
