"""What the tests of the service share: real servers, and ways to talk to them."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NEEDED = ("starlette", "uvicorn", "httptools", "orjson", "prometheus_client", "python_multipart")
for module in NEEDED:
    pytest.importorskip(module, reason='needs "captcha-rt[serve]"')

SAMPLE = Path(__file__).parents[1] / "samples" / "dnwnb.png"
TEXT = SAMPLE.stem
"""What the sample shows."""


class Server:
    """A running `captcha-rt serve`."""

    def __init__(self, log: Path, *options: object, **environment: str) -> None:
        """Starts it on a free port."""
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "captcha_rt", "serve", "--port", "0", *map(str, options)],
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"CAPTCHA_RT_DRAIN_SECONDS": "0.3"} | environment,
            )
        self.address = self.wait_for("listening")["address"]
        self.port = int(self.address.rpartition(":")[2])

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the log so far."""
        whole = self.log.read_text("utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def wait_for(self, message: str, count: int = 1, seconds: float = 60) -> dict[str, Any]:
        """Waits until the log has a message so many times; returns its last line."""
        end = time.monotonic() + seconds
        while True:
            found = [line for line in self.lines() if line["message"] == message]
            if len(found) >= count:
                return found[-1]
            assert self.process.poll() is None, self.log.read_text("utf-8")
            assert time.monotonic() < end, self.log.read_text("utf-8")
            time.sleep(0.02)

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Asks once; returns the status, the body (parsed if JSON), and the headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, dict | list):
            body, sent = json.dumps(body).encode(), {"Content-Type": "application/json"} | sent
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            data = answer.read()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if found.get("content-type") == "application/json":
            return answer.status, json.loads(data), found
        return answer.status, data, found

    def solves(self) -> None:
        """The service is as it should be: it reads the sample."""
        status, found, _ = self.ask("POST", "/solve", SAMPLE.read_bytes())
        assert (status, found["text"]) == (200, TEXT)

    def send(self, data: bytes, seconds: float = 10) -> bytes:
        """Sends bytes as they are; returns everything until the connection ends."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(data)
            found = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                while part := client.recv(65_536):
                    found += part
        return found

    def memory(self) -> int:
        """The resident memory of the first process, in bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text("ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> int:
        """Ends it as a service manager does; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers, which are ready, and ends them after the test."""
    started: list[Server] = []

    def begin(*options: object, workers: int = 1, **environment: str) -> Server:
        log = tmp_path / f"log-{len(started)}"
        server = Server(log, "--workers", workers, *options, **environment)
        started.append(server)
        server.wait_for("ready", workers)
        return server

    yield begin
    for server in started:
        _stop(server)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that many tests share; none may harm it."""
    log = tmp_path_factory.mktemp("serve") / "log"
    options = ("--max-body", 1_000_000, "--body-seconds", 1, "--max-batch", 16)
    made = Server(log, "--workers", 1, *options)
    made.wait_for("ready")
    yield made
    _stop(made)


def _stop(server: Server) -> None:
    if server.process.poll() is None:
        server.process.terminate()
        try:
            server.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
