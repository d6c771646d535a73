"""Starts real engines: a plan, a process, a socket, and their orderly end.

It does not know what the engine is for, nor what happens to it in between.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from ..catalog.entry import Entry
from ..engines.plan import Planner
from ..process.child import run_child
from ..process.logbook import LogBook
from ..process.orphans import Orphans
from .engine import RunningEngine


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
    async def __call__(self, entry: Entry, book: LogBook) -> AsyncIterator[RunningEngine]:
        """Start the engine of a model.

        Raises:
            SetupError: The model's file or program isn't there.
            OSError: The system can't start a process.
        """
        self._started += 1  # a socket's file outlives its engine, and a name in use can't be bound: never twice
        socket = self._sockets / f"{self._started}.sock"
        spec = entry.spec
        launch = await self._planner.plan(spec, socket, entry.found, entry.engine)
        book.write(f"llmsup: starting {' '.join(launch.argv)}")
        for correction in launch.corrections:
            book.write(f"llmsup: {correction}")
        env = {**_inherited(), **launch.env, **spec.env}
        async with run_child(
            launch.argv,
            orphans=self._orphans,
            env=env,
            stop_grace=spec.stop_grace,
            farewell=launch.farewell,
        ) as child:
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
