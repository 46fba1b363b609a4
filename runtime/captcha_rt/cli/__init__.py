"""The command line: one file per command. The module `app` lists the commands."""

import io
import os
import sys

from captcha_rt.cli.interrupts import end_at_once

# OpenBLAS starts a thread for each core when NumPy is loaded. That costs 55 ms of CPU, and no
# command uses these threads. Only the command line sets this variable: in other programs that use
# the library, the number of threads is for the program to choose.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> None:
    """Runs the command line. `captcha-rt --help` lists the exit codes."""
    try:
        # Before any other import: in a callback of the import system, Python prints Ctrl-C's
        # exception, and goes on.
        end_at_once()
        if sys.argv[1:2] == ["serve"]:  # its modules take a moment to load
            from captcha_rt.service.hangups import hold

            hold()
        if getattr(sys, "frozen", False):  # a program made by PyInstaller starts itself again
            from multiprocessing import freeze_support

            freeze_support()
        _open_closed_streams()
        from captcha_rt.cli.lean import without_garbage_collection

        with without_garbage_collection():
            from captcha_rt.cli.app import app
        try:
            app()
        except OSError:  # not even the message about wrong usage can be written to stderr
            sys.exit(2)
        finally:
            end_at_once()
    except KeyboardInterrupt:  # in the few moments when it doesn't end the program at once
        sys.exit(130)


def _open_closed_streams() -> None:
    """Opens the streams that the caller has closed: `captcha-rt info >&-`.

    What is written to stdout then is an error, as on a full disk. stderr goes nowhere.
    """
    for name, mode, access in (
        ("stdin", "r", os.O_RDONLY),
        ("stdout", "w", os.O_RDONLY),
        ("stderr", "w", os.O_WRONLY),
    ):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, access), mode, encoding="utf-8"))  # noqa: PTH123, SIM115
    # Characters that the output's encoding lacks are escaped, as on stderr.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
