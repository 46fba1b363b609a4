"""Runs a program at a low priority that ends when this process's standard input does.

python -m captcha_rt_train.labelling.tether PROGRAM ARGUMENT...

The page's server holds the other end of the input. So the program ends with the server, however
that ends: a server that is killed can't end its children itself.
"""

import os
import subprocess
import sys
import threading
from contextlib import suppress


def main() -> int:
    """Runs the program; returns its exit code."""
    if hasattr(os, "nice"):
        os.nice(10)
    lower = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)  # Windows
    program = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, creationflags=lower)
    threading.Thread(target=_wait_for_end, args=(program,), daemon=True).start()
    return program.wait()


def _wait_for_end(program: "subprocess.Popen[bytes]") -> None:
    """Kills the program when the input ends."""
    with suppress(OSError):
        # Not by sys.stdin, whose lock this thread would still hold when Python ends.
        while os.read(0, 1):
            pass
    program.kill()


if __name__ == "__main__":
    sys.exit(main())
