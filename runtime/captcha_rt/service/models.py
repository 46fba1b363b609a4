"""The models that a process serves: loaded when it starts, and again when their files change."""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from captcha_rt.errors import CaptchaRTError
from captcha_rt.model import has_loop, load_model
from captcha_rt.service.metrics import Metrics
from captcha_rt.service.refusal import Refusal, busy
from captcha_rt.service.settings import Settings
from captcha_rt.solver import Solver

_PATIENCE: Final = 10  # seconds that a request waits for the first models
_BLANK: Final = (50, 200, 3)
_log = logging.getLogger("captcha_rt.service")


@dataclass(frozen=True, slots=True)
class Served:
    """A model that answers.

    Attributes:
        name: The name that callers use.
        solver: The model.
        loops: Whether its graph has a loop, which may not end.
    """

    name: str
    solver: Solver
    loops: bool = False


class Models:
    """The models by name."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        """Loads none yet."""
        self._settings = settings
        self._metrics = metrics
        self._served: dict[str, Served] = {}
        self._first = asyncio.Event()
        self._loading = asyncio.Lock()
        self._asked = False  # whether a reload waits for its turn
        self._described: set[tuple[str, str, str]] = set()

    @property
    def loaded(self) -> bool:
        """Whether the models can answer."""
        return bool(self._served)

    @property
    def names(self) -> list[str]:
        """The names that can be asked for."""
        return [*self._settings.models]

    async def find(self, name: str | None) -> Served:
        """The model of a name; the first one for None.

        While the models are being loaded it waits: a new process takes connections at once.

        Raises:
            Refusal: If there is none of this name, or loading takes too long.
        """
        if name is not None and name not in self._settings.models:
            raise Refusal(404, f"no model {name[:80]!r}; there is {', '.join(self.names)}")
        if not self._served:
            try:
                await asyncio.wait_for(self._first.wait(), _PATIENCE)
            except TimeoutError:
                raise busy("the models are being loaded", "loading") from None
        return self._served[self.names[0] if name is None else name]

    async def load(self) -> None:
        """Loads all models, and only then takes them.

        Requests that are being answered keep the models with which they began.

        Raises:
            CaptchaRTError: If one can't be loaded; the models stay as they were.
        """
        async with self._loading:  # one after the other, so that the newest files stay
            self._asked = False
            self._served = await asyncio.to_thread(_load, self._settings)
        self._first.set()
        self._describe()

    def _describe(self) -> None:
        """Says in the metrics what is loaded; a label can't be removed there, only set to 0."""
        found = set()
        for name, served in self._served.items():
            for reader in served.solver.readers:
                graph = reader.manifest.graph
                digest = "" if graph is None else graph.sha256
                found.add((name, digest, reader.session.providers[0]))
        for labels in self._described | found:
            self._metrics.info.labels(*labels).set(labels in found)
        self._described |= found

    async def reload(self) -> None:
        """Loads the files again; models that can't be loaded change nothing."""
        if self._asked:  # the reload that waits hasn't read the files yet
            return
        self._asked = True
        try:
            await self.load()
        except CaptchaRTError as error:
            _log.error("the models stay as they are: %s", error)
        else:
            _log.info("loaded the models again")


def _load(settings: Settings) -> dict[str, Served]:
    """Loads all models, and lets each read a picture: the first takes 20 ms longer."""
    loaded = {}
    for name, file in settings.models.items():
        solver = Solver(
            file,
            device=settings.device,
            threads=settings.threads,
            max_pixels=settings.max_pixels,
        )
        solver.load()
        loops = file is not None and has_loop(load_model(file).data)
        if not loops:
            with suppress(CaptchaRTError):  # a blank picture may hold no glyphs
                solver.solve(np.full(_BLANK, 255, np.uint8))
        loaded[name] = Served(name, solver, loops)
    return loaded
