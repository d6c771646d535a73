"""All RPC workers: kept in step with the config, given to the models that name them, shown to the governor as pools."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager

import trio
from attrs import Factory, define

from ...config.live import LiveConfig
from ...errors import Error, ModelFailed
from ...memory.amounts import HOST, REMOTE, Amounts
from ...memory.cost.placement import Room
from ...memory.policy.inputs import Pool
from ...process.logbook import LogBook
from ...process.orphans import Orphans
from ...process.ring import Events
from ...process.watched import Watched
from ..model.model import Model
from ..model.outcome import Crashed
from ..model.run import Run
from .hanging import until_hung
from .instance import Instance
from .reach import Asks, connects, until_gone
from .worker import Worker

log = logging.getLogger(__name__)

UNKNOWN = 1
"""Bytes that a worker has which serves one engine at a time, as long as nobody knows how much it has: all of it is one
model's then. No figure to show to anybody."""

SHOWS = 0.5
"""Seconds within which a worker's end shows after that of the engine that lost it."""


@define(eq=False)
class Hold:
    """What one run of a model has of workers.

    Attributes:
        model: The model.
        name: Its name when it began.
        run: Ended when one of them is lost.
        parts: The workers, and the instance of each.
        sensing: The task that watches them for it.
    """

    model: Model
    name: str
    run: Run
    parts: list[tuple[Worker, Instance]] = Factory(list)
    sensing: trio.CancelScope = Factory(trio.CancelScope)


class Workers(Watched):
    """The workers of the config in force, and those that models still have of an earlier one.

    Attributes:
        all: The former, by name, in the config's order.
    """

    def __init__(self, config: LiveConfig, orphans: Orphans, book: LogBook, events: Events, ask: Asks) -> None:
        super().__init__()
        self.all: dict[str, Worker] = {}
        self._config = config
        self._orphans = orphans
        self._book = book
        self._events = events
        self._ask = ask
        self._holds: list[Hold] = []
        self._nursery: trio.Nursery | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Follow the config until cancelled; then all of them are ended."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._follow()
            task_status.started()
            while True:
                await self._config.change()
                self._follow()

    def _follow(self) -> None:
        assert self._nursery is not None
        before, wanted = self.all, self._config.now.rpc
        self.all = {}
        for name, spec in wanted.items():
            if (same := before.get(name)) is not None and same.spec == spec:
                self.all[name] = before.pop(name)
                continue
            book = LogBook(200, parent=self._book, prefix=f"[rpc {name}] ")
            self.all[name] = Worker(spec, self._nursery, self._orphans, book, self._events, self._ask, self._died)
        for gone in before.values():
            gone.retire()
        self.notify()

    # For models...

    @contextmanager
    def wanted(self, model: Model) -> Iterator[None]:
        """A model is going to use its workers. Raises ModelFailed: the config has none of that name."""
        with ExitStack() as stack:
            for name in model.spec.rpc:
                stack.enter_context(self._worker(model, name).wanted())
            yield

    async def known(self, model: Model) -> None:
        """Have a model's workers answer, so that it is known what they have.

        Raises:
            ModelFailed: One of them can't be started, or reached.
        """
        for name in model.spec.rpc:
            with _named(model, name):
                await self._worker(model, name).answers()

    @asynccontextmanager
    async def held(self, model: Model, run: Run) -> AsyncIterator[None]:
        """Give a model's engine its workers. If one of them is lost, the run is ended with that as the reason.

        Raises:
            ModelFailed: One of them can't be started, or reached.
        """
        hold = Hold(model, model.spec.name, run)
        self._holds.append(hold)
        try:
            for name in sorted(model.spec.rpc):  # always in the same order, so that no two wait for each other
                worker = self._worker(model, name)
                with _named(model, name):
                    hold.parts.append((worker, await worker.acquire(hold.name)))
            hold.parts.sort(key=lambda part: model.spec.rpc.index(part[0].name))
            assert self._nursery is not None
            self._nursery.start_soon(self._sense, model, hold)
            yield
        finally:
            self._holds.remove(hold)
            hold.sensing.cancel()
            for worker, instance in hold.parts:
                worker.released(instance)

    def _worker(self, model: Model, name: str) -> Worker:
        if (worker := self.all.get(name)) is None:
            raise ModelFailed(f"model {model.spec.name}: there is no RPC worker {name!r}: add [rpc.{name}].")
        return worker

    async def _sense(self, model: Model, hold: Hold) -> None:
        """Notice the end of a hold's workers that aren't our processes, and that one hangs."""
        with hold.sensing:
            # Not before its engine has its own connection: the worker would serve ours.
            await model.until(lambda: hold.run.loaded_at is not None)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sense_hang, model, hold)
                for worker, instance in hold.parts:
                    if instance.way.shared:
                        nursery.start_soon(self._sense_one, worker, instance)

    async def _sense_one(self, worker: Worker, instance: Instance) -> None:
        try:
            await until_gone(instance.way.address)
            how = f"nothing answers at {instance.way.address} any more"
        except Exception:  # what can't be watched is lost; it must not end everything else
            log.exception("RPC worker %s: a bug in llmsup ended its watch", worker.name)
            how = "it can't be watched (a bug in llmsup: see its log)"
        worker.lost(instance, how)

    async def _sense_hang(self, model: Model, hold: Hold) -> None:
        try:
            hung, how = await until_hung(hold.run, [each for _, each in hold.parts], model.spec.hang_timeout)
        except Exception:  # it must not end everything else
            log.exception("a bug in llmsup: the RPC workers of %s aren't watched for hanging any more", hold.name)
            return
        for worker, instance in hold.parts:
            if instance is hung:
                worker.lost(instance, how)

    def _died(self, worker: Worker, instance: Instance) -> None:
        for hold in self._holds:
            if any(part is instance for _, part in hold.parts):
                who = hold.model.spec.name
                what = f"The engine of {who} was ended: its RPC worker {worker.name} died ({instance.over})."
                hold.run.end(Crashed(what, log_tail=worker.book.tail(20)))

    def user(self, instance: Instance) -> str | None:
        """The name of the model that has an instance, as it is called now; None: none has it."""
        for hold in self._holds:
            if any(part is instance for _, part in hold.parts):
                return hold.model.spec.name
        return instance.user or None

    # For engines (`engine.companions`)...

    def addresses(self, model: str) -> Mapping[str, str]:
        """See `Companions`."""
        return {instance.way.address: worker.pool for hold in self._of(model) for worker, instance in hold.parts}

    async def engine_ended(self, model: str) -> None:
        """See `Companions`."""
        for hold in self._of(model):
            for worker, instance in hold.parts:
                if instance.way.argv and not instance.over:
                    with trio.move_on_after(SHOWS):
                        await instance.until(lambda: instance.over)  # noqa: B023 -- awaited at once
                if instance.way.shared and not instance.over and not await connects(instance.way.address):
                    worker.lost(instance, f"nothing answers at {instance.way.address} any more")

    def _of(self, model: str) -> list[Hold]:
        return [hold for hold in self._holds if hold.name == model]

    # For the governor...

    def pools(self) -> Mapping[str, Pool]:
        """What models may take of each worker, as far as that is known."""
        return {each.pool: Pool(total=total) for each in self.all.values() if (total := _total(each)) is not None}

    def rooms(self) -> Mapping[str, Room]:
        """What an engine would find free on each, as if no other model were there: it is placed as it would be at best,
        and others leave for that.
        """
        return {
            each.pool: Room(each.pool, each.capacity or 0 if each.free is None else each.free)
            for each in self.all.values()
        }

    def counted(self, cost: Amounts) -> Amounts:
        """What a model of this cost leaves no room for: all of a worker that serves one engine at a time, and this
        machine's own memory where a worker computes in that.
        """
        more: dict[str, int] = {}
        for pool in cost:
            worker = self.all.get(pool.removeprefix(REMOTE)) if pool.startswith(REMOTE) else None
            if worker is None:
                continue
            if worker.shared:
                more[pool] = max(_total(worker) or 0, cost[pool]) - cost[pool]
            if worker.on_host:
                more[HOST] = more.get(HOST, 0) + cost[pool]
        return cost + Amounts(more) if more else cost


def _total(worker: Worker) -> int | None:
    return worker.capacity or (UNKNOWN if worker.shared else None)


@contextmanager
def _named(model: Model, worker: str) -> Iterator[None]:
    """Name the worker in what went wrong."""
    try:
        yield
    except ModelFailed:
        raise
    except Error as error:
        what = f"model {model.spec.name}: its RPC worker {worker} can't be used: {error.message.rstrip('.')}."
        raise ModelFailed(
            what, hint=error.hint, log_tail=error.log_tail, lasting=False, retry_after=error.retry_after
        ) from error
