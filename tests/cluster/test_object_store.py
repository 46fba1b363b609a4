"""`solve --cluster` from and to S3, as moto plays it on this machine."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs captcha-rt[dask]")
pytest.importorskip("s3fs", reason="needs s3fs")
pytest.importorskip("moto", reason="needs moto[server]")

import fsspec
from distributed import LocalCluster

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
TEXTS = ("abc", "ab", "ca", "b")


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    """A server that speaks S3, to which the environment leads, and the bucket `box`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "moto.server", "-p", str(port)]
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
            environment.setenv(name, value)
        with subprocess.Popen(line, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as server:
            for _ in range(300):
                with socket.socket() as client:
                    if client.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert server.poll() is None
                time.sleep(0.1)
            fsspec.filesystem("s3").mkdir("box")
            yield
            server.terminate()


@pytest.fixture(scope="module")
def processes(s3) -> Iterator[LocalCluster]:  # noqa: ARG001
    """A cluster of a process, which has the environment's keys."""
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as found:
        yield found


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_pictures_and_output_in_s3(
    processes, call, stripes: Path, stripes_png, tmp_path: Path, form: str
) -> None:
    """A glob and a folder are read, and the output is an object; no part is left."""
    store = fsspec.filesystem("s3")
    files = {f"box/kinds/{text}.png": stripes_png(text.ljust(16, "-")) for text in TEXTS}
    store.pipe({**files, "box/kinds/bad.png": b"", "box/kinds/.x.png": b"", "box/kinds/x.txt": b""})
    output = f"s3://box/answers/out.{form}"
    line = ("solve", "s3://box/kinds", "s3://box/kinds/a*.png", "s3://box/no/*.png", "-m", stripes)
    done = call(*line, "--cluster", processes.scheduler_address, "-o", output, "--quiet")
    assert (done.stdout, done.returncode) == ("", 1)
    assert store.ls("box/answers", refresh=True) == [f"box/answers/out.{form}"]
    store.get_file(f"box/answers/out.{form}", str(tmp_path / "out"))
    if form == "parquet":
        rows = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "out").to_pylist()
    else:
        rows = [json.loads(text) for text in (tmp_path / "out").read_text().splitlines()]
    names = ("ab", "abc", "b", "bad", "ca", "ab", "abc")
    assert [row["path"] for row in rows] == [
        *(f"s3://box/kinds/{name}.png" for name in names),
        "s3://box/no/*.png",
    ]
    assert [row.get("text") for row in rows] == ["ab", "abc", "b", None, "ca", "ab", "abc", None]
    assert [row["error"]["type"] for row in rows if row.get("error")] == [
        *("ImageDecodeError", "FolderError")
    ]
    store.rm("box/answers", recursive=True)


def test_parts_in_s3_are_not_read_again(
    processes, call, stripes: Path, stripes_png, monkeypatch
) -> None:
    """A command whose output could not be put together goes on with the parts that are there."""
    from captcha_rt import cluster

    store = fsspec.filesystem("s3")
    store.pipe({f"box/again/{number}.png": stripes_png("-aa-------------") for number in range(9)})
    line = ("solve", "s3://box/again", "-m", stripes, "--cluster", processes.scheduler_address)
    monkeypatch.setattr(cluster, "PICTURES", 3)

    def fails(*_: object) -> None:
        raise OSError("no room")

    with monkeypatch.context() as broken:
        broken.setattr(cluster, "merge", fails)
        done = call(*line, "-o", "s3://box/out.jsonl", "--quiet")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    parts = store.ls("box/out.jsonl.parts", refresh=True)
    assert len(parts) == 3
    store.pipe_file(parts[1], store.cat_file(parts[1]).replace(b'"a"', b'"kept"'))
    assert call(*line, "-o", "s3://box/out.jsonl", "--quiet").returncode == 0
    rows = map(json.loads, store.cat_file("box/out.jsonl").splitlines())
    assert [row["text"] for row in rows] == ["a", "a", "a", "kept", "kept", "kept", "a", "a", "a"]
    assert not store.exists("box/out.jsonl.parts")


def test_a_bucket_that_is_not_there_is_a_line(
    processes, call, stripes: Path, stripes_png, tmp_path: Path
) -> None:
    """The output can't be written: one line, exit code 2, and no bucket is made."""
    (tmp_path / "a.png").write_bytes(stripes_png("-aa-------------"))
    line = ("solve", tmp_path / "a.png", "-m", stripes, "--cluster", processes.scheduler_address)
    done = call(*line, "-o", "s3://nowhere/out.jsonl", "--quiet")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nowhere" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert not fsspec.filesystem("s3").exists("nowhere")
