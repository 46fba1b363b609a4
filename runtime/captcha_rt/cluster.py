"""Reads pictures on a Dask cluster, into one file (the extra `dask`).

A task reads some pictures, and its answers become a part of the output, in a folder beside it. So a
command that was stopped goes on where it was. A process that dies costs no answer: Dask runs its
tasks elsewhere, and each part is written once.
"""

import hashlib
import logging
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias

from captcha_rt import __version__
from captcha_rt.errors import (
    CaptchaRTError,
    InstallationError,
    WorkerError,
    in_one_line,
)
from captcha_rt.model import GENERAL, load_model
from captcha_rt.rows import merge
from captcha_rt.solver import Solver

try:
    from distributed import Client, KilledWorker, WorkerPlugin, as_completed, get_worker
    from distributed.comm import get_address_host_port

    from captcha_rt.stores import Parts, fetch, is_url, output_file
except ImportError as error:
    raise InstallationError(
        f'--cluster needs Dask: pip install "captcha-rt[dask]" ({error})'
    ) from error

Source: TypeAlias = tuple[str, Any]
"""The name of a picture, and an error; None for what the name leads to: a file, or a URL."""

Line: TypeAlias = tuple[str, tuple[str, ...]]
"""An answer as a line of JSON, with its end, and messages about the picture."""

ReadWith: TypeAlias = Callable[[Solver], Callable[[list[Source]], Sequence[Any]]]
"""Makes of a solver what reads pictures: it returns a tuple for each that begins with a line."""

Lost: TypeAlias = Callable[[Source, CaptchaRTError], Line]

PICTURES: Final = 256
"""The number of pictures of a task, and of a part of the output: 0.1 to 0.5 seconds of work."""

_AHEAD: Final = 4  # tasks for each thread of the cluster, so that none waits for the next
_SECONDS: Final = 20  # until there has to be an answer from the cluster

_TRIES: Final = 5


@dataclass(frozen=True, slots=True)
class Target:
    """Where pictures are read, with what, and where the answers go.

    Attributes:
        address: The scheduler, such as `tcp://10.0.0.1:8786`.
        output: The file to write, or its address in a store: JSON lines, or Parquet if its suffix
            is `.parquet`.
        model: The file of the model; None for the embedded ones.
        settings: Other arguments of `Solver`.
    """

    address: str
    output: str
    model: Path | None
    settings: Mapping[str, Any]


def read_to_file(
    target: Target,
    sources: Iterable[Source],
    *,
    read_with: ReadWith,
    lost: Lost,
    watch: Callable[[Iterator[None]], Iterable[None]],
    note: Callable[[str], None],
) -> Counter[str]:
    """Reads pictures on a cluster, and writes the output when all are read.

    Args:
        target: The cluster, the output and the model.
        sources: The pictures, which are taken as they are needed.
        read_with: Makes of a solver what reads pictures. It is pickled.
        lost: Makes the line for a picture that ended the processes that read it.
        watch: Shows progress: it takes an iterator with an item for each picture, and yields them.
        note: Called with messages about pictures.

    Returns:
        The number of pictures by the type of their error; those that were read are `""`.

    Raises:
        WorkerError: If the cluster can't be reached, has no workers, or fails.
        ModelError: If the model can't be loaded.
        InstallationError: If the cluster has another version of captcha-rt.
        OSError: If the output can't be written.
    """
    readers = _Readers(target, read_with)
    written = Parts(target.output)
    names: list[str] = []

    def parts() -> Iterator[_Part]:
        rest = iter(sources)
        while some := list(islice(rest, PICTURES)):
            pictures = "\0".join(name for name, _ in some).encode("utf-8", "surrogatepass")
            digest = hashlib.sha256(readers.digest + pictures).hexdigest()[:16]
            names.append(f"{len(names):08}-{digest}.jsonl")
            yield _Part(names[-1], some)

    def done() -> Generator[None, None, None]:
        with _connected(target.address) as client, _registered(client, readers):
            written.make()
            for part in _read_parts(client, readers.name, parts(), written, lost):
                for message in part.notes:
                    note(message)
                yield from [None] * len(part.sources)

    with closing(done()) as read:
        for _ in watch(read):
            pass
    with (
        TemporaryDirectory() as folder,
        output_file(target.output, Path(folder)) as file,
    ):
        counts = merge(map(written.read, names), file)
    written.remove()
    return counts


class _Part:
    """A part of the output: its name, its pictures, and the lines that are there by their place."""

    def __init__(self, name: str, sources: list[Source]) -> None:
        self.name, self.sources = name, sources
        self.lines: dict[int, Line] = {}

    @property
    def notes(self) -> list[str]:
        """The messages about the pictures, in order."""
        return [message for place in sorted(self.lines) for message in self.lines[place][1]]

    @property
    def text(self) -> str:
        """The lines in order."""
        return "".join(self.lines[place][0] for place in range(len(self.sources)))


def _read_parts(
    client: Client,
    readers: str,
    parts: Iterator[_Part],
    written: Parts,
    lost: Lost,
) -> Iterator[_Part]:
    """Reads parts and writes them; yields each when it is there, in no order.

    Dask suspects all tasks that a process had when it died. So the pictures of a task that is given
    up are tried again at the end, one by one, with nothing else at work that could be guilty.
    """
    tasks: dict[Any, tuple[_Part, int, int]] = {}
    done = as_completed(loop=client.loop)

    def submit(part: _Part, start: int, stop: int) -> None:
        task = client.submit(_read, readers, part.sources[start:stop], pure=False)
        tasks[task] = part, start, stop
        done.add(task)

    going = True
    suspects: deque[tuple[_Part, int]] = deque()
    while going or tasks or suspects:
        room = _AHEAD * max(1, sum(client.nthreads().values()))
        while going and len(tasks) < room:
            new = next(parts, None)
            if new is None:
                going = False
            elif written.has(new.name):  # a command that was stopped has written it
                yield new
            else:
                submit(new, 0, len(new.sources))
        alone = not tasks
        if alone:
            if not suspects:
                continue
            part, start = suspects.popleft()
            submit(part, start, start + 1)
        task = next(done)
        part, start, stop = tasks.pop(task)
        lines = _lines_of(task)
        if lines is None and not alone:
            suspects.extend((part, place) for place in range(start, stop))
            continue
        error = WorkerError("the processes of the cluster that read it died")
        part.lines.update(enumerate(lines or [lost(part.sources[start], error)], start))
        if len(part.lines) == len(part.sources):
            written.write(part.name, part.text)
            yield part


def _lines_of(task: Any) -> list[Line] | None:  # noqa: ANN401  (Dask has no types)
    """What a task has made; None if it has ended several processes."""
    try:
        lines: list[Line] = task.result()
    except KilledWorker:
        return None
    except CaptchaRTError:
        raise
    except Exception as error:
        raise WorkerError(
            f"the cluster failed; run the command again to go on ({in_one_line(error)})"
        ) from error
    return lines


class _Readers(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """Loads the model in each process of the cluster, also in those that start later.

    The processes needn't see the model's file.
    """

    def __init__(self, target: Target, read_with: ReadWith) -> None:
        self.name = f"captcha-rt-{token_hex(8)}"
        self.version = __version__
        loaded = load_model(target.model)
        self.model = None if target.model is None else loaded.data
        self.settings, self.read_with = target.settings, read_with
        described = repr((self.version, self.settings, self.read_with)).encode()
        general = b"" if target.model else load_model(GENERAL).data
        self.digest = hashlib.sha256(described + loaded.data + general).digest()

    def setup(self, worker: Any) -> None:  # noqa: ANN401, ARG002
        """Loads the model. Dask calls this in each process."""
        if self.version != __version__:
            raise InstallationError(
                f"the cluster has captcha-rt {__version__}, and this program {self.version}"
            )
        if self.model is None:
            solver = Solver(**self.settings)
            solver.load()  # one that can't be loaded fails here, before the job begins
            self.read = self.read_with(solver)
            return
        with TemporaryDirectory() as folder:
            model = Path(folder, "model.onnx")
            model.write_bytes(self.model)
            self.read = self.read_with(Solver(model, **self.settings))


def _read(readers: str, sources: Sequence[Source]) -> list[Line]:
    """The task: reads pictures in a process of the cluster."""
    read = get_worker().plugins[readers].read
    lines = read(
        [
            (name, fetch(name) if image is None and is_url(name) else image)
            for name, image in sources
        ]
    )
    return [(line[0], line[1]) for line in lines]


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    """A client of a cluster that has workers."""
    for name in [*logging.root.manager.loggerDict]:
        if name.partition(".")[0] == "distributed":  # they write tracebacks of each lost process
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        if not address.startswith(("inproc:", "ucx:")):  # these have no port
            # A client of a wrong address waits 40 s as it goes, and prints a traceback.
            get_address_host_port(address)
        client = Client(address, timeout=_SECONDS, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise WorkerError(
            f"no Dask scheduler answers at {address}: {in_one_line(error)}"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, _SECONDS)
        except TimeoutError as error:
            raise WorkerError(f"the cluster at {address} has no workers") from error
        yield client


@contextmanager
def _registered(client: Client, readers: _Readers) -> Iterator[None]:
    """The processes of a cluster have readers meanwhile."""
    for left in reversed(range(_TRIES)):
        try:
            client.register_plugin(readers)
            break
        except CaptchaRTError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and left:  # a process has died meanwhile
                continue
            reason = in_one_line(error)
            raise WorkerError(
                f"the cluster can't load captcha-rt {__version__} with the model: {reason}"
            ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # a process dies meanwhile, or the cluster has gone
            client.unregister_worker_plugin(readers.name)
