"""Starts real engines, each a process with a socket, and ends them cleanly."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import trio

from ...catalog.entry import Entry
from ...engines.launch import Launch
from ...engines.pool import ConnectionPool
from ...engines.selector import EngineSelector
from ...memory.cost.estimate import estimate
from ...process.child import run_child
from ...process.logbook import LogBook
from ...process.orphans import Orphans
from ...process.sockets import SocketDirectory
from ...prompt_cache.cache import PromptCache
from ...prompt_cache.keeper import Keeper
from ...prompt_cache.slots import Slots
from ...prompt_cache.tended import Started
from .companions import Companions, NoCompanions
from .process_engine import Devices, RunningEngine, no_devices, no_names

ELSEWHERE = (
    "LLAMA_API_KEY",
    "LLAMA_ARG_API",
    "LLAMA_ARG_HOST",
    "LLAMA_ARG_PORT",
    "LLAMA_ARG_MODEL",
    "LLAMA_ARG_SSL",
    "VLLM_API_KEY",
)
"""Prefixes of environment variables that are not inherited, because they would make an engine listen elsewhere, serve
something else, or want a key that we don't have. A model's own `env` may still set them.
"""

LOOK_BEHIND = 2.0
"""Seconds for finding out what an engine has left behind."""


class Starter:
    """Starts real engines; the `model.run.Start` of production.

    Attributes:
        selector: Turns a model into a command line.
        orphans: The guard, which must know of every process group.
        sockets: A private directory, short enough for a Unix socket's path.
        devices: Returns what an engine uses of devices with their own memory.
        prompts: Keeps conversations while their models are unloaded; None: nobody does.
        names: Returns which memory the devices of a model's engine have, by its names for them.
        companions: The RPC workers that models have; None: there are none.
    """

    def __init__(
        self,
        selector: EngineSelector,
        orphans: Orphans,
        sockets: SocketDirectory,
        devices: Devices = no_devices,
        prompts: PromptCache | None = None,
        names: Callable[[Entry], Awaitable[Mapping[str, str] | None]] = no_names,
        companions: Companions | None = None,
    ) -> None:
        self._selector = selector
        self._orphans = orphans
        self._sockets = sockets
        self._devices = devices
        self._prompts = prompts
        self._names = names
        self._companions = companions or NoCompanions()
        self._started = 0

    @contextlib.asynccontextmanager
    async def __call__(self, entry: Entry, book: LogBook) -> AsyncIterator[RunningEngine]:
        """Start the engine of a model.

        Raises:
            SetupError: The model's file or program isn't there.
            OutOfResources: The system can't give us another process now.
            OSError: It can't be started.
        """
        self._started += 1  # a new name each time: a socket's file outlives its engine, and can't be bound again
        socket = await self._sockets.ready(self._orphans.use) / f"{self._started}.sock"
        room = await self._prompts.room(entry) if self._prompts is not None else None
        try:
            async with self._run(entry, book, socket, room) as engine:
                yield engine
        finally:
            if room is not None and self._prompts is not None:
                await self._prompts.leave(room)

    @contextlib.asynccontextmanager
    async def _run(self, entry: Entry, book: LogBook, socket: Path, room: Path | None) -> AsyncIterator[RunningEngine]:
        """`room`: where the engine may write what its slots hold."""
        spec = entry.spec
        workers = self._companions.addresses(entry.name)
        launch = await self._selector.plan(spec, socket, entry.found, entry.engine, room, tuple(workers))
        book.write(f"llmsup: starting {' '.join(launch.argv)}")
        for correction in launch.corrections:
            book.write(f"llmsup: {correction}")
        env = {**self._orphans.inheritance.environment(without=ELSEWHERE), **launch.env, **spec.env}
        engine: RunningEngine | None = None
        keeps = await self._keeps(entry, launch, env)
        pools = await self._names(entry) or {}
        try:
            async with run_child(
                launch.argv,
                orphans=self._orphans,
                env=env,
                stop_grace=spec.stop_grace,
                farewell=launch.farewell,
            ) as child:
                ended = partial(self._companions.engine_ended, entry.name) if workers else None
                engine = RunningEngine(launch, child, book, self._devices, keeps, workers, ended)
                engine.meter.pools = pools
                try:
                    yield engine
                finally:
                    # A llama-server with a request in flight hangs on SIGTERM until its clients are gone.
                    await engine.pool.close()
        finally:
            if engine is not None:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + LOOK_BEHIND):
                    await engine.look_behind()
                for left in engine.left:
                    book.write(f"llmsup: could not be ended: {left}")
            with contextlib.suppress(OSError):
                socket.unlink()  # noqa: ASYNC240 -- a name in memory

    async def _keeps(
        self, entry: Entry, launch: Launch, env: Mapping[str, str]
    ) -> Callable[[ConnectionPool], Keeper | None]:
        """What makes the keeper of an engine's conversations, once there are connections to it."""
        prompts, room = self._prompts, launch.slots
        if prompts is None or room is None:
            if prompts is not None and launch.no_slots:
                prompts.of(entry.name).unable = launch.no_slots
            return lambda _pool: None
        build = await trio.to_thread.run_sync(self._selector.build_id, entry)
        estimated = estimate(entry.spec, entry.found, self._selector.kinds)
        started = Started(
            model=entry.name,
            argv=launch.argv,
            env=env,
            build=build,
            room=room,
            token_bytes=estimated.kv / estimated.context.n_ctx if estimated and estimated.context.n_ctx else 0,
            unified=estimated is None or estimated.context.unified,
        )
        return lambda pool: Keeper(prompts, started, Slots(pool))
