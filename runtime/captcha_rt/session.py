"""onnxruntime on the provider that really is active."""

import ctypes
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from captcha_rt.errors import InstallationError, ModelError, ProviderError
from captcha_rt.manifest import Manifest, Tensor

if TYPE_CHECKING:
    import onnxruntime

Device = Literal["auto", "cpu", "cuda"]
Provider = str | tuple[str, Mapping[str, Any]]

MAX_THREADS = 1024
"""Beyond any machine that this runs on; a million would take it down."""

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
# EXHAUSTIVE, the default, searches again for every new batch size.
_CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}
_INSTALL = 'pip install "captcha-rt[cpu]", or "captcha-rt[gpu]" for NVIDIA GPUs'

_log = logging.getLogger("captcha_rt")


class Session:
    """A loaded model: from the recipe's tensors to scores. Safe to share between threads.

    Attributes:
        providers: The providers that are active, as the session itself says, the first first.
    """

    def __init__(
        self,
        model: bytes,
        manifest: Manifest,
        *,
        device: Device = "auto",
        providers: Sequence[Provider] | None = None,
        threads: int = 1,  # two take 1.4 times the CPU: benchmarks/results/session_options.json
    ) -> None:
        """Loads a model.

        Args:
            model: The bytes of the `.onnx` file.
            manifest: Its description; inputs and outputs must be as it says.
            device: `"cpu"`, `"cuda"`, or `"auto"`: CUDA where it works, else the CPU.
            providers: onnxruntime's providers, with options if need be, instead of a device.
            threads: Threads within one run.

        Raises:
            InstallationError: If there is no onnxruntime, or two of them.
            ProviderError: If what was asked for is not what became active.
            ModelError: If onnxruntime can't load the model, or it isn't as described.
            ValueError: If there is no such device, or the threads are out of range.
        """
        if type(threads) is not int or not 1 <= threads <= MAX_THREADS:
            raise ValueError(f"threads is {threads!r}; it is 1 to {MAX_THREADS}")
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # A thread that spins burns its core while it waits, for some time after each run, too.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # errors come as exceptions, and needn't be printed too

        wanted = _asked(ort, providers) if providers is not None else _chosen(ort, device)
        try:
            self._session = ort.InferenceSession(model, options, providers=wanted)
        except ValueError as error:  # a provider's options
            raise ProviderError(f"providers {wanted}: {error}") from error
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelError(f"onnxruntime can't load the model: {_first_line(error)}") from error
        self._session.disable_fallback()  # a run that fails on CUDA would go on on the CPU unseen
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        _check_active(self.providers, wanted, device if providers is None else None)
        _check_tensors("input", self._session.get_inputs(), manifest.input)
        _check_tensors("output", self._session.get_outputs(), manifest.output)
        self._input = manifest.input.name
        self._outputs = [manifest.output.name]
        self._score_shape = manifest.output.shape[1:]

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Runs the network.

        Args:
            inputs: `(N, ...)` float32, as the manifest's input says.

        Returns:
            The scores, `(N, ...)` float32, as the manifest's output says.

        Raises:
            ModelError: If onnxruntime fails, or the scores have another shape.
        """
        try:
            scores = self._session.run(self._outputs, {self._input: inputs})[0]
        except Exception as error:  # onnxruntime's exceptions share no base class
            raise ModelError(f"onnxruntime failed: {_first_line(error)}") from error
        if scores.shape != (len(inputs), *self._score_shape):
            raise ModelError(
                f"the model answered with scores of shape {scores.shape}, "
                f"not {(len(inputs), *self._score_shape)} as its manifest says"
            )
        return np.asarray(scores)


@cache
def import_onnxruntime() -> Any:  # noqa: ANN401  (a module without types)
    """Imports onnxruntime, if exactly one distribution of it is there.

    Raises:
        InstallationError: If there is none, or both: they overwrite each other's files, and
            CUDA is gone without a word. The message says what to type.
    """
    found = installed("onnxruntime", "onnxruntime-gpu")
    if len(found) == 2:
        raise InstallationError(
            "onnxruntime and onnxruntime-gpu are both installed and break each other: "
            "pip uninstall -y onnxruntime onnxruntime-gpu, then " + _INSTALL
        )
    # From 1.30 or so its import leaves a device id in the home folder, warns where it can't, and
    # may send events. A reader of pictures has no business with that.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        what = "onnxruntime is not installed" if not found else f"onnxruntime is broken ({error})"
        raise InstallationError(f"{what}: {_INSTALL}") from error
    return onnxruntime


def installed(*distributions: str) -> dict[str, str]:
    """The versions of those distributions that are installed."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _asked(ort: Any, providers: Sequence[Provider]) -> list[Provider]:  # noqa: ANN401
    """The override, if this onnxruntime knows its providers; it would use the CPU instead."""
    if isinstance(providers, str) or not providers:
        raise ProviderError(f"providers is a list of at least one, not {providers!r}")
    known = ort.get_available_providers()
    unknown = [name for name in map(_provider_name, providers) if name not in known]
    if unknown:
        raise ProviderError(f"no provider {unknown[0]}; this onnxruntime has {', '.join(known)}")
    return list(providers)


def _chosen(ort: Any, device: Device) -> list[Provider]:  # noqa: ANN401
    """What to ask onnxruntime for on a device."""
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device is {device!r}; it is 'auto', 'cpu' or 'cuda'")
    compiled_in = CUDA in ort.get_available_providers()
    if device == "cuda" and not compiled_in:
        raise ProviderError(
            "this onnxruntime has no CUDA: pip uninstall -y onnxruntime, "
            'then pip install "captcha-rt[gpu]"'
        )
    # Without a driver onnxruntime would print its failure to native stderr, and use the CPU.
    if device == "cpu" or (device == "auto" and not (compiled_in and _cuda_driver())):
        return [CPU]
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds CUDA and cuDNN where pip put them
    return [(CUDA, _CUDA_OPTIONS), CPU]


def _provider_name(provider: Provider) -> str:
    return provider if isinstance(provider, str) else provider[0]


def _cuda_driver() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _check_active(
    active: tuple[str, ...], wanted: Sequence[Provider], device: Device | None
) -> None:
    """Compares what is active with what was asked for; `auto` says what it took, once."""
    first = _provider_name(wanted[0])
    if device == "auto":
        _say_once(active[0], fell_back=active[0] != first)
    elif active[0] != first:
        raise ProviderError(
            f"{first} was asked for, but onnxruntime took {active[0]}: "
            "`captcha-rt doctor` says what works here"
        )


@cache
def _say_once(provider: str, *, fell_back: bool) -> None:
    if fell_back:
        _log.warning("CUDA is installed but does not work here; using %s", provider)
    else:
        _log.info("using %s", provider)


def _check_tensors(what: str, found: Sequence["onnxruntime.NodeArg"], expected: Tensor) -> None:
    """Compares the graph's only input or output with its description."""
    seen = [(arg.name, _shape(arg), arg.type) for arg in found]
    if seen != [(expected.name, expected.shape, "tensor(float)")]:
        raise ModelError(
            f"the model's {what} is {seen}, but its manifest says "
            f"{expected.name} {expected.shape} of float32"
        )


def _shape(arg: "onnxruntime.NodeArg") -> tuple[int | None, ...]:
    return tuple(axis if isinstance(axis, int) else None for axis in arg.shape)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
