"""What the tests of the labelling page share: folders of pictures, and a real server."""

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BEGIN = """
import json, sys
from pathlib import Path
from captcha_rt_train.labelling.serve import Page, serve
values = json.loads(sys.argv[1])
page = Page(**values.pop("page"))
paths = {name: Path(value) if name in ("model", "out", "suspects") else value
         for name, value in values.items()}
serve(Path(paths.pop("folder")), page=page, say=lambda line: print(line, flush=True), **paths)
"""


@dataclass
class Server:
    """A server process and its address."""

    process: subprocess.Popen
    lines: list[str]
    port: int = 0
    token: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The address that is opened."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    def ask(self, path: str, values: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """Asks the server; returns the status, the body (parsed if JSON), and the headers."""
        sent = {"X-Captcha-RT-Token": self.token} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        body = None
        if values is not None:
            body = values if isinstance(values, bytes) else json.dumps(values).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(
                "GET" if body is None else "POST",
                path,
                body,
                {name: value for name, value in sent.items() if value},
            )
            answer = connection.getresponse()
            data = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()
        if found.get("content-type", "").startswith("application/json"):
            return answer.status, json.loads(data), found
        return answer.status, data, found

    def label(self, place: int, text: str, version: int = 0, tab: str = "") -> tuple[int, Any]:
        """Labels a picture."""
        values = {"place": place, "version": version, "label": text, "tab": tab}
        return self.ask("/api/label", values)[:2]

    def pictures(self) -> list[dict[str, Any]]:
        """All pictures."""
        return self.ask("/api/pictures")[1]["pictures"]

    def wait_for(self, holds: Callable[[dict[str, Any]], object], seconds: float = 20) -> dict:
        """Waits until the state is as it should be; returns it."""
        end = time.monotonic() + seconds
        while True:
            state = self.ask("/api/pictures")[1]
            if holds(state):
                return state
            assert time.monotonic() < end, state
            time.sleep(0.05)

    def interrupt(self) -> str:
        """Ends the server as Ctrl-C does; returns what it says last."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=20)
        assert not err, err
        return out

    def terminate(self) -> None:
        """Ends the server as a service manager does."""
        self.process.terminate()
        assert self.process.wait(timeout=20) == 143

    def kill(self) -> None:
        """Kills the server."""
        self.process.kill()
        self.process.wait(timeout=10)


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """Starts servers for folders: `start(folder, train=False, ...)`; ends them after the test."""
    for name in ("starlette", "uvicorn"):
        pytest.importorskip(name, reason='needs "captcha-rt-train[label]"')
    started: list[subprocess.Popen] = []

    def begin(folder: Path, *, train: bool = False, trainer: Any = None, port: int = 0, **options):
        page = {"train": train, "port": port} | ({"trainer": trainer} if trainer else {})
        values = {"folder": str(folder), "page": page} | {
            name: str(value) for name, value in options.items()
        }
        process = subprocess.Popen(
            [sys.executable, "-c", BEGIN, json.dumps(values)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        server = Server(process, [])
        assert process.stdout is not None
        for line in process.stdout:
            server.lines.append(line.rstrip("\n"))
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line):
                server.port, server.token = int(found[1]), found[2]
                return server
        process.wait(timeout=10)
        raise AssertionError(process.stderr.read() if process.stderr else "")

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """Drawn pictures and what they show."""
    kaptcha = pytest.importorskip("captcha_rt_train.generators.kaptcha")
    folder = tmp_path_factory.mktemp("drawn")
    kaptcha.write_samples(folder, 40, seed=3)
    return [(path.stem, path) for path in sorted(folder.glob("*.png"))]


@pytest.fixture
def unlabelled(drawn: list[tuple[str, Path]], tmp_path: Path) -> Path:
    """A folder of 20 numbered pictures without labels."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, (_, path) in enumerate(drawn[:20]):
        shutil.copy(path, folder / f"{number:04d}.png")
    return folder
