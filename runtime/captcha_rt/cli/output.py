"""The exit codes, and the messages on stderr that all commands share."""

import json
import re
import sys
from contextlib import suppress
from typing import Any, Final, NoReturn

import typer

from captcha_rt.errors import CaptchaRTError

OK: Final = 0
"""Everything was read."""

SOME_FAILED: Final = 1
"""Some pictures could not be read."""

USAGE: Final = 2
"""Wrong usage, a file or folder that can't be used, or output that can't be written."""

MODEL: Final = 3
"""The model, the provider or the installation failed."""

LOW_CONFIDENCE: Final = 4
"""Some answers have a lower confidence than `--min-confidence`."""

BROKEN_PIPE: Final = 141
"""The reader of the output has gone: 128 + SIGPIPE, as shells have it."""


def one_line(text: str) -> str:
    """Escapes control characters, with which a file's name could forge a line of output."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def to_json(values: Any, indent: int | None = None) -> str:  # noqa: ANN401  (any JSON value)
    r"""Makes JSON that strict readers take.

    Python keeps a byte of a path that is not UTF-8 as half of a surrogate pair, which is no Unicode
    text: strict readers refuse it. Such a byte is written as `\xff`, as in lines of text.

    Args:
        values: What to write.
        indent: As for `json.dumps`.
    """
    text = json.dumps(values, indent=indent)
    if "\\ud" in text:  # half of a pair, or a pair, which stands for a rare character
        paired = json.dumps(values, ensure_ascii=False)
        whole = re.sub("[\ud800-\udfff]", lambda half: "\\" + _escape(half[0]), paired)
        text = json.dumps(json.loads(whole), indent=indent)
    return text


def _escape(character: str) -> str:
    """An escape of a character that can't be printed; of a byte that is not UTF-8, the byte."""
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"
    return repr(character)[1:-1]


def complain(message: str) -> None:
    """Prints one line on stderr. Where that can't be written, nobody reads it."""
    with suppress(OSError):
        typer.echo(f"captcha-rt: {one_line(message)}", err=True)


def about(name: str, error: CaptchaRTError) -> str:
    """The message of a picture's error, with the picture's name."""
    message = str(error)
    return message if message.startswith(f"{name}: ") else f"{name}: {message}"


def complain_about(name: str, error: CaptchaRTError) -> None:
    """Prints the error of a picture on stderr, with the picture's name."""
    complain(about(name, error))


def mention_waiting(what: str = "a picture") -> None:
    """Says on stderr what the command waits for, if somebody has to type it."""
    if sys.stdin.isatty():
        complain(f"waiting for {what} on standard input")


def from_checkout(distribution: str) -> str:
    """What to type to install captcha-rt-train or captcha-rt-export."""
    folders = "./export ./train" if distribution == "captcha-rt-train" else "./export"
    return f"pip install {folders}, in a checkout of captcha-rt"


def fail(message: str, code: int) -> NoReturn:
    """Prints one line on stderr and ends the command.

    Args:
        message: The reason.
        code: The exit code.
    """
    complain(message)
    raise typer.Exit(code)
