"""The exit codes, and the messages on stderr that all commands share."""

from typing import Final, NoReturn

import typer

from captcha_rt.errors import CaptchaRTError

OK: Final = 0
"""Everything was read."""

SOME_FAILED: Final = 1
"""Some pictures could not be read."""

USAGE: Final = 2
"""Wrong usage, or a file or folder that can't be used."""

MODEL: Final = 3
"""The model, the provider or the installation failed."""

LOW_CONFIDENCE: Final = 4
"""Some answers have a lower confidence than `--min-confidence`."""

INTERRUPTED: Final = 130
"""Stopped by Ctrl-C: 128 + SIGINT, as shells have it."""

BROKEN_PIPE: Final = 141
"""The reader of the output has gone: 128 + SIGPIPE, as shells have it."""


def one_line(text: str) -> str:
    """Escapes control characters, with which a file's name could forge a line of output."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def complain(message: str) -> None:
    """Prints one line on stderr."""
    typer.echo(f"captcha-rt: {one_line(message)}", err=True)


def complain_about(name: str, error: CaptchaRTError) -> None:
    """Prints the error of a picture on stderr, with the picture's name."""
    message = str(error)
    complain(message if message.startswith(name) else f"{name}: {message}")


def fail(message: str, code: int) -> NoReturn:
    """Prints one line on stderr and ends the command.

    Args:
        message: The reason.
        code: The exit code.
    """
    complain(message)
    raise typer.Exit(code)
