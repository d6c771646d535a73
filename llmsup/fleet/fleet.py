"""All models: takes their requests, starts a supervisor for each on first use, adds and removes them on reload."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import trio

from ..catalog.entry import Entry
from ..catalog.found import LeftOut
from ..engines.kinds import KINDS
from ..engines.registry import Kinds
from ..errors import ModelNotFound, ShuttingDown
from ..process.logbook import LogBook
from ..process.ring import Events
from ..units import Bytes, Seconds
from .backend import Backend, BackendLease, Trail
from .changes import Changes, compare
from .departures import Departures
from .model.hooks import before_stop
from .model.model import Model
from .model.permission import Admission
from .model.redefinition import redefine
from .model.run import Start
from .model.states import State
from .named import NamedBackends
from .pause import Pause
from .queue_share import check_queue
from .supervisors import Supervisors
from .unloading import unload_all

log = logging.getLogger(__name__)


class Fleet(NamedBackends):
    """The models, each with a supervisor.

    Attributes:
        book: The combined log of all engines and llmsup itself.
        paused: Why no model is served now; None if they are.
        max_queue: Gives the number of requests that may wait, for all models together.
        events: What happens to them.
    """

    def __init__(
        self,
        start: Start,
        admission: Admission,
        *,
        max_queue: Callable[[], int],
        book: LogBook,
        events: Events | None = None,
        kinds: Kinds = KINDS,
    ) -> None:
        """`kinds` are the kinds of engine that models may run on."""
        super().__init__()
        self.events = events or Events()
        self.book = book
        self.max_queue = max_queue
        self.paused: Pause | None = None
        self._had: set[Model] = set()  # those that are to be loaded when it is over
        self._kinds = kinds
        self._supervisors = Supervisors(start, admission)
        self._departures = Departures(self._gone)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Supervise the models; cancelling this stops all engines at the same time."""
        await self._supervisors.run(task_status=task_status)

    def apply(
        self, entries: Mapping[str, Entry], *, complete: bool = True, left_out: Iterable[LeftOut] = ()
    ) -> Changes:
        """Replace the set of models; must be called while `run` runs.

        Unchanged models are not touched, new ones can be asked for at once, changed ones are different from their next
        load on, and removed ones end once they are idle. A model that reappears under another name with the same file
        and settings keeps its engine. Requests for what was left out get the reason.
        """
        changes = compare({name: model.entry for name, model in self.models.items()}, entries)
        for name, model in self._renamed(changes, entries).items():
            self._rename(model, entries[name])
        for name in changes.removed:
            if name in self.models:
                self._departures.see_off(self.models.pop(name), self._supervisors.nursery)
        for name in changes.changed:
            self._change(self.models[name], entries[name])
        for name in changes.added:
            if name not in self.models:
                self._add(entries[name])
        self.models = {name: self.models[name] for name in entries}  # in their order
        self._left_out = tuple(left_out)
        self.complete = complete
        self._update_names()
        return changes

    def _renamed(self, changes: Changes, entries: Mapping[str, Entry]) -> dict[str, Model]:
        """The removed or departing models that reappear under another name, by the new name."""
        going = [*(self.models[name] for name in changes.removed), *self._departures]
        found: dict[str, Model] = {}
        for name in changes.added:
            if name not in self._departures:
                alike = (model for model in going if model.entry.runs_like(entries[name]))
                if (model := next(alike, None)) is not None:
                    going.remove(model)
                    found[name] = model
        return found

    def _rename(self, model: Model, entry: Entry) -> None:
        before = model.spec.name
        self.models.pop(before, None)
        went = self._departures.keep(before)
        log.info("%s is called %s now", before, entry.name)
        model.book.prefix = _prefix(entry.name)
        self.models[entry.name] = model
        self._change(model, entry, preload=went is not None)

    def _add(self, entry: Entry) -> None:
        name = entry.name
        if back := self._departures.keep(name):
            self.models[name] = back
            self._change(back, entry, preload=True)
            return
        book = LogBook(parent=self.book, prefix=_prefix(name))
        self.models[name] = model = Model(entry, book, self.events, self._kinds)
        model.held = self.paused is not None
        if model.intent.load and not self.closing:
            self._supervisors.start(model)

    def _change(self, model: Model, entry: Entry, *, preload: bool = False) -> None:
        """`preload`: preload it as if it were new, even if it was preloaded before the change."""
        preload = preload or not model.entry.preloads
        redefine(model, entry)
        if preload and entry.preloads and self.paused is not None:
            self._had.add(model)
        elif preload and entry.preloads and not self.closing:
            self.load(model, no_eviction=True)

    def _gone(self, model: Model) -> None:
        model.book.close()
        self._supervisors.stop(model)

    def close(self) -> None:
        """Take no more requests; those already accepted may finish."""
        self.closing = True
        self.notify()

    def pause(self, why: Pause) -> None:
        """Take no request for a model here until `resume`, and refuse those that wait. Loaded ones are not unloaded."""
        self.paused = why
        for model in self._all():
            if (model.run is not None or model.intent.load) and (model.spec.pinned or model.entry.preloads):
                self._had.add(model)
            model.hold(why.error())
        self.notify()

    def resume(self) -> None:
        """Take requests again, and load those that were to stay loaded, where there is room for them."""
        self.paused = None
        for model in self._all():
            model.let_go()
        for model in self._had.intersection(self.models.values()):
            if not self.closing and not model.entry.refusal:
                self.load(model, no_eviction=True)
        self._had.clear()
        self.notify()

    def find_running(self, name: str) -> Model:
        """Like `find`, but also among the departing models: whatever `running` shows can be unloaded."""
        match = self._names.find(name)
        leaving = None if match is not None and match.id in self.models else self._departures.find(name)
        return leaving or self.find(name)

    def enter(
        self, backend: Backend, ttl: Seconds = Seconds(0), client: str = "", trail: Trail | None = None
    ) -> BackendLease:
        """Take a lease for one request of a client; the client "" is no particular one, and has no share of the queue.

        Raises:
            ShuttingDown: No more requests are taken.
            Paused: None are taken now, for this reason.
            QueueFull: It would have to wait, and too many wait already, or too many from this client.
            ModelFailed, LoadTimeout: The model failed lately and won't be tried again yet.
            ModelNotFound: It was removed since it was found.
        """
        if self.closing or self._supervisors.nursery is None:
            raise ShuttingDown("llmsup is shutting down.")
        name = backend.spec.name
        model = self.models.get(name)
        if model is None or model is not backend:
            return self._enter_elsewhere(backend, ttl, client, trail)
        if self.paused is not None:
            raise self.paused.error()
        if model.would_wait:
            check_queue(self._all(), self.max_queue(), client)
        lease = model.enter(ttl, client)
        self._supervisors.start(model)
        return lease

    def _enter_elsewhere(self, backend: Backend, ttl: Seconds, client: str, trail: Trail | None) -> BackendLease:
        """The same for a backend of which a model here is a part at most; it enters that by `enter`."""
        name = backend.spec.name
        there = self.shared if name in self.models else self.elsewhere if name in self.elsewhere else self.addressed
        if there.get(name) is not backend:
            raise ModelNotFound(f"The model {name!r} was just removed.", param="model")
        if backend.would_wait:
            check_queue(self._all(), self.max_queue(), client)
        return backend.enter(ttl, client, trail)

    def look(self, backend: Backend) -> BackendLease:
        """Take a lease for a read-only request, which keeps nothing loaded.

        Raises:
            ShuttingDown: No more requests are taken.
            ModelNotLoaded: There is no engine to ask.
        """
        if self.closing or self._supervisors.nursery is None:
            raise ShuttingDown("llmsup is shutting down.")
        return backend.look()

    def load(self, model: Model, *, no_eviction: bool = False) -> None:
        """Ask for a model to be loaded, even if it has just failed.

        Args:
            no_eviction: Load it only if no other model has to be evicted for it.

        Raises:
            ModelFailed: It can't be served as configured.
            ShuttingDown: No more loads are taken.
            Paused: None are taken now, for this reason.
        """
        if self.closing or self._supervisors.nursery is None:
            raise ShuttingDown("llmsup is shutting down.")
        if self.paused is not None:
            raise self.paused.error()
        model.load(no_eviction=no_eviction)
        self._supervisors.start(model)

    async def until_loaded(self, model: Model) -> None:
        """Load a model, and wait until it can be used.

        Raises:
            Error: As `load` and `enter` do, or because it can't be loaded.
        """
        self.load(model)
        with self.enter(model) as lease:
            await lease.run(Seconds(model.spec.start_timeout + model.spec.queue_timeout))

    async def unload_all(self, reason: str, *, force: bool = False) -> Bytes:
        """Unload all models at the same time; returns the bytes that they used together.

        Raises:
            StillRunning: The engines are gone, but some process that they started is not.
        """
        return await unload_all(self._all(), reason, force=force)

    async def prepare_to_stop(self) -> None:
        """Let idle engines prepare for their end, all at the same time, as before any planned stop."""
        async with trio.open_nursery() as nursery:
            for model in self._all():
                run = model.run
                if model.state is State.READY and run is not None and run.engine is not None:
                    nursery.start_soon(before_stop, model, run, run.engine)

    def give_up(self) -> None:
        """End every engine at once, because llmsup stops; no further request is accepted."""
        self.close()
        for model in self._all():
            model.give_up()

    def close_books(self) -> None:
        """Let those who follow logs come to an end."""
        self.events.close()
        for book in (self.book, *(model.book for model in self._all())):
            book.close()

    def running(self) -> list[Model]:
        """The models that have an engine or are getting one, in no particular order."""
        return [model for model in self._all() if model.run is not None]

    @property
    def at_work(self) -> bool:
        """Whether any model is being loaded, or has a request, in flight or waiting."""
        return any(model.queue.busy or model.state is State.STARTING for model in self.running())

    def _all(self) -> list[Model]:
        """The models, including the departing ones."""
        return [*self.models.values(), *self._departures]


def _prefix(name: str) -> str:
    """What a model's lines begin with in the combined log."""
    return f"[{name}] "
