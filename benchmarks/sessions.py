"""Bare onnxruntime sessions, for what the runtime's own `Session` does not offer."""

from typing import Any

from captcha_rt.device import CPU
from captcha_rt.session import import_onnxruntime


def session_options(threads: int = 1) -> Any:  # noqa: ANN401  (onnxruntime has no types)
    """The options of a session that logs nothing.

    Args:
        threads: The number of threads within a run. Without this option onnxruntime takes one
            for each core of the machine, even if the process may use fewer cores.
    """
    options = import_onnxruntime().SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    return options


def bare_session(graph: bytes, options: Any = None) -> Any:  # noqa: ANN401
    """A session on the CPU.

    Args:
        graph: The bytes of a model file.
        options: onnxruntime's options; by default those of one thread.
    """
    options = session_options() if options is None else options
    return import_onnxruntime().InferenceSession(graph, options, providers=[CPU])
