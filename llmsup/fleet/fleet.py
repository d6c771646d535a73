"""All models by name: finds them, starts a supervisor for each on first use, lets them come and go.

It does not know how a model lives (`model`) nor what a request looks like (`gateway`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

import trio

from ..catalog.entry import Entry
from ..catalog.found import LeftOut
from ..catalog.resolver import Match, Names
from ..engines.kinds import KINDS
from ..engines.registry import Kinds
from ..errors import ModelNotFound, QueueFull, ShuttingDown
from ..process.events import Events
from ..process.logbook import LogBook
from ..process.watched import Watched
from ..units import Bytes, Seconds
from .changes import Changes, compare
from .departures import Departures
from .model.admission import Admission
from .model.model import Model
from .model.queue import Lease
from .model.redefinition import redefine
from .model.run import Start
from .supervisors import Supervisors
from .unloading import unload_all

log = logging.getLogger(__name__)


class Fleet(Watched):
    """The models.

    Attributes:
        models: By id.
        book: What all engines and llmsup itself wrote, together.
        max_queue: Tells how many requests may wait for models, all together.
        events: What happened to them.
        complete: Every model that there is, is known; not so while files are still being looked at for the first time.
        without_engine: Models that no engine here can run, and why, with the remedy; as of the last look.
        closing: No new request is taken: llmsup is shutting down.
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
        """`kinds` are those that engines may be of."""
        super().__init__()
        self.events = events or Events()
        self.models: dict[str, Model] = {}
        self.book = book
        self.max_queue = max_queue
        self.complete = False
        self.without_engine: Mapping[str, str] = {}
        self.closing = False
        self._kinds = kinds
        self._supervisors = Supervisors(start, admission)
        self._names = Names({})
        self._departures = Departures(self._gone)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Have models supervised; cancelling this stops every engine, all at the same time."""
        await self._supervisors.run(task_status=task_status)

    def apply(
        self, entries: Mapping[str, Entry], *, complete: bool = True, left_out: Iterable[LeftOut] = ()
    ) -> Changes:
        """Have these models from now on; must be called while `run` runs. What is the same is not touched, what is
        new can be asked for, what changed is another from its next load on, what is gone ends once it is idle. What is
        gone and comes under another name with the same file and settings is the same model, and so is its engine. Who
        asks for what was left out hears why.
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
        self._names = Names({name: model.entry.called for name, model in self.models.items()}, left_out)
        self.complete = complete
        self.notify()
        return changes

    def _renamed(self, changes: Changes, entries: Mapping[str, Entry]) -> dict[str, Model]:
        """The models that are gone, or on their way out, and come under another name, by that."""
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
        if model.intent.load and not self.closing:
            self._supervisors.start(model)

    def _change(self, model: Model, entry: Entry, *, preload: bool = False) -> None:
        """`preload`: as one that is new, even if it was to be preloaded before."""
        preload = preload or not model.entry.preloads
        redefine(model, entry)
        if preload and entry.preloads and not self.closing:
            self.load(model, no_eviction=True)

    def _gone(self, model: Model) -> None:
        model.book.close()
        self._supervisors.stop(model)

    def resolve(self, name: str) -> Match:
        """What a name means. Raises ModelNotFound."""
        return self._names.resolve(name)

    async def known(self, name: str) -> Match:
        """What a name means; while files are still being looked at, one that nobody knows may yet turn up.

        Raises:
            ModelNotFound: It doesn't.
        """
        if not self.complete:
            await self._until_known(name)
        return self.resolve(name)

    async def _until_known(self, name: str) -> None:
        # A name that a file has may turn out to be the name of several.
        await self.until(lambda: self.complete or self.closing or self._names.was_given(name))
        if self.closing and not self.complete and not self._names.was_given(name):
            raise ShuttingDown("llmsup is shutting down.")

    def close(self) -> None:
        """Let nobody in any more; who is in may finish."""
        self.closing = True
        self.notify()

    def knows(self, name: str) -> bool:
        """Whether a name means exactly one model."""
        return self._names.find(name) is not None

    def find(self, name: str) -> Model:
        """The model that a name means. Raises ModelNotFound."""
        return self.models[self.resolve(name).id]

    def find_running(self, name: str) -> Model:
        """As `find`, and among those on their way out too: what `running` shows can be unloaded."""
        leaving = None if self.knows(name) else self._departures.find(name)
        return leaving or self.find(name)

    def names_of(self, model: Model) -> list[str]:
        """What else a model answers to, besides its id and its aliases: what no other model is called, too."""
        return self._names.own(model.spec.name, model.entry.also)

    def enter(self, model: Model, ttl: Seconds = Seconds(0), client: str = "") -> Lease:
        """Take a ticket for one request of a client; "" is nobody in particular, and shares with nobody.

        Raises:
            ShuttingDown: No request is taken any more.
            QueueFull: It would have to wait, and too many wait already, or too many of this client's.
            ModelFailed, LoadTimeout: The model can't be had for now.
            ModelNotFound: It is gone since it was found.
        """
        if self.closing or self._supervisors.nursery is None:
            raise ShuttingDown("llmsup is shutting down.")
        if self.models.get(model.spec.name) is not model:
            raise ModelNotFound(f"The model {model.spec.name!r} was just removed.", param="model")
        if model.would_wait:
            self._check_queue(client)
        lease = model.enter(ttl, client)
        self._supervisors.start(model)
        return lease

    def look(self, model: Model) -> Lease:
        """Take a ticket for one who only looks, which keeps nothing loaded.

        Raises:
            ShuttingDown: No request is taken any more.
            ModelNotLoaded: There is no engine that could be asked.
        """
        if self.closing or self._supervisors.nursery is None:
            raise ShuttingDown("llmsup is shutting down.")
        return model.look()

    def _check_queue(self, client: str) -> None:
        """One who can't be served at once may wait, unless the queue is full, or this client has more places in it
        than it leaves to everybody else: half of them if it is alone, a third if two do the same ... So nobody can
        fill it, and a newcomer finds room (switches share a buffer like this: Choudhury and Hahne, "Dynamic queue
        length thresholds", 1998).
        """
        most = self.max_queue()
        left = most - sum(model.queue.waiting for model in self._all())
        if left <= 0:
            raise QueueFull(f"{most} requests wait for models already (max_queue).", retry_after=5)
        if client and (own := sum(model.queue.waiting_of(client) for model in self._all())) > left:
            raise QueueFull(
                f"{own} requests of this client wait for models already, and {left} places are left for all others.",
                hint=f"One client may have as many as it leaves free (max_queue is {most}).",
                retry_after=5,
            )

    def load(self, model: Model, *, no_eviction: bool = False) -> None:
        """Ask for a model to be loaded, even if it failed a moment ago; `no_eviction`: only if nobody has to go for it.

        Raises:
            ShuttingDown: It is too late for that.
        """
        if self.closing or self._supervisors.nursery is None:
            raise ShuttingDown("llmsup is shutting down.")
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
        """Unload every model, all at the same time; returns the bytes that they used together.

        Raises:
            StillRunning: The engines are gone, but not all that they started.
        """
        return await unload_all(self._all(), reason, force=force)

    def give_up(self) -> None:
        """End every engine at once, because llmsup stops; nobody is let in any more."""
        self.close()
        for model in self._all():
            model.give_up()

    def close_books(self) -> None:
        """Let those who follow logs come to an end."""
        self.events.close()
        for book in (self.book, *(model.book for model in self._all())):
            book.close()

    def running(self) -> list[Model]:
        """The models that have, or are getting, an engine, in no order."""
        return [model for model in self._all() if model.run is not None]

    def _all(self) -> list[Model]:
        """The models, and those that are on their way out."""
        return [*self.models.values(), *self._departures]


def _prefix(name: str) -> str:
    """What a model's lines begin with among all others."""
    return f"[{name}] "
