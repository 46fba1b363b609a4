"""Where the command `captcha-rt` starts."""

import gc
import io
import os
import sys

# OpenBLAS starts a thread a core when NumPy loads, which costs 55 ms of CPU; nothing here uses
# them. A program may decide that for its process; the library doesn't.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Runs the command line; `commands` lists the exit codes."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller: `captcha-rt info >&-`
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    # A character that the output's encoding lacks is escaped, as on stderr.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        # What is imported is never garbage; to look through it takes 35 ms of CPU, half at exit.
        gc.disable()
        from captcha_rt.commands import app

        gc.freeze()
        gc.enable()
        app()
    except KeyboardInterrupt:  # while still importing
        sys.exit(130)
