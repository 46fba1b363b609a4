"""Serves the labelling page on this machine until Ctrl-C."""

import os
import secrets
import shutil
import signal
import socket
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from threading import Event, Thread
from types import FrameType
from typing import Final

from captcha_rt.errors import FolderError, ModelError
from captcha_rt.labels import AUTO
from captcha_rt_train.errors import TrainingError
from captcha_rt_train.labelling.app import Around, make_app
from captcha_rt_train.labelling.guard import Guard
from captcha_rt_train.labelling.learning import PROGRAM, Learned, Learning, find_model, name_of
from captcha_rt_train.labelling.marks import make_work_folder
from captcha_rt_train.labelling.opening import form_for_others, open_folder
from captcha_rt_train.labelling.reading import Reading
from captcha_rt_train.labelling.state import Labelling
from captcha_rt_train.labelling.suspects import read_suspects
from captcha_rt_train.lock import LOCK, lock

WORK_FOLDER: Final = ".captcha-rt"
"""The hidden folder beside the pictures for marks, the lock and trained models."""

UNLABELLED, SUSPECTS = "unlabelled", "suspects"
"""Filters that the page can begin with."""

HOST: Final = "127.0.0.1"

_ENDED_BY_TERM: Final = 143  # 128 + SIGTERM, as shells have it


@dataclass(frozen=True, slots=True)
class Page:
    """How the page is served.

    Attributes:
        port: The port on 127.0.0.1; 0 takes a free one.
        open_browser: Whether to open the page in a browser.
        train: Whether to train in the background as labels grow.
        trainer: The program that trains; it takes the folder and options.
    """

    port: int = 0
    open_browser: bool = False
    train: bool = True
    trainer: Sequence[str] = PROGRAM


def serve(
    folder: Path,
    *,
    model: Path | None = None,
    labels: str = AUTO,
    out: Path | None = None,
    suspects: Path | None = None,
    page: Page | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serves the page until Ctrl-C, and says at the end what is labelled.

    Args:
        folder: The folder of pictures.
        model: The model that makes the suggestions; None takes the newest that the page has
            trained, or the embedded ones.
        labels: How the pictures are labelled, as `open_folder` takes it.
        out: The label file to keep up, in place of the folder's.
        suspects: A list of suspects, as `captcha-rt suspects` writes it; the page begins with them.
        page: How it is served.
        say: Takes lines for the user; the first one with `http://` is the page's address.

    Raises:
        FolderError, LabelError: As in `open_folder`.
        TrainingError: If another process labels the folder, the port is taken, or the list of
            suspects can't be read.
        ModelError: If the model can't be loaded.
        OSError: If the folder can't be written to.
    """
    page = page or Page()
    opened = open_folder(folder, labels, out)
    listed = [] if suspects is None else read_suspects(suspects, folder)
    work = _work_folder(folder, out)
    being = f"{work.parent} is being labelled"
    with (
        lock(work / LOCK, being, "use that page, or end it first"),
        _listen(page.port) as listener,
    ):
        labelling = Labelling(opened, work)
        say(_describe(labelling))
        for note in opened.notes:
            say(note)
        if suspects is not None:
            count = labelling.list_suspects(listed)
            say(f"suspects: {count} of {len(listed)} from {suspects}")
        reading = Reading(labelling)
        learning = _start(reading, work, model, page)
        around = _around(reading, learning, UNLABELLED if suspects is None else SUSPECTS)
        token = secrets.token_urlsafe(24)
        port = int(listener.getsockname()[1])
        address = f"http://{HOST}:{port}/?token={token}"
        try:
            app = Guard(make_app(labelling, around), token, port)
            with suppress(KeyboardInterrupt), _serving(app, listener) as ended:
                say(f"{address} (Ctrl-C ends it)")
                if page.open_browser:
                    # A browser without windows would hold up everything until it is left.
                    Thread(target=webbrowser.open, args=(address,), daemon=True).start()
                _wait(ended)
        finally:
            if learning is not None:
                learning.stop()
            reading.stop()
            say(_conclude(labelling))


def _start(reading: Reading, work: Path, model: Path | None, page: Page) -> Learning | None:
    """Starts to read the pictures, and to wait for enough labels."""
    trained, learned = find_model(work)
    if model is None and trained is not None:
        try:
            reading.use(trained, name_of(learned.labels))
        except ModelError:  # a kill may have left half of it
            shutil.rmtree(trained.parent, ignore_errors=True)
            trained, learned = None, Learned()
    if model is not None or trained is None:
        reading.use(model)
    return Learning(reading, work, learned, program=page.trainer) if page.train else None


def _around(reading: Reading, learning: Learning | None, view: str) -> Around:
    """What the page shows beside the pictures."""
    labelling = reading.labelling
    return Around(
        view=view,
        next_command=lambda: _next_command(labelling),
        notes=labelling.opened.notes,
        model=lambda: reading.model,
        left=lambda: reading.left,
        learned=lambda: learning.learned if learning else None,
        notice=lambda: learning.notice() if learning else None,
    )


def _work_folder(folder: Path, out: Path | None) -> Path:
    """The hidden folder: in the pictures' folder, or beside a label file in another place."""
    beside = folder if out is None or out.resolve().is_relative_to(folder.resolve()) else out.parent
    work = beside / WORK_FOLDER
    make_work_folder(work)
    return work


def _listen(port: int) -> socket.socket:
    """Opens the port; only this machine can reach it.

    Raises:
        TrainingError: If the port is taken.
    """
    listener = socket.socket()
    try:
        if os.name == "posix":  # on Windows this would let two servers have the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()  # the browser may come before the server's thread has begun
    except OSError as error:
        listener.close()
        raise TrainingError(f"can't listen on port {port}: {error.strerror}; --port 0") from error
    return listener


@contextmanager
def _serving(app: Guard, listener: socket.socket) -> Iterator[Event]:
    """Serves an application in a thread, and ends it in order; yields what is set at the end."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="critical",
            access_log=False,
            lifespan="off",
            http="h11",
            loop="asyncio",
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )
    ended = Event()

    def run() -> None:
        try:
            server.run(sockets=[listener])
        finally:
            ended.set()

    Thread(target=run, name="server", daemon=True).start()
    try:
        yield ended
    finally:
        server.should_exit = True
        ended.wait(5)


def _wait(ended: Event) -> None:
    """Waits until the server ends by itself.

    An event and not `Thread.join`: interrupted, that takes the thread for ended (Python 3.11).

    Raises:
        KeyboardInterrupt: On Ctrl-C.
        SystemExit: On SIGTERM.
    """

    def end(_: int, __: FrameType | None) -> None:
        raise SystemExit(_ENDED_BY_TERM)

    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGTERM, end)
    while not ended.wait(0.5):
        pass


def _describe(labelling: Labelling) -> str:
    """One line on what is labelled already."""
    count = len(labelling.items())
    source = labelling.opened.source
    where = f"from {source}; " if source else "none yet; "
    return f"labels: {where}{count} of {len(labelling)} pictures"


def _conclude(labelling: Labelling) -> str:
    """One line on what is labelled, and what to type next."""
    count = len(labelling.items())
    said = f"{count} of {len(labelling)} labelled"
    if not count:
        return said
    return f"{said}, in {labelling.opened.table.path}; next: {_next_command(labelling)}"


def _next_command(labelling: Labelling) -> str:
    """The command that trains on the labels."""
    opened = labelling.opened
    try:
        form = form_for_others(opened, labelling.items())
    except FolderError:  # removed meanwhile
        form = ""
    option = f" --labels {quote(form)}" if form else ""
    return f"captcha-rt train {quote(str(opened.folder))}{option}"
