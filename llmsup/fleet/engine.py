"""A real engine: a child process, its log, its connections, and whether it answers.

It does not know when it should run, nor for whom: `model` does.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import trio

from ..config.schema import ModelSpec
from ..engines.connection import Disconnected
from ..engines.launch import Launch, UnixAddress
from ..engines.plan import Planner
from ..engines.pool import Pool, connect
from ..errors import EngineBadAnswer
from ..memory.footprints import group_footprint
from ..process.child import Child, run_child
from ..process.logbook import LogBook
from ..process.orphans import Orphans
from ..units import Bytes

FIRST_POLL = 0.01
"""Seconds between the first questions whether the engine is ready; a warm start must not wait for a tick."""

SLOWEST_POLL = 0.25
"""Seconds between the last ones; in between, a twentieth of the time it took so far."""

PATIENCE = 5.0
"""Seconds that an engine may take to answer a question about its health."""

_PROGRESS = "cmd_child_to_router:state:"


class RunningEngine:
    """The `life.Engine` that is a process."""

    def __init__(self, launch: Launch, child: Child, book: LogBook) -> None:
        self.launch = launch
        self.pid = child.pid
        self.pool = Pool(lambda: connect(launch.address))
        self.progress: float | None = None
        self._child = child
        self._book = book
        self._pumped = trio.Event()
        self._reports = 0
        self._health_status: int | None = None

    async def pump(self) -> None:
        try:
            async for line in self._child.lines():
                if self.launch.tells_progress and line.startswith(_PROGRESS):
                    self._note_progress(line.removeprefix(_PROGRESS))
                else:
                    self._book.write(line)
        finally:
            self._pumped.set()

    def _note_progress(self, line: str) -> None:
        # {"state": "loading", "payload": {"value": 0.0 ... 1.0}}: internal to llama.cpp, so anything may come.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            self.progress = float(json.loads(line)["payload"]["value"])
        self._reports += 1
        self._book.notify()

    async def ready(self) -> None:
        began = trio.current_time()
        while True:
            seen = self._signs()
            if self._child.returncode is None and await self._answers():
                return
            # Whatever it writes may be "listening", so that wakes us too, but not more often than the first poll.
            with trio.move_on_after(min(SLOWEST_POLL, max(FIRST_POLL, (trio.current_time() - began) / 20))):
                await trio.sleep(FIRST_POLL / 2)
                await self._book.until(lambda: self._signs() != seen)  # noqa: B023 -- awaited in this very turn

    def _signs(self) -> tuple[int, int]:
        return self._book.written, self._reports

    def sign_of_life(self) -> object:
        # A load that reads a file of 60 GB may be silent for minutes; its memory grows meanwhile.
        try:
            rss = psutil.Process(self.pid).memory_info().rss
        except psutil.Error:
            rss = 0
        return self._signs(), rss // 2**20

    async def healthy(self) -> bool:
        with trio.move_on_after(PATIENCE):
            return await self._answers()
        return False

    async def _answers(self) -> bool:
        """Ask once, on a connection of its own, so that nothing else can be in the way."""
        if isinstance(self.launch.address, UnixAddress) and not self.launch.address.path.exists():
            return False  # cheaper than being refused
        probe = Pool(lambda: connect(self.launch.address))
        try:
            with trio.move_on_after(PATIENCE):
                if not self.launch.health:
                    await trio.aclose_forcefully(await connect(self.launch.address))
                    return True
                answer = await probe.request("GET", self.launch.health.encode(), [], b"")
                self._health_status = answer.status
                return answer.status == 200
        except (Disconnected, EngineBadAnswer, OSError):
            return False
        finally:
            await probe.close()
        return False

    @property
    def unready_because(self) -> str:
        """What the engine last said when asked whether it is ready."""
        path = self.launch.health
        if self._health_status is None:
            return f"it never answered GET {path}" if path else "its port never answered"
        said = f"GET {path} answered {self._health_status}"
        return f'{said}: set `health` to a path that it has, or to ""' if self._health_status == 404 else said

    async def wait(self) -> int:
        code = await self._child.wait()
        with trio.move_on_after(1):  # its last words; a grandchild may hold the pipe open for ever
            await self._pumped.wait()
        return code

    async def footprint(self) -> Bytes | None:
        return await trio.to_thread.run_sync(group_footprint, self.pid)


class Starter:
    """Starts real engines; the `life.Start` of production.

    Attributes:
        planner: Turns a model into a command line.
        orphans: Told of every process group.
        sockets: A private directory, short enough for a Unix socket's path.
    """

    def __init__(self, planner: Planner, orphans: Orphans, sockets: Path) -> None:
        self._planner = planner
        self._orphans = orphans
        self._sockets = sockets
        self._started = 0

    @contextlib.asynccontextmanager
    async def __call__(self, spec: ModelSpec, book: LogBook) -> AsyncIterator[RunningEngine]:
        """Start the engine of a model.

        Raises:
            SetupError: The model's file or program isn't there.
            OSError: The system can't start a process.
        """
        self._started += 1  # a socket's file outlives its engine, and a name in use can't be bound: never twice
        socket = self._sockets / f"{self._started}.sock"
        launch = await self._planner.plan(spec, socket)
        book.write(f"llmsup: starting {' '.join(launch.argv)}")
        env = {**_inherited(), **launch.env, **spec.env}
        async with run_child(launch.argv, orphans=self._orphans, env=env, stop_grace=spec.stop_grace) as child:
            engine = RunningEngine(launch, child, book)
            try:
                yield engine
            finally:
                # A llama-server with a request in flight hangs on SIGTERM until its clients are gone.
                await engine.pool.close()
        with contextlib.suppress(OSError):
            socket.unlink()


def _inherited() -> dict[str, str]:
    """Our own environment, less what would make a llama-server listen elsewhere, serve something else, or want a
    key that we don't have. A model's own `env` may still set any of it.
    """
    ours = ("LLAMA_API_KEY", "LLAMA_ARG_API", "LLAMA_ARG_HOST", "LLAMA_ARG_PORT", "LLAMA_ARG_MODEL", "LLAMA_ARG_SSL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
