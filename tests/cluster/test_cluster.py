"""`solve --cluster` on a real Dask cluster of processes on this machine."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import deadly
import pytest

pytest.importorskip("distributed", reason="needs captcha-rt[dask]")

import dask
import fsspec
from distributed import LocalCluster

from captcha_rt import WorkerError, cluster
from captcha_rt.cli.answers import Printer, Read
from captcha_rt.cluster import Target, read_to_file
from captcha_rt.stores import Parts, expand_url

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX has the signals")
OPTIONS = {"batch_size": 8, "allowed": None, "length": None, "alternatives": 0}
PRINTER = Printer("jsonl", None, sums=False, alternatives=False)
READ = partial(Read, options=OPTIONS, printer=PRINTER)


@pytest.fixture(scope="module")
def processes() -> Iterator[LocalCluster]:
    """A cluster of two processes; a task that ends one isn't tried again."""
    settings = {
        "distributed.scheduler.allowed-failures": 0,
        "logging.distributed": "critical",
        "distributed.worker.daemon": True,
    }
    with (
        dask.config.set(settings),
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as found,
    ):
        yield found


@pytest.fixture(scope="module")
def threads() -> Iterator[LocalCluster]:
    """A cluster in this process, which sees what this process has in memory."""
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as found:
        yield found


@pytest.fixture
def many(tmp_path: Path, stripes_png) -> list[str]:
    """The paths of 2,000 pictures; each hundredth is none."""
    (tmp_path / "good").write_bytes(stripes_png("-aa--bb--cc-----"))
    (tmp_path / "bad").write_bytes(b"no picture")
    for number in range(2000):
        (tmp_path / f"{number:04}.png").hardlink_to(tmp_path / ("good" if number % 100 else "bad"))
    return [str(tmp_path / f"{number:04}.png") for number in range(2000)]


def test_killed_processes_cost_no_picture(
    processes, many: list[str], tmp_path: Path, stripes: Path, call, monkeypatch
) -> None:
    """Every picture is answered once, as by one process, though two processes are killed."""
    monkeypatch.setattr(cluster, "PICTURES", 20)
    output = tmp_path / "out.jsonl"
    killed = []

    def kill(read: Iterator[None]) -> Iterator[None]:
        for count, item in enumerate(read):
            if count in (300, 1100):
                killed.append(next(iter(processes.workers.values())).process.process.pid)
                os.kill(killed[-1], signal.SIGKILL)
            yield item

    counts = read_to_file(
        Target(processes.scheduler_address, str(output), stripes, {}),
        ((name, None) for name in many),
        read_with=READ,
        lost=lambda source, error: PRINTER(source[0], error)[:2],
        watch=kill,
        note=print,
    )
    assert len({*killed}) == 2
    assert counts == {"": 1980, "ImageDecodeError": 20}
    (tmp_path / "list.txt").write_text("\n".join(many))
    one = call("solve", "--files-from", tmp_path / "list.txt", "-m", stripes, "--jsonl")
    assert output.read_text() == one.stdout
    assert not Path(f"{output}.parts").exists()


def test_a_picture_that_ends_processes_costs_only_its_own_row(processes, tmp_path: Path) -> None:
    """Its row is an error; the pictures of its task are answered."""
    output = tmp_path / "out.jsonl"
    counts = read_to_file(
        Target(processes.scheduler_address, str(output), None, {}),
        ((str(number), None) for number in range(10, 16)),
        read_with=deadly.Reads,
        lost=lambda source, error: PRINTER(source[0], error)[:2],
        watch=iter,
        note=print,
    )
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["path"] for row in rows] == ["10", "11", "12", "13", "14", "15"]
    assert counts == {"": 5, "WorkerError": 1}
    assert "died" in rows[3]["error"]["message"]


def test_a_stopped_command_goes_on(
    threads, many: list[str], tmp_path: Path, stripes: Path, monkeypatch
) -> None:
    """The parts that are there aren't read again, unless the pictures or options are others."""
    monkeypatch.setattr(cluster, "PICTURES", 20)
    output = tmp_path / "out.jsonl"
    folder = Path(f"{output}.parts")

    def read(stop: int | None, read_with=READ) -> None:
        def watch(pictures: Iterator[None]) -> Iterator[None]:
            for count, item in enumerate(pictures):
                if count == stop:
                    raise KeyboardInterrupt
                yield item

        read_to_file(
            Target(threads.scheduler_address, str(output), stripes, {}),
            ((name, None) for name in many[:200]),
            read_with=read_with,
            lost=lambda source, error: PRINTER(source[0], error)[:2],
            watch=watch,
            note=print,
        )

    with pytest.raises(KeyboardInterrupt):
        read(100)
    assert not output.exists()
    kept = sorted(folder.iterdir())
    assert len(kept) >= 5
    marked = kept[0].read_text().replace('"abc"', '"kept"')
    kept[0].write_text(marked)
    read(None)
    assert output.read_text().startswith(marked)
    assert output.read_text().count("kept") == 19
    assert len(output.read_text().splitlines()) == 200
    with pytest.raises(KeyboardInterrupt):
        read(100)
    for part in folder.iterdir():
        part.write_text("from other options\n")
    read(None, partial(Read, options={**OPTIONS, "length": 3}, printer=PRINTER))
    assert "other options" not in output.read_text()


def test_parquet_of_a_store(threads, stripes: Path, stripes_png, tmp_path: Path, call) -> None:
    """Pictures are read through fsspec, and Parquet has the columns of the JSON."""
    pq = pytest.importorskip("pyarrow.parquet")
    store = fsspec.filesystem("memory")
    store.pipe(
        {"/box/abc.png": stripes_png("-aa--bb--cc-----"), "/box/bad.png": b"", "/box/x": b""}
    )
    store.makedirs("/box/inner.png", exist_ok=True)
    output = tmp_path / "out.parquet"
    line = ("solve", "memory://box", "memory://box/a*.png", "memory://no.png", "memory://no/*")
    result = call(
        *line, "-m", stripes, "--cluster", threads.scheduler_address, "-o", output, "--quiet"
    )
    rows = pq.read_table(output).to_pylist()
    names = ("box/abc.png", "box/bad.png", "box/abc.png", "no.png", "no/*")
    assert [row["path"].removeprefix("memory://").lstrip("/") for row in rows] == [*names]
    assert [row["text"] for row in rows] == ["abc", None, "abc", None, None]
    assert [row["error"] and row["error"]["type"] for row in rows] == [
        *(None, "ImageDecodeError", None, "ImageDecodeError", "FolderError")
    ]
    assert [character["text"] for character in rows[0]["characters"]] == [*"abc"]
    assert (result.stdout, result.stderr, result.returncode) == ("", "", 1)


def test_the_output_may_be_in_a_store(threads, stripes: Path, stripes_png, call) -> None:
    """It appears there with the rows, and its parts are gone."""
    store = fsspec.filesystem("memory")
    store.pipe({"/in/a.png": stripes_png("-aa-------------"), "/in/b.png": b"x"})
    line = ("solve", "memory://in", "-m", stripes, "--cluster", threads.scheduler_address)
    assert call(*line, "-o", "memory://answers/out.jsonl", "--quiet").returncode == 1
    rows = [json.loads(line) for line in store.cat_file("/answers/out.jsonl").splitlines()]
    assert [row.get("text") for row in rows] == ["a", None]
    assert [name.rpartition("/")[2] for name in store.find("/answers")] == ["out.jsonl"]


def test_a_store_with_folders_gets_those_of_the_output(
    threads, stripes: Path, stripes_png, call, tmp_path: Path
) -> None:
    """As file:// has them, or sftp://; what was for the parts is gone in the end."""
    (tmp_path / "a.png").write_bytes(stripes_png("-aa-------------"))
    line = ("solve", tmp_path / "a.png", "-m", stripes, "--cluster", threads.scheduler_address)
    output = tmp_path / "new" / "answers" / "out.jsonl"
    done = call(*line, "-o", f"file://{output}", "--quiet")
    assert (done.stderr, done.returncode) == ("", 0)
    assert json.loads(output.read_text("utf-8"))["text"] == "a"
    assert [path.name for path in output.parent.iterdir()] == ["out.jsonl"]
    done = call(*line, "-o", f"file://{output}/out.jsonl", "--quiet")
    assert (done.returncode, done.stderr.splitlines()[-1].count(str(output))) == (2, 1)


def test_object_stores_are_asked_for_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """There it would be a bucket, which takes a right of its own; other stores are asked."""
    store, made = fsspec.filesystem("memory"), []
    monkeypatch.setattr(store, "makedirs", lambda path, **_: made.append(path))
    Parts("memory://box/out.jsonl").make()
    for names in ("s3", ("gs", "gcs"), "abfs"):
        monkeypatch.setattr(store, "protocol", names)
        Parts("memory://box/out.jsonl").make()
    assert made == ["/box/out.jsonl.parts"]


@pytest.mark.parametrize(
    "output", ["nothing://box/out.jsonl", "memory://box/out.jsonl", "memory://box/", "."]
)
def test_a_store_that_takes_no_output_is_one_line(
    threads, stripes: Path, call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    """The line names the output, and the exit code is 2."""

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("not here")

    monkeypatch.setattr(fsspec.filesystem("memory"), "pipe_file", fails)
    line = ("solve", tmp_path / "x.png", "-m", stripes, "--cluster", threads.scheduler_address)
    result = call(*line, "-o", output, "--quiet")
    assert (result.returncode, result.stderr.splitlines()[-1].count(output)) == (2, 1)


def test_a_folder_of_a_store_holds_pictures_by_suffix() -> None:
    """Other files, hidden ones and folders are none."""
    store = fsspec.filesystem("memory")
    store.pipe(
        dict.fromkeys(("/kinds/b.PNG", "/kinds/a.gif", "/kinds/.c.png", "/kinds/d.txt"), b"x")
    )
    store.makedirs("/kinds/e.png", exist_ok=True)
    found = [name.rpartition("/")[2] for name, _ in expand_url("memory://kinds")]
    assert found == ["a.gif", "b.PNG"]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://127.0.0.1", "no://where:1"])
def test_a_cluster_that_is_not_there_is_one_line(
    call, stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """The line names the address, and the exit code is 3."""
    monkeypatch.setattr(cluster, "_SECONDS", 0.5)
    result = call(
        "solve", "x.png", "-m", stripes, "--cluster", address, "-o", tmp_path / "out.jsonl"
    )
    assert (result.returncode, result.stdout) == (3, "")
    assert result.stderr.count("\n") == 1
    assert address in result.stderr
    assert not [*tmp_path.iterdir()]


def test_an_address_without_a_port_is_one_line_at_once(
    command, stripes: Path, tmp_path: Path
) -> None:
    """No client is made of it, which would print a traceback as it ends, 40 seconds later."""
    line = ("solve", "x.png", "-m", stripes, "--cluster", "127.0.0.1", "-o", tmp_path / "a.jsonl")
    result = command(*line, timeout=30)
    assert (result.returncode, result.stderr.count("\n")) == (3, 1)
    assert "127.0.0.1: ValueError: missing port number" in result.stderr


def test_a_model_that_does_not_load_there_is_an_error(threads, stripes: Path, tmp_path) -> None:
    """What the processes of the cluster say of it is raised."""
    with pytest.raises(WorkerError, match="device"):
        read_to_file(
            Target(
                threads.scheduler_address, str(tmp_path / "out.jsonl"), stripes, {"device": "tpu"}
            ),
            [("x", None)],
            read_with=READ,
            lost=lambda source, error: PRINTER(source[0], error)[:2],
            watch=iter,
            note=print,
        )


@pytest.mark.parametrize("arguments", [("-o", "x"), ("--cluster", "tcp://x:1")])
def test_an_output_goes_with_a_cluster(call, arguments: tuple[str, ...]) -> None:
    """One without the other is wrong usage."""
    assert call("solve", "x.png", *arguments).returncode == 2
