"""One way to a worker that is in use or ready for it: a process of ours, a tunnel, or an address where one runs anyway.

A worker serves one engine at a time, so each has its own: a model's engine gets an instance for itself. Which, and when
a new one is started, is up to `worker`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from contextlib import suppress

import trio

from ...config.schema import RpcSpec
from ...engines import ports
from ...engines.devices import Device
from ...errors import Error, SetupError
from ...process.child import Child, describe_exit, run_child
from ...process.logbook import LogBook
from ...process.orphans import Orphans
from ...process.shortage import explain, is_ours
from ...process.watched import Watched
from ...units import Bytes, format_seconds
from .command import Way
from .reach import Asks, address_of, connects, listens_beyond_loopback

log = logging.getLogger(__name__)

FIRST_POLL, SLOWEST_POLL = 0.02, 0.5
"""Seconds between two looks whether it answers."""

LAST_WORDS = 0.2
"""Seconds to wait for what a worker that has ended had to say; something that it started may hold the pipe open."""

_NOISE = ("Accepted client connection", "Client connection closed")
"""What a worker writes about each connection; an engine makes hundreds while it loads."""

_ON_HOST = re.compile(r"\s*CPU: ")
"""How a worker lists its devices when it starts; a CPU's memory is its machine's."""

_SOCKET = re.compile(r"socket|bind|address", re.IGNORECASE)
"""What a worker on another machine may say of a port that is taken there."""

TRIED = 3
"""How often a port is picked if others take it."""


class Instance(Watched):
    """One way to a worker.

    Attributes:
        way: How it is come by.
        pid: Of our process; None if there is none.
        ready: An engine may use it.
        user: The name of the model whose engine has it; "" for none.
        kept: A model waits that is going to use it, so that it isn't ended for being idle.
        idle_since: When it was last used (trio time).
        devices: What it has, as told when it was idle; None if nobody could ask.
        on_host: It computes in this machine's own memory.
        failure: Why it never became ready.
        over: Why it is over, a clause; "" while it isn't.
        unasked: It ended by itself.
    """

    def __init__(self, spec: RpcSpec, way: Way, book: LogBook, ask: Asks, gone: Callable[[Instance], None]) -> None:
        """`gone` is told at once when it is over, though its process may take a moment to end."""
        super().__init__()
        self._gone = gone
        self.spec = spec
        self.way = way
        self.pid: int | None = None
        self.ready = False
        self.user = ""
        self.kept = False
        self.idle_since = trio.current_time()
        self.devices: tuple[Device, ...] | None = None
        self.on_host = False
        self.failure: Error | None = None
        self.over = ""
        self.unasked = False
        self._book = book
        self._ask = ask
        self._tail: list[str] = []
        self._pumped = trio.Event()

    def __repr__(self) -> str:
        who = f"for {self.user}" if self.user else "idle"
        return f"<Instance {self.spec.name} at {self.way.address}, {self.over or who}>"

    @property
    def usable(self) -> bool:
        """Whether an engine may be given it now."""
        return self.ready and not self.over and not self.user

    @property
    def free(self) -> Bytes | None:
        """What its devices had free, in bytes; None if that isn't known."""
        known = [each.free for each in self.devices or () if each.free is not None]
        return Bytes(sum(known)) if known else None

    @property
    def port_taken(self) -> bool:
        """Whether it failed to start because another program took its port."""
        said = tuple(self._tail)
        if not self.way.argv:
            return False
        return ports.taken(address_of(self.way.address), said) or (self.way.ssh and any(map(_SOCKET.search, said)))

    async def look(self) -> None:
        """Ask it anew what it has, while nobody uses it; it is over if it doesn't say."""
        devices = await self._ask(self.way.address)
        if devices == () or not await connects(self.way.address):
            self.end("it doesn't answer any more", unasked=True)
        else:
            self.devices = devices

    def take(self, model: str) -> None:
        """Give it to a model's engine."""
        self.user = model
        self.notify()

    def release(self) -> None:
        """The engine is gone."""
        self.user, self.idle_since = "", trio.current_time()
        self.notify()

    def keep(self, kept: bool) -> None:
        """Whether a model waits that is going to use it."""
        self.kept, self.idle_since = kept, trio.current_time()
        self.notify()

    def end(self, reason: str, *, unasked: bool = False) -> None:
        """Have it ended. Only the first reason counts."""
        if not self.over:
            self.over, self.unasked = reason, unasked
            self._gone(self)
        self.notify()

    async def run(self, orphans: Orphans, *, task_status: trio.TaskStatus[None]) -> None:
        """Start it, and keep it until it is over. Started when it is ready or has failed (`failure`); never raises."""
        try:
            if self.way.argv:
                await self._run(orphans, task_status)
            else:
                self.failure = await self._until_ready(None)
                if self.failure is None:
                    self._now_ready(task_status)
                    await self.until(lambda: self.over)
        except Error as error:
            self.failure = error
        except OSError as error:
            what = f"start RPC worker {self.spec.name}"
            self.failure = explain(error, what) if is_ours(error) else SetupError(f"it can't be started: {error}")
        except Exception as error:  # one worker's trouble must not end everything else
            log.exception("RPC worker %s: a bug in llmsup ended its watch", self.spec.name)
            self.failure = SetupError(f"a bug in llmsup ended its watch: {error!r} (see its log)")
            self.end("it can't be watched (a bug in llmsup: see its log)", unasked=True)
        self.end("it could not be started")
        if not self.ready:
            task_status.started()

    async def _run(self, orphans: Orphans, task_status: trio.TaskStatus[None]) -> None:
        env = orphans.inheritance.environment()
        self._book.write(f"llmsup: starting {' '.join(self.way.argv)}")
        async with run_child(self.way.argv, orphans=orphans, env=env, stop_grace=self.spec.stop_grace) as child:
            self.pid = child.pid
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, child)
                nursery.start_soon(self._watch, child)
                self.failure = await self._until_ready(child)
                if self.failure is None and self.over:
                    self.failure = self._failed(f"{self.over} as soon as it had answered")
                if self.failure is None:
                    self._now_ready(task_status)
                    await self._until_over()
                nursery.cancel_scope.cancel()

    def _now_ready(self, task_status: trio.TaskStatus[None]) -> None:
        self.ready, self.idle_since = True, trio.current_time()
        self.notify()
        task_status.started()

    async def _pump(self, child: Child) -> None:
        try:
            async for line in child.lines():
                if line.strip() in _NOISE:
                    continue
                self.on_host = self.on_host or (not self.way.ssh and _ON_HOST.match(line) is not None)
                self._tail = [*self._tail[-19:], line]
                self._book.write(line)
        finally:
            self._pumped.set()

    async def _watch(self, child: Child) -> None:
        code = await child.wait()
        with trio.move_on_after(LAST_WORDS):
            await self._pumped.wait()
        self.end(f"it {describe_exit(code)}", unasked=True)

    async def _until_over(self) -> None:
        while not self.over:
            if self.user or self.kept:
                await self.change()
                continue
            with trio.move_on_at(self.idle_since + self.spec.ttl):
                await self.change()
                continue
            self.end(f"no model has used it for {format_seconds(self.spec.ttl)} (its ttl)")

    async def _until_ready(self, child: Child | None) -> Error | None:
        """Wait until it answers; returns why it doesn't."""
        silent, poll = 0, FIRST_POLL
        with trio.move_on_after(self.spec.start_timeout):
            while True:
                if child is not None and self.over:
                    return self._failed(f"{self.over} before it answered")
                if await connects(self.way.address):
                    if child is not None and (place := await self._exposed(child)):
                        hint = "RPC has no authentication: have it listen on 127.0.0.1 (-H 127.0.0.1)."
                        return SetupError(f"it listens on {place}, where other machines could use it", hint=hint)
                    self.devices = await self._ask(self.way.address)
                    if self.devices != ():
                        return None
                    silent += 1
                    if silent >= TRIED and not self.way.ssh:
                        return self._failed(
                            f"it tells llama-server at {self.way.address} of no device: it may be of another version "
                            "of llama.cpp than llama-server, or busy with another engine, as it serves one at a time"
                        )
                elif child is None:
                    return self._failed(f"nothing answers at {self.way.address}")
                with trio.move_on_after(poll):
                    await self.until(lambda: self.over)
                poll = min(poll * 1.5, SLOWEST_POLL)
        return self._failed(f"it did not answer within {format_seconds(self.spec.start_timeout)} (start_timeout)")

    async def _exposed(self, child: Child) -> str:
        """Where a worker of this machine could be reached from others."""
        if self.way.ssh:
            return ""
        with suppress(OSError, RuntimeError):
            return await listens_beyond_loopback(child.pid)
        return ""

    def _failed(self, why: str) -> Error:
        return SetupError(why, log_tail=tuple(self._tail))
