"""Runs the service: opens the port, starts the processes, and replaces those that die."""

import logging
import logging.config
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from multiprocessing import connection, parent_process
from pathlib import Path
from threading import Thread
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from captcha_rt.errors import CaptchaRTError, ServiceError
from captcha_rt.files import write_atomically
from captcha_rt.model import load_model
from captcha_rt.service.connection import Connection
from captcha_rt.service.hangups import hold, let_through
from captcha_rt.service.hosts import KnownHosts
from captcha_rt.service.logs import LOGGING
from captcha_rt.service.settings import CANT_LOAD, METRICS_FOLDER, Address, Settings
from captcha_rt.session import import_onnxruntime

_BACKLOG: Final = 2048
_STALLED_MS: Final = 30_000  # a client that takes nothing for so long is disconnected
_KEEP_ALIVE: Final = 75  # seconds, longer than the 60 of common load balancers
_LAST_ANSWERS: Final = 30  # seconds for the requests that are being answered at the end

_log = logging.getLogger("captcha_rt.service")


def run(settings: Settings, address: Address, workers: int) -> int:
    """Runs the service until SIGTERM or Ctrl-C.

    Args:
        settings: How it answers.
        address: Where it listens.
        workers: The number of processes.

    Returns:
        The exit code: 0, or 3 if no process could load the models.

    Raises:
        ModelError: If a model file can't be read.
        InstallationError: If onnxruntime is missing.
        ServiceError: If the port is taken, or there is no folder for temporary files.
    """
    hold()
    for file in settings.models.values():
        load_model(file)
    import_onnxruntime()
    logging.config.dictConfig(LOGGING)
    _raise_file_limit()
    listeners = _listen(address, workers)
    host, port = listeners[0].getsockname()[:2]
    values = {"address": f"http://{f'[{host}]' if ':' in host else host}:{port}"}
    _log.info("listening", extra={"values": values | {"workers": workers}})
    if settings.names or (_is_loopback(host) and not settings.api_key):
        settings = replace(settings, names=("localhost", address.host, *settings.names))
    if not settings.api_key and not _is_loopback(host):
        _log.warning("anybody who reaches this address can use it: there is no API key")
    with suppress(KeyboardInterrupt):
        if workers == 1:
            return _run_alone(settings, listeners)
        return _run_several(settings, listeners)
    return 0


def _run_alone(settings: Settings, listeners: list[socket.socket]) -> int:
    """Serves in this process."""
    os.environ.pop(METRICS_FOLDER, None)
    signal.signal(signal.SIGTERM, _exit)  # until uvicorn takes it; it raises the signal at the end
    server = uvicorn.Server(_config(settings, 1))
    server.run(listeners)
    return 0


def _run_several(settings: Settings, listeners: list[socket.socket]) -> int:
    """Serves in several processes, one for each socket, which this one looks after."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="captcha-rt-", ignore_cleanup_errors=True)
    except OSError as error:
        raise ServiceError(
            f"several processes need a folder for temporary files ({error.strerror}): set TMPDIR, "
            "or choose --workers 1"
        ) from error
    with folder as path, _locked(path):
        os.environ[METRICS_FOLDER] = path  # inherited by the processes
        keep = partial(keep_models, settings.models, Path(path, "models"))
        config = _config(replace(settings, folder=path, models=keep()), len(listeners))
        supervisor = Supervisor(config, listeners)
        supervisor.keep = keep
        let_through()
        supervisor.run()
        codes = [process.exitcode for process in supervisor.processes]
    return CANT_LOAD if CANT_LOAD in codes else 0


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Locks a folder meanwhile.

    systemd-tmpfiles removes files in /tmp that nobody has used for days, such as the copies of the
    models, which a new process needs. It leaves out folders that a program has locked.
    """
    try:
        import fcntl  # Windows has none
    except ImportError:
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems know no locks
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


def keep_models(files: Mapping[str, Path | None], folder: Path) -> dict[str, Path | None]:
    """Copies the models. So a process that takes another's place has the same ones.

    Args:
        files: The model files by name; None stands for the embedded models.
        folder: Where the copies go; it is made if needed.

    Returns:
        The copies by name.

    Raises:
        ModelError: If a model can't be read; the copies stay as they were.
        OSError: If a copy can't be written.
    """
    models = {name: None if file is None else load_model(file) for name, file in files.items()}
    copies: dict[str, Path | None] = dict.fromkeys(models)
    for name, model in models.items():
        if model is not None:
            copy = copies[name] = folder / name / model.path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(copy) as file:
                file.write_bytes(model.data)
    return copies


class Supervisor(Multiprocess):
    """uvicorn's, which starts processes and ends them in order; SIGHUP reloads the models.

    Each process has a socket of its own, which stays open here: what waits there when the process
    dies is answered by the next one.

    Attributes:
        keep: Copies the models anew.
    """

    keep: Callable[[], object]

    def init_processes(self) -> None:
        """Starts the processes."""
        self.processes = [self._start(listener) for listener in self.sockets]

    def _start(self, listener: socket.socket) -> Process:
        process = Process(self.config, [listener])
        hold()  # the process lets it through itself
        try:
            process.start()
        finally:
            let_through()
        return process

    def keep_subprocess_alive(self) -> None:
        """Replaces processes that have ended.

        uvicorn also asks each for a sign of life. It waits for that of a process that dies just
        then, and kills one that is slow to start.
        """
        for place, process in enumerate(self.processes):
            if process.exitcode is None or self.should_exit.is_set():
                continue
            if process.exitcode == CANT_LOAD:
                self.should_exit.set()
                return
            _log.error("a process ended with %s; starting another", process.exitcode)
            process.kill()  # closes what connects it with this process
            self.processes[place] = self._start(self.sockets[place])

    def handle_ttin(self) -> None:
        """Takes no more processes than sockets."""

    def handle_ttou(self) -> None:
        """Leaves no socket without a process."""

    def handle_hup(self) -> None:
        """Lets the processes load their models again, instead of new processes."""
        try:
            self.keep()
        except (CaptchaRTError, OSError) as error:
            _log.error("the models stay as they are: %s", error)
            return
        for process in self.processes:
            if process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)


def _config(settings: Settings, workers: int) -> uvicorn.Config:
    return uvicorn.Config(
        partial(start_process, settings),
        factory=True,
        workers=workers,
        http=Connection,
        loop="auto",
        ws="none",
        lifespan="on",
        log_config=LOGGING,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_ANSWERS,
    )


def start_process(settings: Settings) -> ASGIApp:
    """Makes the application in the process that serves it."""
    from captcha_rt.service.app import make_app  # the metrics look at the environment

    parent = parent_process()
    if parent is not None:
        _raise_file_limit()
        Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    app = make_app(settings)
    return KnownHosts(app, settings.names) if settings.names else app


def _end_with(sentinel: int) -> None:
    """Ends this process when the one that looks after it was killed."""
    connection.wait([sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _listen(address: Address, count: int) -> list[socket.socket]:
    """Opens the port, with a socket for each process.

    Linux spreads connections evenly over sockets that share a port. Of processes that share a
    socket the first to wake takes all the connections that wait.

    Raises:
        ServiceError: If that isn't possible.
    """
    host, port = address.host, address.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except (OSError, UnicodeError) as error:  # UnicodeError: a part of the name is empty, or long
        reason = getattr(error, "strerror", None) or error
        raise ServiceError(f"can't listen on {host!r}: {reason}; name another --host") from error
    try:
        # Of all addresses, `::` also stands for those of IPv4; some systems need to be told so.
        both = host == "::" and socket.has_dualstack_ipv6()
        create = partial(socket.create_server, family=family, backlog=_BACKLOG, dualstack_ipv6=both)
        first = create((host, port))
        if count == 1 or sys.platform != "linux":
            listeners = [first] * count
        else:
            # Only a port that nobody has is shared: the first socket has made sure of it.
            place = (host, first.getsockname()[1])
            first.close()
            listeners = [create(place, reuse_port=True) for _ in range(count)]
    except OSError as error:
        raise ServiceError(
            f"can't listen on {host}:{port}: {error.strerror or error}; choose another --port"
        ) from error
    for listener in listeners:
        _set_up(listener)
    return listeners


def _set_up(listener: socket.socket) -> None:
    """Sets what the connections of a socket inherit."""
    # asyncio sets this only where a socket was made with the protocol's number; without it an
    # answer waits 40 ms for the client's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # The system ends connections whose client takes nothing.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALLED_MS)


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.startswith("127.")


def _raise_file_limit() -> None:
    """Allows as many connections as the system lets a process have."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # Windows has none

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536), hard))


def _exit(*_: Any) -> None:  # noqa: ANN401  (a signal's handler)
    sys.exit(0)
