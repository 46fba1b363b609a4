"""The metrics, summed over the processes of a service.

prometheus-client keeps the values of several processes in files, in the folder that the environment
names when it is imported. So this module is imported in the processes that answer, and there alone.
"""

import os
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from captcha_rt.service.settings import METRICS_FOLDER

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST

_SECONDS: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What is counted."""

    def __init__(self) -> None:
        """Makes the metrics of this process."""
        self._own = CollectorRegistry()
        own = self._own
        requests = Counter(
            "captcha_rt_requests", "Requests that were answered.", ["route", "code"], registry=own
        )
        self.requests = cache(requests.labels)  # to look up a label takes longer than to count
        self.rejected = Counter(
            "captcha_rt_rejected", "Requests that were refused.", ["reason"], registry=own
        )
        seconds = partial(Histogram, buckets=_SECONDS, registry=own)
        self.queued = seconds("captcha_rt_queue_seconds", "How long a request waited to be read.")
        self.decoding = seconds(
            "captcha_rt_decode_seconds", "How long it took to decode the pictures of a batch."
        )
        self.inferring = seconds(
            "captcha_rt_infer_seconds", "How long it took to prepare and read a batch."
        )
        self.batch = Histogram(
            "captcha_rt_batch_size",
            "The number of pictures that were read together.",
            buckets=_SIZES,
            registry=own,
        )
        self.pending = Gauge(
            "captcha_rt_pending",
            "Pictures that are waiting or being read.",
            registry=own,
            multiprocess_mode="livesum",
        )
        self.info = Gauge(
            "captcha_rt_model_info",
            "The models that are served, by the SHA-256 of their graphs.",
            ["model", "sha256", "provider"],
            registry=own,
            multiprocess_mode="livemax",
        )

    def text(self) -> bytes:
        """The metrics of all processes in Prometheus's format."""
        if METRICS_FOLDER not in os.environ:
            return generate_latest(self._own)
        everything = CollectorRegistry()
        MultiProcessCollector(everything)  # type: ignore[no-untyped-call]
        return generate_latest(everything)


def forget_the_dead() -> None:
    """Removes what processes that have ended hold: their pictures are no longer pending."""
    folder = os.environ.get(METRICS_FOLDER)
    for file in Path(folder).glob("gauge_live*_*.db") if folder else ():
        process = file.stem.rpartition("_")[2]
        if process.isdecimal() and not _lives(int(process)):
            with suppress(OSError):  # another process was faster
                mark_process_dead(int(process))  # type: ignore[no-untyped-call]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
