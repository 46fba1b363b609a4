"""Processes that share the port: they are drained, replaced and reloaded without a lost request."""

import asyncio
import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from .conftest import SAMPLE, TEXT, Server

PICTURE = SAMPLE.read_bytes()
DEFAULT = SAMPLE.parents[2] / "runtime" / "captcha_rt" / "models" / "default.onnx"
linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells of processes")


class Load:
    """Clients that ask as fast as they are answered, each on one connection."""

    def __init__(self, server, clients: int = 4) -> None:
        """Starts the clients."""
        self.port = server.port
        self.answers: list[tuple[int, bool]] = []
        self.lost: list[tuple[float, str]] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self._ended.is_set():
            try:
                connection.request("POST", "/solve", PICTURE)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.lost.append((time.monotonic(), repr(error)))
                connection.close()
                time.sleep(0.01)
            else:
                self.answers.append((answer.status, f'"{TEXT}"'.encode() in body))
        connection.close()

    def end(self) -> None:
        """Ends them when they are answered."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def wait(self, answers: int) -> None:
        """Waits for so many more answers."""
        wanted = len(self.answers) + answers
        end = time.monotonic() + 30
        while len(self.answers) < wanted:
            assert time.monotonic() < end, self.lost[-3:]
            time.sleep(0.02)


def hangups(process: int, kind: str) -> bool:
    """Whether a process has SIGHUP among its signals of a kind: SigBlk: blocked, SigCgt: caught."""
    status = Path(f"/proc/{process}/status").read_text("ascii")
    return bool(int(status.partition(f"{kind}:")[2].split()[0], 16) & 1)


def spawned(process: int) -> list[int]:
    """The processes that a process looks after."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text("ascii").split()
    lines = {int(child): Path(f"/proc/{child}/cmdline").read_text("utf-8") for child in children}
    return [child for child, line in lines.items() if "spawn_main" in line]


def processes(server, message: str = "ready") -> list[int]:
    return [line["process"] for line in server.lines() if line["message"] == message]


def test_workers_are_replaced_reloaded_and_drained(start, tmp_path):
    """A killed process costs only what it was answering; SIGHUP and SIGTERM cost nothing."""
    model = tmp_path / "model.onnx"
    shutil.copy(DEFAULT, model)
    server = start("--model", model, workers=2)
    load = Load(server)
    load.wait(50)

    for process in processes(server)[:2]:  # SIGKILL, one after the other
        before = len(load.lost)
        os.kill(process, signal.SIGKILL)
        ready = len(processes(server)) + 1
        server.wait_for("ready", ready)
        load.wait(20)
        assert len(load.lost) - before <= 4  # one for each connection that it held
    assert len({*processes(server)}) == 4

    before = len(load.lost)
    server.process.send_signal(signal.SIGHUP)
    server.wait_for("loaded the models again", 2)
    load.wait(20)
    model.write_bytes(b"damaged")
    server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 20
    while not any("stay as they are" in line["message"] for line in server.lines()):
        assert time.monotonic() < end
        time.sleep(0.02)
    load.wait(20)
    assert len(load.lost) == before

    answered = len(load.answers)
    text = server.ask("GET", "/metrics")[1].decode()
    counted = text.partition('captcha_rt_requests_total{code="200",route="/solve"} ')[2]
    assert float(counted.split()[0]) >= answered - 8  # of all processes, also of the dead

    server.process.send_signal(signal.SIGTERM)
    server.wait_for("draining", 2)
    load.end()
    assert len(load.lost) == before
    assert set(load.answers) == {(200, True)}
    assert server.process.wait(timeout=30) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_ready_says_no_before_the_end(start, workers):
    """After SIGTERM the service says that it isn't ready, answers on, and then ends with 0."""
    server = start("--drain-seconds", 1.5, workers=workers)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("draining", workers)
    status, found, headers = server.ask("GET", "/v2/health/ready")
    assert (status, found, headers["connection"]) == (503, {"ready": False}, "close")
    server.solves()
    assert server.process.wait(timeout=30) == 0


def test_a_full_queue_is_a_503_and_a_client_that_leaves_frees_its_place(
    start, stripes_loop, stripes_png
):
    """Who finds no place is told when to come again; places of those who left are free."""
    server = start("--model", stripes_loop, "--queue", 2, "--max-batch", 1, "--drain-seconds", 0)
    good, endless = stripes_png("--aa--bb--cc----"), stripes_png("a" * 16)
    head = b"POST /solve HTTP/1.1\r\nHost: 1\r\nContent-Length: %d\r\n\r\n" % len(endless)
    clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]
    for client in clients:
        client.sendall(head + endless)
    end = time.monotonic() + 10
    while "captcha_rt_pending 2.0" not in server.ask("GET", "/metrics")[1].decode():
        assert time.monotonic() < end
    status, found, headers = server.ask("POST", "/solve", good)
    assert (status, headers["retry-after"]) == (503, "1")
    assert "try again" in found["error"]["message"]
    assert server.ask("GET", "/v2/health/ready")[0] == 200
    for client in clients:
        client.close()
    while "captcha_rt_pending 0.0" not in server.ask("GET", "/metrics")[1].decode():
        assert time.monotonic() < end
    text = server.ask("GET", "/metrics")[1].decode()
    assert 'captcha_rt_rejected_total{reason="client_gone"} 2.0' in text
    assert 'captcha_rt_rejected_total{reason="queue"}' in text
    server.process.kill()  # the model's loop goes on for half a minute


def test_nobody_removes_the_folder_of_several_processes(start, tmp_path):
    """systemd-tmpfiles removes old files below /tmp, but in folders that it can't lock alone."""
    fcntl = pytest.importorskip("fcntl")
    start(workers=2, TMPDIR=str(tmp_path))
    [folder] = tmp_path.glob("captcha-rt-*")
    opened = os.open(folder, os.O_RDONLY)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(opened)


def test_no_process_outlives_the_one_that_looks_after_it(start):
    """When that one is killed, the others end by themselves, and the port is free."""
    server = start(workers=2)
    server.process.kill()
    server.process.wait()
    end = time.monotonic() + 20
    for process in processes(server):
        with contextlib.suppress(ProcessLookupError):
            while time.monotonic() < end:
                os.kill(process, 0)
                time.sleep(0.05)
    with pytest.raises(ConnectionError):
        socket.create_connection(("127.0.0.1", server.port)).close()
    assert time.monotonic() < end


def test_a_process_takes_the_place_of_another_without_the_model_file(start, stripes, tmp_path):
    """A model file that is being changed, or has gone, is no matter until SIGHUP, nor after it."""
    model = tmp_path / "model.onnx"
    shutil.copy(stripes, model)
    server = start("--model", model, workers=2)
    for signal_number in (signal.SIGKILL, signal.SIGHUP, signal.SIGKILL):
        model.unlink(missing_ok=True)
        if signal_number == signal.SIGHUP:
            server.process.send_signal(signal_number)
            server.wait_for(f"the models stay as they are: no model file at {model}")
        else:
            os.kill(processes(server)[-1], signal_number)
            server.wait_for("ready", len(processes(server)) + 1)
    for _ in range(8):
        assert server.ask("POST", "/solve", PICTURE)[0] == 200
    assert server.end() == 0


def test_a_model_that_no_process_can_load_ends_the_service(command, stripes, tmp_path):
    """The file is whole, but the graph isn't: one line for each process, and exit code 3."""
    from captcha_rt.model import attach, detach

    data = stripes.read_bytes()
    manifest = detach(data)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(attach(data[: manifest.graph.size].replace(b"MatMul", b"MutMal"), manifest))
    done = command("serve", "--model", broken, "--workers", 2, "--port", 0, timeout=60)
    assert done.returncode == 3, done.stderr
    assert "can't load the model" in done.stderr
    assert "Traceback" not in done.stderr


@linux
@pytest.mark.parametrize("workers", [1, 2])
def test_hangups_while_it_starts_end_nothing(tmp_path, workers):
    """From the first moment of the command line on, SIGHUP waits for its handler."""
    log = tmp_path / "log"
    code = "from captcha_rt.cli import main; print('.', flush=True); main()"
    options = ["serve", "--port", "0", "--workers", str(workers), "--drain-seconds", "0"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *options], stdout=subprocess.PIPE, stderr=stderr
        )
    try:
        assert process.stdout.read(1) == b"."
        end = time.monotonic() + 60
        while not hangups(process.pid, "SigBlk"):
            assert (process.poll(), log.stat().st_size) == (None, 0)
            assert time.monotonic() < end
        while log.read_text("utf-8").count('"ready"') < workers:
            process.send_signal(signal.SIGHUP)
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        process.terminate()
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.communicate()
    lines = log.read_text("utf-8")
    assert "loaded the models again" in lines
    assert "a process ended" not in lines


@linux
@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_is_to_end_does_not_say_that_it_is_ready(tmp_path, workers):
    """SIGTERM comes while the models are being loaded."""
    models = [f"--model={name}={DEFAULT}" for name in "abcdefghijklmnopqrst"]
    server = Server(tmp_path / "log", "--workers", workers, *models)
    try:
        found = [server.process.pid]
        end = time.monotonic() + 60
        while len(found) < workers or not all(hangups(each, "SigCgt") for each in found):
            assert time.monotonic() < end
            time.sleep(0.01)
            if workers > 1:
                found = spawned(server.process.pid)
        assert server.end() == 0
    finally:
        server.process.kill()
    for process in found:
        said = [line["message"] for line in server.lines() if line["process"] == process]
        assert "ready" not in said[said.index("draining") :]


def test_of_two_reloads_the_newest_file_stays(stripes, bars, tmp_path, monkeypatch):
    """The second one doesn't overtake the first, which takes longer."""
    from captcha_rt.service import models
    from captcha_rt.service.metrics import Metrics
    from captcha_rt.service.settings import Settings

    model = tmp_path / "model.onnx"
    load, names = models._load, []

    def load_slowly(settings):
        loaded = load(settings)
        names.append(loaded["a"].solver.name)
        time.sleep(0.5 if names[-1] == "bars" else 0)
        return loaded

    async def reload_twice():
        served = models.Models(Settings(models={"a": model}), Metrics())
        shutil.copy(bars, model)
        first = asyncio.create_task(served.reload())
        while not names:
            await asyncio.sleep(0.01)
        shutil.copy(stripes, model)
        await asyncio.gather(first, served.reload(), served.reload())
        return (await served.find("a")).solver.name

    monkeypatch.setattr(models, "_load", load_slowly)
    assert asyncio.run(reload_twice()) == "stripes"
    assert names == ["bars", "stripes"]  # the third reload would read what the second one does
