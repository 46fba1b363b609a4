"""Which processor a model runs on: the CPU, or a GPU by CUDA where that is faster."""

import ctypes
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any, Final, Literal, TypeAlias

from captcha_rt.errors import CaptchaRTError, ProviderError

Device: TypeAlias = Literal["auto", "cpu", "cuda"]
"""Where a model runs; `"auto"` is CUDA where that is faster, otherwise the CPU."""

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
CUDA_OPTIONS: Final = {
    # EXHAUSTIVE, the default, searches again for every new batch size.
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}
"""The options that sessions on CUDA are created with."""

RUN_SECONDS: Final = 0.004
"""The time of a run on the CPU from which on CUDA is tried. Below it lies what CUDA takes to start
a run's kernels: on an H100 0.3 ms for networks of convolutions, 2.4 to 3.7 ms for LSTMs."""

WORK_SECONDS: Final = 5.0
"""The time of all runs on the CPU from which on CUDA is tried, if their number is known. On an H100
a process with CUDA starts 0.6 s later, and takes 740 MB more memory."""

_WARM_UP: Final = 3
_RUNS: Final = 5


def has_cuda(ort: Any) -> bool:  # noqa: ANN401  (a module without types)
    """Whether onnxruntime was built with CUDA, and this machine has a driver for it.

    Without a driver onnxruntime prints an error to the native stderr and uses the CPU.
    """
    if CUDA not in ort.get_available_providers():
        return False
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def load_cuda(ort: Any) -> list[tuple[str, dict[str, str]] | str]:  # noqa: ANN401
    """Loads CUDA's libraries; returns the providers to ask onnxruntime for.

    Raises:
        ProviderError: If onnxruntime was built without CUDA.
    """
    if CUDA not in ort.get_available_providers():
        raise ProviderError(
            "this onnxruntime has no CUDA: pip uninstall -y onnxruntime, "
            'then pip install "captcha-rt[gpu]"'
        )
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # finds CUDA and cuDNN where pip put them
    return [(CUDA, CUDA_OPTIONS), CPU]


def choose(
    on_cpu: float, runs: float, try_cuda: Callable[[], float]
) -> tuple[Literal["cpu", "cuda"], str]:
    """Chooses the faster device. CUDA is not tried for work that is done before CUDA is loaded.

    Args:
        on_cpu: The time of a run on the CPU in seconds.
        runs: The number of runs; infinite if it is not known.
        try_cuda: Loads CUDA, and measures the time of a run on it in seconds; raises a
            CaptchaRTError if CUDA doesn't work.

    Returns:
        The device, and the reason in words.
    """
    if on_cpu < RUN_SECONDS:
        least = f"{RUN_SECONDS * 1000:.2g} ms"
        return "cpu", f"a run takes {on_cpu * 1000:.2g} ms; CUDA is tried from {least} on"
    if on_cpu * runs < WORK_SECONDS:
        least = f"{WORK_SECONDS:.2g} s"
        return "cpu", f"all runs take {on_cpu * runs:.2g} s; CUDA is tried from {least} on"
    try:
        on_cuda = try_cuda()
    except CaptchaRTError as error:
        return "cpu", f"CUDA fails: {error}"
    times = f"a run takes {on_cpu * 1000:.2g} ms on the CPU, {on_cuda * 1000:.2g} ms on CUDA"
    return ("cuda" if on_cuda < on_cpu else "cpu"), times


def time_run(run: Callable[[], object], enough: float = 0.0) -> float:
    """Measures the shortest time of a run in seconds, after a warm-up.

    Args:
        run: Runs the network.
        enough: A time in seconds; a run that is shorter ends the measurement.
    """
    best = float("inf")
    for number in range(_WARM_UP + _RUNS):
        start = perf_counter()
        run()
        seconds = perf_counter() - start
        if number >= _WARM_UP or seconds < enough:
            best = min(best, seconds)
        if best < enough:
            break
    return best
