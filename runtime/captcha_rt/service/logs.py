"""The log: a JSON object a line on stderr, without what pictures hold."""

import asyncio
import json
import logging
import os
import sys
import time
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

import orjson

_WAIT_SECONDS: Final = 0.1  # how long a request's line waits for others
_TOGETHER: Final = 4096  # bytes that the system writes at once, not mixed with other processes'


class JsonLines(logging.Formatter):
    """Writes a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        values: dict[str, Any] = {
            "time": _stamp(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "process": record.process,
        }
        values |= getattr(record, "values", {})
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return json.dumps(values)


class AccessLog:
    """Writes a line for each request, several at once.

    A line through Python's logging costs as much CPU as a tenth of a solve.
    """

    def __init__(self) -> None:
        """Nothing waits to be written."""
        self._begin = {"level": "info", "message": "request", "process": os.getpid()}
        self._waiting = bytearray()

    def note(self, **values: Any) -> None:  # noqa: ANN401  (any JSON values)
        """Takes what is known of a request; its line is written a moment later."""
        line = orjson.dumps({"time": _stamp(time.time()), **self._begin, **values}) + b"\n"
        if len(self._waiting) + len(line) > _TOGETHER:
            self.write()
        if not self._waiting:
            asyncio.get_running_loop().call_later(_WAIT_SECONDS, self.write)
        self._waiting += line

    def write(self) -> None:
        """Writes the lines that wait."""
        if not self._waiting:  # `note` has written them, since there were many
            return
        text, self._waiting = self._waiting.decode(), bytearray()
        with suppress(OSError, ValueError):  # nobody reads stderr any more, or it is closed
            sys.stderr.write(text)
            sys.stderr.flush()


def _stamp(now: float) -> str:
    """The time in UTC, with milliseconds."""
    seconds = int(now)
    return f"{_second(seconds)}.{int((now - seconds) * 1000):03}Z"


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


LOGGING: Final = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "captcha_rt.service.logs.JsonLines"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"captcha_rt": {"level": "INFO"}, "uvicorn": {"level": "WARNING"}},
}
"""The settings of `logging.config`, for each process."""
