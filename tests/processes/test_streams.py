"""`captcha-rt` with endless input, a full disk, links that form loops, and early Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from captcha_rt.cli.output import one_line, to_json
from captcha_rt.pictures import expand_path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX has these")
TEXT = "-aa--bb--cc-----"
PROGRAM = f'"{sys.executable}" -m captcha_rt'


def shell(line: str, folder: Path) -> subprocess.CompletedProcess:
    """Runs a line of shell."""
    return subprocess.run(
        ["/bin/sh", "-c", line], check=False, capture_output=True, text=True, cwd=folder, timeout=60
    )


@pytest.mark.parametrize("command", ["solve -", "solve - abc.png", "explain - -o x.png", "bench -"])
@pytest.mark.parametrize("stream", ["endless", "closed for reading"])
def test_standard_input_that_gives_no_picture_is_one_line(
    tmp_path: Path, stripes: Path, stripes_png, command: str, stream: str
) -> None:
    """An endless stream is read up to the limit; it costs the other pictures nothing."""
    (tmp_path / "abc.png").write_bytes(stripes_png(TEXT))
    line = f"{PROGRAM} {command} -m '{stripes}'"
    line = f"yes | {line}" if stream == "endless" else f"{line} 0>out"
    result = shell(line, tmp_path)
    assert result.stderr.count("\n") == 1
    reason = "more than the limit" if stream == "endless" else "can't read standard input"
    assert reason in result.stderr
    assert result.returncode == 1
    assert ("abc.png\tabc\n" in result.stdout) == ("abc.png" in command)


def test_a_terminal_as_standard_input_says_that_it_waits(stripes: Path) -> None:
    """A person who typed `-` learns why nothing happens."""
    import pty

    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "captcha_rt", "solve", "-", "-m", str(stripes)]
    with subprocess.Popen(program, stdin=theirs, stderr=subprocess.PIPE) as process:
        assert b"waiting for a picture on standard input" in process.stderr.readline()
        os.write(ours, b"\x04")  # Ctrl-D
        assert b"empty" in process.stderr.read()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("output", "reason"), [("/dev/full", "No space left on device"), ("&-", "Bad file descriptor")]
)
@pytest.mark.parametrize(
    "arguments", ["--help", "--version", "solve --help", "solve abc.png abc.png", "info", "doctor"]
)
def test_output_that_can_not_be_written_is_one_line(
    tmp_path: Path, stripes: Path, stripes_png, arguments: str, output: str, reason: str
) -> None:
    """A full disk, or a closed stdout, is one line on stderr, and the exit code is 2."""
    if output == "/dev/full" and not os.path.exists(output):  # noqa: PTH110
        pytest.skip("Linux has it")
    (tmp_path / "abc.png").write_bytes(stripes_png(TEXT))
    model = f"-m '{stripes}'" if "abc.png" in arguments else ""
    result = shell(f"{PROGRAM} {arguments} {model} >{output}", tmp_path)
    assert result.stderr == f"captcha-rt: can't write the output: {reason}\n"
    assert result.returncode == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has it")  # noqa: PTH110
@pytest.mark.parametrize(
    ("arguments", "code"), [("solve no.png abc.png", 1), ("--bad", 2), ("info no.onnx", 3)]
)
def test_messages_that_can_not_be_written_change_nothing(
    tmp_path: Path, stripes: Path, stripes_png, arguments: str, code: int
) -> None:
    """The answers and the exit code are as ever where stderr can't be written."""
    (tmp_path / "abc.png").write_bytes(stripes_png(TEXT))
    model = f"-m '{stripes}'" if arguments.startswith("solve") else ""
    result = shell(f"{PROGRAM} {arguments} {model} 2>/dev/full", tmp_path)
    assert ("abc.png\tabc\n" in result.stdout) == (code == 1)
    assert result.returncode == code


def test_a_help_that_nobody_reads_ends_quietly(tmp_path: Path) -> None:
    """A reader that leaves is no error of the program, whatever is printed."""
    result = shell(f"({PROGRAM} --help; echo $? >code) | true", tmp_path)
    assert result.stderr == ""
    assert (tmp_path / "code").read_text() in ("0\n", "141\n")  # 0 if it was the first


def test_ctrl_c_at_any_moment_of_the_start_ends_it_quietly(
    stripes: Path, stripes_png, tmp_path: Path
) -> None:
    """From the import of the command line on, the exit code is 130, and no error is printed."""
    (tmp_path / "abc.png").write_bytes(stripes_png(TEXT))
    (tmp_path / "start.py").write_text(
        "import os, sys\n"
        "from captcha_rt.cli import main\n"
        "try:\n"
        "    os.write(1, b'.')\n"
        "    main()\n"
        "except KeyboardInterrupt as interrupt:\n"
        "    if interrupt.__traceback__.tb_next:  # raised in the command line\n"
        "        raise\n"
        "    sys.exit(130)  # raised here, before it\n"
    )
    program = [sys.executable, "start.py", "solve", "abc.png", "-m", str(stripes)]
    codes = set()
    for moment in range(20):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(program, cwd=tmp_path, **pipes) as process:
            assert process.stdout.read(1) == b"."
            time.sleep(0.002 + 0.015 * moment)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        codes.add(process.returncode)
        assert stderr == b""
    assert 130 in codes
    assert codes <= {130, 0, -signal.SIGINT}  # it had ended; or Python had, all but its process


def test_an_ignored_ctrl_c_stays_ignored(stripes: Path, stripes_png, tmp_path: Path) -> None:
    """`nohup` and background jobs of scripts ignore the signal; so does the program then."""
    (tmp_path / "abc.png").write_bytes(stripes_png(TEXT))
    late = "{ sleep 0.6; cat abc.png; }"  # so that the program is there when the signal comes
    line = f"trap '' INT; {late} | {PROGRAM} solve - -m '{stripes}' & sleep 0.3; kill -INT $!; wait"
    result = shell(line, tmp_path)
    assert (result.stdout, result.stderr, result.returncode) == ("abc\n", "", 0)


def test_two_stars_do_not_follow_links_to_folders(tmp_path: Path) -> None:
    """Links that form loops end, and each file is found once, as in shells."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    files = [tmp_path / "x.png", tmp_path / "a" / "y.png", inner / "z.png"]
    for file in [*files, tmp_path / ".hidden" / "h.png"]:
        file.touch()
    for name in ("one", "two"):
        for folder in (tmp_path, inner):
            (folder / name).symlink_to(tmp_path)
    started = time.monotonic()
    for pattern in ("**/*.png", "**/**/*.png", "**"):
        found = [path for _, path in expand_path(str(tmp_path / pattern))]
        assert found == sorted(files)
    linked = [path for _, path in expand_path(str(tmp_path / "one" / "**" / "z.png"))]
    assert linked == [tmp_path / "one" / "a" / "b" / "z.png"]  # a link that is named is followed
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*.png", ["a/b/z.png", "a/y.png", "x.png"]),
        ("a/**/*.png", ["a/b/z.png", "a/y.png"]),
        ("./**/y.png", ["./a/y.png"]),
        ("a/**", ["a/b/z.png", "a/y.png"]),
        ("*/**/z.png", ["a/b/z.png"]),
        ("**/b/**/*.png", ["a/b/z.png"]),
        ("**.png", ["x.png"]),
        ("no/**/*.png", ["no/**/*.png"]),
    ],
)
def test_two_stars_are_folders_at_any_depth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, names: list[str]
) -> None:
    """`**` matches as in Python's `glob`; names begin as the pattern does."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("x.png", "a/y.png", "a/b/z.png"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    assert [name for name, _ in expand_path(pattern)] == names


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\udcff.png", r"\xff.png"),
        ("\udcc3é\udca9", r"\xc3é\xa9"),
        ("😀\udc80", r"😀\x80"),
        (r"\udcff", r"\udcff"),
        ('"\n😀', '"\n😀'),
    ],
)
def test_json_holds_no_half_of_a_surrogate_pair(text: str, written: str) -> None:
    """A byte of a path that is not UTF-8 is escaped, so that strict readers take the JSON."""
    printed = to_json({"path": text, "list": [text]}, indent=2)
    assert printed.isascii()
    assert json.loads(printed) == {"path": written, "list": [written]}
    if "\n" not in text:
        assert one_line(text) == written  # alike in lines of text
