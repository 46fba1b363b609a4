"""Stops the runs of a graph that may not end."""

import threading
from collections.abc import Callable
from typing import Any, Final

from captcha_rt.errors import ModelError

RUN_SECONDS: Final = 30.0
"""How long one run of a graph with a loop may take. A good one takes milliseconds."""

# The run of a batch and that of one picture in it are both stopped before the next one is read.
_MAX_STOPPED: Final = 3
_STOP_SECONDS: Final = 0.5  # onnxruntime looks at `terminate` after each node


class RunLimit:
    """Runs a graph in a thread, so that a time-out and Ctrl-C stop it.

    After some stopped runs in a row no further one is tried, so that a folder of pictures doesn't
    wait for each.
    """

    def __init__(self) -> None:
        """No run was stopped yet."""
        self._stopped = 0  # the runs since the last good one that took too long

    def run(self, call: Callable[[Any], Any], options: Any) -> Any:  # noqa: ANN401  (onnxruntime's)
        """Runs a graph.

        Args:
            call: Runs the graph with the options, and returns the scores.
            options: onnxruntime's `RunOptions`.

        Returns:
            What `call` returned.

        Raises:
            ModelError: If the run takes longer than `RUN_SECONDS`, or several before it did.
            Exception: What `call` raised.
        """
        late = f"a run of the model took longer than {RUN_SECONDS:g} seconds: its loop may not end"
        if self._stopped >= _MAX_STOPPED:
            raise ModelError(f"{late}; {self._stopped} runs were stopped, so no other is tried")
        options.log_severity_level = 4
        ended: list[Any] = []
        over = threading.Event()

        def run() -> None:
            try:
                ended.append(call(options))
            except Exception as error:  # noqa: BLE001  (raised in the thread that waits)
                ended.append(error)
            finally:
                over.set()

        # A daemon, since a loop without a node in it doesn't look at `terminate`. All others are
        # waited for: a thread that ends while Python ends would abort the process.
        threading.Thread(target=run, daemon=True).start()
        try:
            in_time = over.wait(RUN_SECONDS)
        finally:
            options.terminate = True
            over.wait(_STOP_SECONDS)
        if not in_time:
            self._stopped += 1
            raise ModelError(late)
        self._stopped = 0
        if isinstance(ended[0], Exception):
            raise ended[0]
        return ended[0]
