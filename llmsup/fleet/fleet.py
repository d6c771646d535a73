"""All models by name: finds them, starts a supervisor for each on first use, counts who waits.

It does not know how a model lives (`model`) nor what a request looks like (`gateway`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import trio

from ..catalog.names import Match, Names
from ..config.schema import ModelSpec
from ..errors import QueueFull, ShuttingDown
from ..memory.admission import Admission
from ..process.logbook import LogBook
from ..units import Bytes, Seconds
from .desk import Ticket
from .life import Start
from .model import Model

log = logging.getLogger(__name__)

_RANK = {"high": 0, "normal": 1, "low": 2}


class Fleet:
    """The models.

    Attributes:
        models: By id.
        book: What all engines and llmsup itself wrote, together.
        closing: No new request is taken: llmsup is shutting down.
    """

    def __init__(
        self,
        specs: Iterable[ModelSpec],
        start: Start,
        admission: Admission,
        *,
        max_queue: int,
        book: LogBook,
    ) -> None:
        self.book = book
        self.closing = False
        self.models: Mapping[str, Model] = {
            spec.name: Model(spec, start, admission, LogBook(parent=book, prefix=f"[{spec.name}] ")) for spec in specs
        }
        self._names = Names({id_: (m.spec.aliases, m.spec.presets) for id_, m in self.models.items()})
        self._max_queue = max_queue
        self._supervised: set[str] = set()
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the parent of all supervisors; cancelling this stops every engine, all at the same time."""
        try:
            async with trio.open_nursery() as self._nursery:
                for model in self.models.values():
                    if model.spec.preload:
                        self._supervise(model)
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def _supervise(self, model: Model) -> None:
        if model.spec.name not in self._supervised and self._nursery is not None:
            self._supervised.add(model.spec.name)
            self._nursery.start_soon(model.run, name=f"model {model.spec.name}")

    def resolve(self, name: str) -> Match:
        """What a name means. Raises ModelNotFound."""
        return self._names.resolve(name)

    def knows(self, name: str) -> bool:
        """Whether a name means exactly one model."""
        return self._names.find(name) is not None

    def find(self, name: str) -> Model:
        """The model that a name means. Raises ModelNotFound."""
        return self.models[self.resolve(name).id]

    def enter(self, model: Model, ttl: Seconds = Seconds(0)) -> Ticket:
        """Take a ticket for one request.

        Raises:
            ShuttingDown: No request is taken any more.
            QueueFull: Too many wait already.
            ModelFailed, LoadTimeout: The model can't be had for now.
        """
        if self.closing or self._nursery is None:
            raise ShuttingDown("llmsup is shutting down.")
        if sum(m.desk.waiting for m in self.models.values()) >= self._max_queue:
            raise QueueFull(f"{self._max_queue} requests wait for models already (max_queue).", retry_after=5)
        ticket = model.enter(ttl)
        self._supervise(model)
        return ticket

    def load(self, model: Model) -> None:
        """Ask for a model to be loaded, even if it failed a moment ago. Raises ShuttingDown."""
        if self.closing or self._nursery is None:
            raise ShuttingDown("llmsup is shutting down.")
        model.load()
        self._supervise(model)

    async def unload_all(self, reason: str, *, force: bool = False) -> Bytes:
        """Unload every model, all at the same time; returns the bytes that they used together."""
        freed: list[Bytes] = []

        async def unload(model: Model) -> None:
            freed.append(await model.unload(reason, force=force))

        async with trio.open_nursery() as nursery:
            for model in self.models.values():
                nursery.start_soon(unload, model)
        return Bytes(sum(freed))

    def give_up(self) -> None:
        """End every engine at once, because llmsup stops; nobody is let in any more."""
        self.closing = True
        for model in self.models.values():
            model.give_up()

    def close_books(self) -> None:
        """Let those who follow logs come to an end."""
        for book in (self.book, *(model.book for model in self.models.values())):
            book.close()

    def running(self) -> list[Model]:
        """The models that have, or are getting, an engine: most to least worth keeping."""
        return sorted((m for m in self.models.values() if m.life is not None), key=_worth)


def _worth(model: Model) -> tuple[object, ...]:
    """Sorts the most worth keeping first: pinned, then busy, then by priority, then the last used."""
    last = max(model.desk.last_used or 0.0, model.since)
    return (not model.spec.pinned, not model.desk.busy, _RANK[model.spec.priority], -last)
