"""How files are written: whole or not at all, and never over what is no file."""

import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from captcha_rt.files import write_atomically, write_folder_atomically

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX has these")
WRITE = (
    "import os, signal, sys, time; from pathlib import Path\n"
    "from captcha_rt.files import write_atomically\n"
    "with write_atomically(Path(sys.argv[1])) as partial:\n    "
)


def write(path: Path, text: str = "new") -> None:
    """Writes a text as every command does."""
    with write_atomically(path) as partial:
        partial.write_text(text)


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    """A process that is killed while it writes leaves the old file as it was."""
    path = tmp_path / "model.onnx"
    path.write_text("old")
    code = WRITE + "partial.write_text('half'); os.kill(os.getpid(), signal.SIGTERM)"
    result = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert result.returncode != 0
    assert path.read_text() == "old"


def test_what_killed_processes_left_is_removed_in_time(tmp_path: Path) -> None:
    """A later write removes leftovers of an hour ago, but no file of a process that may live."""
    path = tmp_path / "model.onnx"
    others = [tmp_path / name for name in (".partial-lato", ".partial-model.onnx", ".hidden")]
    for other in others:
        other.touch()
        os.utime(other, (0, 0))
    code = WRITE + "os._exit(9)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, path], check=False)
    old, new = (p for p in tmp_path.iterdir() if p not in others)
    os.utime(old, (time.time() - 4000,) * 2)
    write(path)
    assert {*tmp_path.iterdir()} == {*others, new, path}


def test_an_error_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    """An error while a file is written leaves the old file, and no partial one."""
    path = tmp_path / "model.onnx"
    path.write_text("old")

    def fail() -> None:
        with write_atomically(path) as partial:
            partial.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_processes_that_write_one_file_at_once_do_not_collide(tmp_path: Path) -> None:
    """Four processes write one file again and again: none fails, and the file is always whole."""
    path = tmp_path / "model.onnx"
    code = (
        "import sys; from pathlib import Path\n"
        "from captcha_rt.files import write_atomically\n"
        "for _ in range(50):\n"
        "    with write_atomically(Path(sys.argv[1])) as partial:\n"
        "        partial.write_text(sys.argv[2] * 100_000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, path, c]) for c in "abcd"]
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            text = path.read_text()
            assert (len(text), len({*text})) == (100_000, 1)
    assert [writer.returncode for writer in writers] == [0] * 4
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_a_pipe_gets_the_bytes_and_stays_a_pipe(tmp_path: Path) -> None:
    """What is written to a FIFO arrives at its reader, whole; the FIFO is not replaced."""
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write(pipe, "new" * 50_000)
    reader.join(10)
    assert read == ["new" * 50_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


@posix
@pytest.mark.parametrize("major_minor", [(1, 3), (1, 7)])
def test_a_device_gets_the_bytes_and_stays_a_device(
    tmp_path: Path, major_minor: tuple[int, int]
) -> None:
    """A node of its own, like that of /dev/null or /dev/full, is written to and not replaced."""
    node = tmp_path / "node"
    try:
        os.mknod(node, 0o666 | stat.S_IFCHR, os.makedev(*major_minor))
        with node.open("wb"):
            pass
    except PermissionError:
        pytest.skip("needs the right to make a device node")
    if major_minor == (1, 7):  # always full
        with pytest.raises(OSError, match="No space left"):
            write(node)
    else:
        write(node)
    assert stat.S_ISCHR(node.stat().st_mode)
    assert list(tmp_path.iterdir()) == [node]


@posix
def test_what_can_not_be_written_to_is_refused(tmp_path: Path) -> None:
    """A folder, a socket, a loop of links and a folder that is missing: an error that names it."""
    import socket

    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        before = sorted(tmp_path.iterdir())
        for name in ("folder", "socket", "loop", "missing/model.onnx"):
            with pytest.raises(OSError, match=name.partition("/")[0]):
                write(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


@posix
def test_standard_output_can_be_named() -> None:
    """`-o /dev/stdout` reaches a pipe."""
    code = WRITE + "partial.write_text('new')"
    result = subprocess.run([sys.executable, "-c", code, "/dev/stdout"], capture_output=True)
    assert (result.stdout, result.returncode) == (b"new", 0)


@posix
@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="open files have no paths here")
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1"])
def test_standard_output_may_be_a_file(tmp_path: Path, name: str) -> None:
    """What others write there, before and after, stays."""
    code = "import sys; from pathlib import Path; from captcha_rt.files import write_atomically\n"
    code += "with write_atomically(Path(sys.argv[1])) as path: path.write_text('answers\\n')"
    log = tmp_path / "log.txt"
    log.write_text("old\n")
    for mode, expected in (
        ("a", "old\nbefore\nanswers\nafter\n"),
        ("w", "before\nanswers\nafter\n"),
    ):
        with log.open(mode) as out:
            print("before", file=out, flush=True)
            subprocess.run([sys.executable, "-c", code, name], check=True, stdout=out)
            print("after", file=out, flush=True)
        assert log.read_text() == expected


@posix
def test_planted_links_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link at a partial file's name leads no bytes elsewhere, be its name guessed or not."""
    path, victim = tmp_path / "model.onnx", tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / ".partial-model.onnx").symlink_to(victim)
    write(path)
    monkeypatch.setattr("secrets.token_hex", lambda n: "0" * 2 * n)
    (tmp_path / f".partial-{'0' * 16}.onnx").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write(path, "newer")
    assert (path.read_text(), victim.read_text()) == ("new", "precious")


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path, umask: int) -> None:
    """Files can be read by whom the umask lets read, as those of any other program."""
    before = os.umask(umask)
    try:
        write(tmp_path / "model.onnx")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model.onnx").stat().st_mode) == 0o666 & ~umask


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    """What a service may read it may still read, and what others may not they still may not."""
    path = tmp_path / "model.onnx"
    path.write_text("old")
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 1234, 1234)
    owner = path.stat().st_uid
    write(path)
    assert path.read_text() == "new"
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (mode, owner)


@posix
def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """The file that a link leads to is replaced, or made, in its own folder."""
    (tmp_path / "versions").mkdir()
    for name, old in (("there", "old"), ("new", None)):
        target = tmp_path / "versions" / f"{name}.onnx"
        if old is not None:
            target.write_text(old)
        link = tmp_path / f"{name}.onnx"
        link.symlink_to(Path("versions") / target.name)
        write(link)
        assert link.is_symlink()
        assert target.read_text() == "new"
    assert len([*tmp_path.rglob("*")]) == 5


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    """The partial file's name is short, so that the longest names can be written."""
    path = tmp_path / ("x" * 250 + ".onnx")
    write(path)
    assert path.read_text() == "new"


@pytest.mark.parametrize("name", ["epoch-1.weights.h5", "model.keras", "plain"])
def test_the_partial_file_has_the_suffixes(tmp_path: Path, name: str) -> None:
    """Keras chooses a format by the suffixes."""
    with write_atomically(tmp_path / name) as partial:
        assert partial.suffixes == Path(name).suffixes


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """After an error there is no folder; what killed processes left is removed an hour later."""
    path = tmp_path / "model"

    def fail() -> None:
        with write_folder_atomically(path) as partial:
            (partial / "half").touch()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not list(tmp_path.iterdir())
    left = tmp_path / ".partial-0123456789abcdef"
    left.mkdir()
    (left / "half").touch()
    os.utime(left, (time.time() - 4000,) * 2)
    with write_folder_atomically(path) as partial:
        (partial / "inner").mkdir()
        (partial / "inner" / "whole").write_text("whole")
        assert not path.exists()
    assert (path / "inner" / "whole").read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_not_replaced(tmp_path: Path) -> None:
    """A file or a folder that holds something stays; an empty folder is taken."""
    full, empty, file = (tmp_path / name for name in ("full", "empty", "file"))
    for folder in (full, empty):
        folder.mkdir()
    for old in (full / "old", file):
        old.write_text("old")
    for path in (full, file):
        with (
            pytest.raises(FileExistsError, match="is there already"),
            write_folder_atomically(path),
        ):
            pass
    with pytest.raises(FileNotFoundError), write_folder_atomically(tmp_path / "none" / "new"):
        pass
    with write_folder_atomically(empty) as partial:
        (partial / "new").touch()
    assert [path.name for path in empty.iterdir()] == ["new"]
    assert (full / "old").read_text() == file.read_text() == "old"
