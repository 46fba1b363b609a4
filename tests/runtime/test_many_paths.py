"""Paths by the million: sorted in bounded memory, listed, and the cores to read them with."""

import json
import os
import random
import sys
import tracemalloc
from pathlib import Path

import pytest

from captcha_rt import FolderError, sorting
from captcha_rt.cores import available_cores, quotas
from captcha_rt.pictures import (
    describe_not_streamed,
    describe_passed_over,
    expand_path,
    find_pictures,
    stream_pictures,
    walk,
)
from captcha_rt.sorting import sorted_texts


@pytest.mark.parametrize("count", [0, 1, 3, 4, 10, 100])
def test_texts_are_sorted_in_runs(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """The order is Python's, also of names with a line's end and of bytes that are no UTF-8."""
    monkeypatch.setattr(sorting, "RUN", 3)
    rng = random.Random(count)
    texts = ["".join(rng.choices("ab\n\r\udcff\udc80é😀.", k=4)) for _ in range(count)]
    assert [*sorted_texts(iter(texts))] == sorted(texts)


def test_memory_does_not_grow_with_the_number_of_names() -> None:
    """Sorting 300,000 names takes the memory of a part of them."""
    tracemalloc.start()
    count = sum(1 for _ in sorted_texts(f"picture-{number:09}.png" for number in range(300_000)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 300_000
    assert peak < 10e6  # all of them: 24 MB


@pytest.fixture
def tree(tmp_path: Path, stripes_png) -> Path:
    """A folder with all kinds of files."""
    picture = stripes_png("-aa--bb--cc-----")
    for name in ("b.png", "a.PNG", "no-suffix", ".hidden.png", "sub/c.png", ".no/d.png", "x.dat"):
        file = tmp_path / "tree" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture)
    for name in ("notes.txt", "sub/.x", "noise"):
        (tmp_path / "tree" / name).write_text("no picture")
    (tmp_path / "tree" / "folder.png").mkdir()
    (tmp_path / "tree" / "loop").symlink_to(tmp_path / "tree")
    (tmp_path / "tree" / "gone.png").symlink_to(tmp_path / "nothing")
    return tmp_path / "tree"


def test_pictures_are_streamed_as_they_are_found(tree: Path) -> None:
    """Both ways find the same pictures and count the same files that are passed over."""
    found = find_pictures(tree)
    assert [path.name for path in found] == ["a.PNG", "b.png", "no-suffix", "x.dat"]
    assert [*stream_pictures(tree)] == found
    for others in (set(), {tree / "sub" / "c.png"}):
        line = describe_passed_over(walk(tree), {*found, *others}, tree)
        assert describe_not_streamed(tree, others) == line
        assert "1 .txt file" in line
    for folder in (tree / "folder.png", tree / "nothing"):
        with pytest.raises(FolderError):
            next(stream_pictures(folder))


def test_a_glob_that_lists_a_folder_is_lazy(tree: Path) -> None:
    """What a glob matches is sorted, without hidden files unless they are asked for."""
    names = [Path(name).name for name, _ in expand_path(str(tree / "*.[pP]*"))]
    assert names == ["a.PNG", "b.png"]
    names = [Path(name).name for name, _ in expand_path(str(tree / ".*"))]
    assert names == [".hidden.png"]


def test_a_list_names_files(call, stripes: Path, tree: Path, tmp_path: Path) -> None:
    """A line is a path as it stands; paths before the list are read first."""
    star = tree / "sub" / "[b]*.png"
    star.write_bytes((tree / "b.png").read_bytes())
    listed = tmp_path / "list.txt"
    listed.write_bytes(f"{tree}/b.png\r\n\n{star}\n{tree}\nno.png".encode())
    result = call("solve", tree / "a.PNG", "--files-from", listed, "-m", stripes)
    assert result.stdout == (
        f"{tree}/a.PNG\tabc\n{tree}/b.png\tabc\n{star}\tabc\n{tree}\t\nno.png\t\n"
    )
    assert "is a folder" in result.stderr
    assert result.returncode == 1
    listed.write_text(f"{tree}/b.png")
    assert call("solve", "--files-from", listed, "-m", stripes).stdout == f"{tree}/b.png\tabc\n"
    printed = call("solve", "--files-from", listed, "-m", stripes, "--json").stdout
    assert [answer["text"] for answer in json.loads(printed)] == ["abc"]


def test_a_list_comes_through_a_pipe(command, stripes: Path, tree: Path) -> None:
    """`-` is a list on standard input."""
    result = command("solve", "--files-from", "-", "-m", stripes, input=f"{tree}/b.png\n" * 3)
    assert (result.stdout, result.stderr) == (f"{tree}/b.png\tabc\n" * 3, "")


@pytest.mark.parametrize(
    ("content", "arguments"),
    [("\n\n", ("--files-from", "list.txt")), (None, ("--files-from", "list.txt")), (None, ())],
)
def test_a_list_of_nothing_is_wrong_usage(
    call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, arguments
) -> None:
    """An empty list, none at the path, or neither a list nor a path: exit code 2 and a reason."""
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("list.txt").write_text(content)
    result = call("solve", *arguments)
    assert (result.stdout, result.returncode) == ("", 2)
    assert result.stderr


@pytest.mark.parametrize("number", ["0", "-2", "x", "1.5", "9999"])
def test_a_wrong_number_of_workers_is_wrong_usage(call, stripes: Path, number: str) -> None:
    """The message names what may be given."""
    result = call("solve", "x.png", "-m", stripes, f"--workers={number}")
    assert result.returncode == 2
    assert "1 to 1024" in " ".join(result.stderr.split())


def test_the_quota_of_a_container_limits_the_cores(tmp_path: Path) -> None:
    """The limits of all groups above count, of both versions of control groups."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "cpu.max").write_text("150000 100000\n")
    (inner / "cpu.max").write_text("max 100000\n")
    old = tmp_path / "cpu" / "docker"
    old.mkdir(parents=True)
    (old / "cpu.cfs_quota_us").write_text("400000\n")
    (old / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    groups = "0::/a/b\n3:cpuset:/docker\n1:cpu,cpuacct:/docker/gone\n"
    assert [*quotas(groups, tmp_path)] == [1.5, 4.0]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has an affinity")
def test_the_affinity_limits_the_cores(run_python) -> None:
    """`taskset` counts."""
    core = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{core}}})\n"
    code += "from captcha_rt.cores import available_cores; print(available_cores())"
    assert run_python(code).stdout == "1\n"
    assert available_cores() >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX has the limit")
def test_a_full_disk_of_temporary_files_is_named(run_python) -> None:
    """The error names their folder: nobody has asked for them."""
    done = run_python(
        "import resource, tempfile\n"
        "from captcha_rt.sorting import sorted_texts\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    next(sorted_texts(str(n) for n in range(60_000)))\n"
        "except OSError as error:\n    print(error.filename == tempfile.gettempdir())\n"
    )
    assert done.stdout == "True\n"
