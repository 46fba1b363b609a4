"""The log: a JSON object a line on stderr, without what pictures hold."""

import json
import logging
import time
from typing import Any, Final


class JsonLines(logging.Formatter):
    """Writes a record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        seconds = int(record.created)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        values: dict[str, Any] = {
            "time": f"{stamp}.{int((record.created - seconds) * 1000):03}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "process": record.process,
        }
        values |= getattr(record, "values", {})
        if record.exc_info:
            values["exception"] = self.formatException(record.exc_info)
        return json.dumps(values)


LOGGING: Final = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "captcha_rt.service.logs.JsonLines"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {"captcha_rt": {"level": "INFO"}, "uvicorn": {"level": "WARNING"}},
}
"""The settings of `logging.config`, for each process."""
