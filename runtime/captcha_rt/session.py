"""An onnxruntime session, and the providers that are really active in it."""

import ctypes
import logging
import math
import os
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from captcha_rt.device import (
    CPU,
    RUN_SECONDS,
    Device,
    choose,
    has_cuda,
    load_cuda,
    time_run,
)
from captcha_rt.errors import InstallationError, ManifestError, ModelError, ProviderError
from captcha_rt.manifest import Manifest, Tensor
from captcha_rt.model import has_loop
from captcha_rt.run_limit import RunLimit
from captcha_rt.tiles import suit_processor

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Device", "Provider", "Session"]

Provider: TypeAlias = str | tuple[str, Mapping[str, Any]]
"""The name of an onnxruntime provider, alone or with its options."""

MAX_THREADS: Final = 1024
"""The largest number of threads: more than machines have cores. A million would bring one down."""

_INSTALL = 'pip install "captcha-rt[cpu]", or "captcha-rt[gpu]" for NVIDIA GPUs'

_log = logging.getLogger("captcha_rt")


class Session:
    """A loaded model: takes prepared pictures, returns scores. Safe to share between threads.

    In a process that is forked later, the model is loaded anew when it is first used. One that may
    wait is loaded then, too.

    Attributes:
        providers: The active providers in order of priority, as the session itself reports them;
            the CPU's while the model waits.
        reason: Why `auto` has chosen its device; empty if another one was asked for.
    """

    def __init__(
        self,
        model: bytes,
        manifest: Manifest,
        *,
        device: Device = "auto",
        providers: Sequence[Provider] | None = None,
        threads: int = 1,  # two take 1.23 to 1.55 times the CPU: docs/benchmarks.md
        rows: int = 1,
        runs: float = math.inf,
        may_wait: bool = False,
    ) -> None:
        """Loads a model.

        Args:
            model: The bytes of the `.onnx` file.
            manifest: The model's description; the graph's input and output must match it.
            device: `"cpu"`, `"cuda"`, or `"auto"`: CUDA where a run is faster there, otherwise the
                CPU. To compare them takes a few runs, only where there is a driver for CUDA.
            providers: onnxruntime's providers in order of priority, each with options if needed. If
                given, `device` is ignored.
            threads: The number of threads within one run of the network, in 1..1024.
            rows: For `auto`, the number of rows of a run's input.
            runs: For `auto`, the number of runs, if it is known.
            may_wait: Whether the model is only loaded when it is first used, if no `providers` are
                given, and it is clear that it goes to the CPU. What is wrong with it is raised
                then.

        Raises:
            InstallationError: If onnxruntime is missing, or installed twice.
            ProviderError: If the device or provider that was asked for did not become active.
            ModelError: If onnxruntime can't load the model, or the graph doesn't match the
                description.
            ValueError: If the device is unknown, or `threads` is out of range.
        """
        if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
            raise ValueError(f"threads is {threads!r}; it is 1 to {MAX_THREADS}")
        if providers is None and device not in get_args(Device):
            raise ValueError(f"device is {device!r}; it is 'auto', 'cpu' or 'cuda'")
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A spinning thread keeps its core busy while it waits, and for some time after each run.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # errors are raised; they needn't be printed as well

        self.reason = ""
        self.providers: tuple[str, ...] = (CPU,)
        self._onnx: Any = None
        self._arguments: tuple[bytes, Any, Sequence[Provider]] = model, options, [CPU]
        self._tensors = manifest.input, manifest.output
        self._input = manifest.input.name
        self._outputs = [manifest.output.name]
        self._score_shape = manifest.output.shape[1:]
        if providers is not None:
            self._start(model, options, _check_known(ort, providers))
        elif device == "cuda":
            self._start(model, options, load_cuda(ort))
        elif not may_wait or (device == "auto" and has_cuda(ort)):
            self._start(model, options, [CPU])
        self._limit = RunLimit() if has_loop(model) else None
        if providers is None and device == "auto":
            self._choose(ort, (rows, *manifest.input.shape[1:]), runs)
            _log_once(logging.INFO, f"using {self.providers[0]}")
        _sessions.add(self)

    def load(self) -> None:
        """Loads the model, if it has waited or the process was forked; raises what `onnx` does."""
        _ = self.onnx

    def _start(self, model: bytes, options: Any, wanted: Sequence[Provider]) -> None:  # noqa: ANN401
        """Loads the model on the providers; the first of them has to be active."""
        onnx = self._load(model, options, wanted)
        first, active = _provider_name(wanted[0]), onnx.get_providers()
        if active[0] != first:
            raise ProviderError(
                f"{first} was asked for, but onnxruntime took {active[0]}: "
                "`captcha-rt doctor` says what works here"
            )
        self._arguments = model, options, wanted
        self._onnx = onnx
        self.providers = tuple(active)

    def _load(self, model: bytes, options: Any, wanted: Sequence[Provider]) -> Any:  # noqa: ANN401
        """Creates onnxruntime's session; the graph has to match the description."""
        onnx = _load(model, options, wanted)
        described_input, described_output = self._tensors
        _check_tensors("input", onnx.get_inputs(), described_input)
        _check_tensors("output", onnx.get_outputs(), described_output)
        return onnx

    def _choose(self, ort: Any, shape: Sequence[int | None], runs: float) -> None:  # noqa: ANN401
        """Goes from the CPU to CUDA, if that is faster for inputs of the shape; says why."""
        if not has_cuda(ort):
            self.reason = "there is no CUDA here"
            return
        if self._limit is not None:  # a run of it may have no end
            self.reason = "the graph has a loop"
            return
        (model, options, _), on_cpu = self._arguments, (self._arguments, self._onnx, self.providers)

        def time_it(enough: float = 0.0) -> float:
            inputs = np.zeros([axis or 1 for axis in shape], np.float32)
            return time_run(lambda: self.run(inputs), enough)

        def try_cuda() -> float:
            try:
                self._start(model, options, load_cuda(ort))
            except ProviderError:
                _log_once(logging.WARNING, "CUDA is installed but does not work here")
                raise
            return time_it()

        try:
            device, self.reason = choose(time_it(RUN_SECONDS), runs, try_cuda)
        except (ModelError, MemoryError, ValueError) as error:  # pictures will raise it again
            device, self.reason = "cpu", f"the model fails: {error}"
        if device == "cpu":
            self._arguments, self._onnx, self.providers = on_cpu

    @property
    def onnx(self) -> Any:  # noqa: ANN401  (a module without types)
        """The `onnxruntime.InferenceSession`.

        Raises:
            ModelError: If the model waited to be loaded, and can't be.
            ProviderError: If the process was forked since, and the session is not on the CPU.
        """
        if self._onnx is None:  # it waits, or the process was forked
            if self.providers[0] != CPU:
                raise ProviderError(
                    f"{self.providers[0]} doesn't work in a process that was forked after it had "
                    "loaded the model: load the model in the process that uses it, or start "
                    'processes with multiprocessing.get_context("spawn")'
                )
            with _loading:
                self._onnx = self._onnx or self._load(*self._arguments)
        return self._onnx

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Runs the network.

        Args:
            inputs: `(N, ...)` float32, of the shape `manifest.input.shape`.

        Returns:
            The scores, `(N, ...)` float32, of the shape `manifest.output.shape`.

        Raises:
            ModelError: If onnxruntime fails, the scores have another shape, or a graph with a loop
                takes longer than `run_limit.RUN_SECONDS`.
            ProviderError: As for `onnx`.
        """
        onnx = self.onnx
        try:
            if self._limit is None:
                scores = onnx.run(self._outputs, {self._input: inputs})[0]
            else:
                feeds = {self._input: inputs}
                scores = self._limit.run(
                    lambda options: onnx.run(self._outputs, feeds, options)[0],
                    import_onnxruntime().RunOptions(),
                )
        except ModelError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelError(f"onnxruntime failed: {_first_line(error)}") from error
        if scores.shape != (len(inputs), *self._score_shape):
            raise ModelError(
                f"the model answered with scores of shape {scores.shape}, "
                f"not {(len(inputs), *self._score_shape)} as its description says"
            )
        return np.asarray(scores)


_sessions: Final = weakref.WeakSet[Session]()
_loading: Final = threading.RLock()


def _load(model: bytes, options: Any, providers: Sequence[Provider]) -> Any:  # noqa: ANN401
    """Creates onnxruntime's session."""
    if _provider_name(providers[0]) == CPU:
        with suppress(ManifestError):  # onnxruntime says what is wrong with a file that is damaged
            model = suit_processor(model)
    try:
        with _loading:
            onnx = import_onnxruntime().InferenceSession(model, options, providers=providers)
    except ValueError as error:  # a provider's options
        raise ProviderError(f"providers {providers}: {error}") from error
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise ModelError(f"onnxruntime can't load the model: {_first_line(error)}") from error
    onnx.disable_fallback()  # otherwise a run that fails on CUDA silently uses the CPU
    return onnx


def _leave_sessions() -> None:
    """Leaves the sessions of the parent alone: only the thread that forked goes on in the child.

    A session's threads don't exist in the child, and a lock that another thread held is never
    released. So the session can neither run nor be freed: its destructor waits for the threads.
    """
    for session in _sessions:
        if session._onnx is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session._onnx))  # so it is never freed
            session._onnx = None
    _loading.release()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
    # A fork waits until no other thread is loading: onnxruntime's own locks are held meanwhile.
    os.register_at_fork(
        before=_loading.acquire,
        after_in_parent=_loading.release,
        after_in_child=_leave_sessions,
    )


@cache
def import_onnxruntime() -> Any:  # noqa: ANN401  (a module without types)
    """Imports onnxruntime, after a check that exactly one of its two distributions is installed.

    Returns:
        The module.

    Raises:
        InstallationError: If no distribution is installed, or both are. The two overwrite each
            other's files, and CUDA silently stops working. The message says what to type.
    """
    found = _distributions()
    if len(found) == 2:
        raise InstallationError(
            "onnxruntime and onnxruntime-gpu are both installed and break each other: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then " + _INSTALL
        )
    # From about 1.30 on, the import writes a device id to the home folder, warns where that fails,
    # and may send events. Nothing here needs that.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C while its extension was loaded
            raise KeyboardInterrupt from error
        what = "onnxruntime is not installed" if not found else f"onnxruntime is broken ({error})"
        raise InstallationError(f"{what}: {_INSTALL}") from error
    return onnxruntime


def _distributions() -> set[str]:
    """The distributions of onnxruntime that are installed, by the folders of their metadata.

    `importlib.metadata` finds the same, and takes 10 ms of CPU, a twentieth of a program's start.
    """
    found = set()
    for place in sys.path:
        with suppress(OSError), os.scandir(place or ".") as entries:
            found |= {e.name.partition("-")[0] for e in entries if e.name.endswith("-info")}
    return found & {"onnxruntime", "onnxruntime_gpu"}


def installed(*distributions: str) -> dict[str, str]:
    """Finds the versions of those distributions that are installed.

    Args:
        *distributions: The names of distributions.

    Returns:
        The version by name. A distribution that is not installed has no entry.
    """
    from importlib.metadata import PackageNotFoundError, version  # see `_distributions`

    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _check_known(ort: Any, providers: Sequence[Provider]) -> list[Provider]:  # noqa: ANN401
    """Checks that onnxruntime knows the providers: instead of an unknown one it uses the CPU."""
    if isinstance(providers, str) or not providers:
        raise ProviderError(f"providers is a list of at least one, not {providers!r}")
    known = ort.get_available_providers()
    unknown = [name for name in map(_provider_name, providers) if name not in known]
    if unknown:
        raise ProviderError(f"no provider {unknown[0]}; this onnxruntime has {', '.join(known)}")
    return list(providers)


def _provider_name(provider: Provider) -> str:
    return provider if isinstance(provider, str) else provider[0]


@cache
def _log_once(level: int, message: str) -> None:
    _log.log(level, message)


def _check_tensors(what: str, found: Sequence["onnxruntime.NodeArg"], expected: Tensor) -> None:
    """Compares the graph's input or output with the description."""
    seen = [(arg.name, _shape(arg), arg.type) for arg in found]
    if seen != [(expected.name, expected.shape, "tensor(float)")]:
        raise ModelError(
            f"the model's {what} is {seen}, but its description says "
            f"{expected.name} {expected.shape} of float32"
        )


def _shape(arg: "onnxruntime.NodeArg") -> tuple[int | None, ...]:
    return tuple(axis if isinstance(axis, int) else None for axis in arg.shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
