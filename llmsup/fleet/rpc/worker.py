"""One worker of the config: its instances, what it has, and when it may be started again after something went wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from ...config.schema import RpcSpec
from ...errors import Error, SetupError
from ...memory.amounts import worker_pool
from ...process.logbook import LogBook
from ...process.orphans import Orphans
from ...process.ring import Events
from ...process.watched import Watched
from ...units import Bytes, format_seconds
from ..model.backoff import Backoff
from .command import way
from .instance import TRIED, Instance
from .reach import Asks, connects

log = logging.getLogger(__name__)

Died = Callable[["Worker", Instance], None]
"""Told of an instance that ended by itself while a model had it."""


class Worker(Watched):
    """One worker.

    Attributes:
        spec: Its table.
        book: What its processes write.
        state: stopped, starting, up or failed; `reason` says why, `since` since when (trio time).
        instances: The ways to it that there are now.
        free: What its devices had free when it was last asked without any model on it, in bytes; None: not known.
        on_host: It computes in this machine's own memory.
        restarts: How often it has died.
        retired: The config has it no more, or another of its name.
    """

    def __init__(
        self,
        spec: RpcSpec,
        nursery: trio.Nursery,
        orphans: Orphans,
        book: LogBook,
        events: Events,
        ask: Asks,
        died: Died,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.book = book
        self.state, self.reason, self.since = "stopped", "no model has wanted it yet", trio.current_time()
        self.instances: list[Instance] = []
        self.free: Bytes | None = None
        self.on_host = False
        self.restarts = 0
        self.retired = False
        self._nursery = nursery
        self._orphans = orphans
        self._events = events
        self._ask = ask
        self._died = died
        self._backoff = Backoff()
        self._one_at_a_time = trio.Lock()
        self._wanted = 0

    def __repr__(self) -> str:
        return f"<Worker {self.name} {self.state}, {len(self.instances)} instances>"

    @property
    def name(self) -> str:
        """Its name in the config."""
        return self.spec.name

    @property
    def pool(self) -> str:
        """The pool that is its memory."""
        return worker_pool(self.name)

    @property
    def shared(self) -> bool:
        """Whether all models have to share one process of it, which serves one of their engines at a time."""
        return bool(self.spec.url)

    @property
    def capacity(self) -> Bytes | None:
        """What models may have of it, in bytes: as configured, else what it had free; None: not known."""
        return self.spec.memory or self.free

    @property
    def retry_in(self) -> float:
        """Seconds until it may be started again; 0 if it may now."""
        return self._backoff.left

    @contextmanager
    def wanted(self) -> Iterator[None]:
        """A model is going to use it: meanwhile no instance is ended for being idle."""
        self._wanted += 1
        self._keep()
        try:
            yield
        finally:
            self._wanted -= 1
            self._keep()

    def _keep(self) -> None:
        for each in self.instances:
            each.keep(self._wanted > 0)

    async def answers(self) -> None:
        """Have it running, for a model that is going to use it.

        Raises:
            Error: It can't be started, or reached; the message is a clause about it.
        """
        async with self._one_at_a_time:
            ready = [each for each in self.instances if each.ready]
            if ready and not any(each.user for each in ready):
                await ready[0].look()
                self.free = self.free if ready[0].free is None else ready[0].free
            if not any(each.ready for each in self.instances):
                await self._start()

    async def acquire(self, model: str) -> Instance:
        """Give a model's engine an instance of its own, a new one if need be; `Instance.release` gives it back.

        Raises:
            Error: As for `answers`.
        """
        async with self._one_at_a_time:
            while True:
                if (found := next((each for each in self.instances if each.usable), None)) is not None:
                    if not self.shared or await connects(found.way.address):
                        break
                    found.end(f"nothing answers at {found.way.address} any more", unasked=True)
                if self.shared and self.instances:
                    await self._until_free(self.instances[0])
                else:
                    await self._start()
            found.take(model)
            self.notify()
            return found

    async def _until_free(self, instance: Instance) -> None:
        with trio.move_on_after(self.spec.start_timeout) as limit:
            await instance.until(lambda: instance.over or not instance.user)
        if limit.cancelled_caught:
            raise SetupError(f"it serves {instance.user}, and one engine at a time")

    async def _start(self) -> Instance:
        """Start an instance, ready for use."""
        if self.state == "failed" and self.retry_in:
            again = f"it is tried again in {format_seconds(round(self.retry_in, 1))}"
            raise SetupError(f"{self.reason}; {again}", log_tail=self.book.tail(20), retry_after=self.retry_in)
        with trio.move_on_after(self.retry_in):
            await trio.sleep_forever()
        beside = any(each.ready for each in self.instances)
        if not beside:
            self.become("starting", "a model wants it")
        alone = not any(each.user for each in self.instances)
        for _ in range(TRIED):
            instance = Instance(self.spec, way(self.spec), self.book, self._ask, self._over)
            instance.kept = self._wanted > 0
            self.instances.append(instance)
            try:
                await self._nursery.start(instance.run, self._orphans)
            except BaseException:
                self._forget(instance, "nobody waits for it any more")
                raise
            if instance.failure is None or not instance.port_taken:
                break
        if instance.failure is not None:
            if not beside:
                self._backoff.failed()
                self.become("failed", _clause(instance.failure))
            raise instance.failure
        self.on_host = instance.on_host
        if alone and instance.free is not None:
            self.free = instance.free
        if self.state != "up":
            self.become("up", f"it answers at {instance.way.address}")
        self.notify()
        return instance

    def _forget(self, instance: Instance, reason: str) -> None:
        if instance in self.instances:
            self.instances.remove(instance)
        if not any(each.ready for each in self.instances) and self.state != "failed":
            self.become("stopped", reason, unasked=instance.unasked)
        instance.notify()

    def _over(self, instance: Instance) -> None:
        """An instance is over: called by its own task."""
        if not instance.ready:  # `_start` says what comes of that
            self.instances.remove(instance)
            return
        if instance.unasked:
            self.restarts += 1
            if not self._backoff.crashed():
                self._backoff.failed()
                self.become("failed", f"{instance.over}, too often to be started again at once")
            if instance.user:
                self._died(self, instance)
        self._forget(instance, instance.over)

    def lost(self, instance: Instance, how: str) -> None:
        """It was noticed that an instance is gone; `how`: a clause about it."""
        instance.end(how, unasked=True)

    def retire(self) -> None:
        """End what no model uses; the rest ends when they have left it."""
        self.retired = True
        for each in tuple(self.instances):
            if not each.user:
                each.end("the config has changed")

    def released(self, instance: Instance) -> None:
        """A model's engine has left it."""
        instance.release()
        if self.retired:
            instance.end("the config has changed")
        self.notify()

    def become(self, state: str, reason: str, *, unasked: bool = False) -> None:
        """Enter a state, and tell. `unasked`: it has died."""
        level = logging.WARNING if state == "failed" or unasked else logging.INFO
        log.log(level, "RPC worker %s: %s: %s", self.name, state, reason)
        self._events.write("rpc", worker=self.name, state=state, reason=reason)
        self.state, self.reason, self.since = state, reason, trio.current_time()
        self.notify()


def _clause(error: Error) -> str:
    return error.message.rstrip(".")
