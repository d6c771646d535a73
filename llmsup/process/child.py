"""One child process in a group of its own: started under guard, its output read, ended for certain.

All that came of it ends with it, also what left the group.

It does not know what runs in it, nor whether that is any use: see `fleet`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from functools import partial
from math import inf

import psutil
import trio

from ..errors import SetupError
from ..units import Seconds
from .guard import alive
from .kin import Row, describe, find, lives, reap, tell
from .lines import Lines
from .marks import mark_limit
from .orphans import Orphans
from .shortage import insist, note

log = logging.getLogger(__name__)

UNFINISHED_EVERY = 5.0
"""Seconds between lines that tell how far an unfinished one is: a bar of ten minutes leaves 120 of the book's 1,000."""

# The child waits for a line from us before it becomes the engine. So a group is known to the guard before the
# engine exists, and if we die in between, `read` sees the end of the pipe and there never is an engine.
GATE = ("/bin/sh", "-c", 'read -r go && exec "$@"', "llmsup-gate")


SPAWN_PATIENCE = Seconds(5)
"""How long it is tried to start a process while the system lets us start none."""

SWEEP = 5.0
"""Seconds for which those are looked for and killed that turn up after the end of the group."""

Found = dict[int, tuple[psutil.Process, Row]]


class Child:
    """A running child process.

    Attributes:
        pid: Also the id of its process group and session.
        argv: Its command line.
        received: How many bytes of its output `lines` has read so far.
        left: What could not be ended with it, for people. Known at its end.
    """

    def __init__(
        self,
        process: trio.Process,
        argv: tuple[str, ...],
        mark: str,
        orphans: Orphans,
    ) -> None:
        """`mark`: what all that it starts is marked with; `orphans`: knows those that were seen to leave it."""
        self.pid = process.pid
        self.argv = argv
        self.received = 0
        self.left: tuple[str, ...] = ()
        self._process = process
        self._mark = mark
        self._orphans = orphans

    def __repr__(self) -> str:
        code = self.returncode
        return f"<Child {self.argv[0]} pid {self.pid}, {'running' if code is None else describe_exit(code)}>"

    @property
    def returncode(self) -> int | None:
        """The exit code, -N for signal N, or None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for its end; returns the exit code, or -N for signal N."""
        return await self._process.wait()

    async def lines(self) -> AsyncGenerator[str, None]:
        """Yield its output line by line until the last writer closes it; of a line that doesn't end (dots, a bar that
        is drawn anew) every now and then what there is of it. Somebody must always read this (or `chunks`): a pipe
        that nobody drains stops the child at 64 KiB.
        """
        assert self._process.stdout is not None
        lines, told = Lines(), trio.current_time()
        with contextlib.suppress(trio.ClosedResourceError):
            while True:
                chunk: bytes | bytearray | None = None
                with trio.move_on_at(told + UNFINISHED_EVERY if lines.pending else inf):
                    chunk = await self._process.stdout.receive_some()
                if chunk:
                    self.received += len(chunk)
                    for line in lines.feed(bytes(chunk)):
                        yield line
                if chunk == b"":
                    break
                if not lines.pending:
                    told = trio.current_time()
                elif trio.current_time() >= told + UNFINISHED_EVERY:
                    told = trio.current_time()
                    yield lines.unfinished()
        for line in lines.close():
            yield line

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield its output as it comes, until the last writer closes it."""
        assert self._process.stdout is not None
        with contextlib.suppress(trio.ClosedResourceError):
            async for chunk in self._process.stdout:
                yield bytes(chunk)

    async def end_input(self) -> None:
        """Close its standard input: a program that asks something is told that nobody answers."""
        await self._close(self._process.stdin)

    async def _tell(self, line: bytes) -> None:
        """Write to its standard input: a line fits into any pipe, so this doesn't wait for a reader."""
        assert self._process.stdin is not None
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # nobody reads: `wait` tells
            await self._process.stdin.send_all(line)

    async def remains(self) -> tuple[str, ...]:
        """Who is left of it, or of what it started, each as "4711 (llama-server)"; where that can't be told, nobody.
        Dearer than a look at its exit code: all processes are looked at.
        """
        return tuple(describe(process) for process, _ in (await self._kin() or {}).values())

    async def _stop(self, grace: Seconds, last_words: bytes) -> None:
        """TERM, TERM again at half time, KILL at the end; then KILL whatever else is left of the group, and whoever
        left it.

        The input ends right after the first TERM: whoever still reads it must not wait for more. The second TERM is
        for llama-server, which takes it as "at once" (a first one waits for requests).
        """
        # Before anybody ends: descent is only seen while the parents live.
        strays = [process for process, row in (await self._kin() or {}).values() if row.group != self.pid]
        for words in (last_words, b""):
            if self.returncode is None or any(map(lives, strays)):
                self._signal(signal.SIGTERM)
                tell(strays, signal.SIGTERM)
                await self._tell(words)
                await self._close(self._process.stdin)
                with trio.move_on_after(grace / 2):
                    await self._process.wait()
                    # They may be what the engine really is, so they have their time. Not our children: only the clock.
                    while any(map(lives, strays)):  # noqa: ASYNC110
                        await trio.sleep(0.01)
        # The leader is gone or won't go. Grandchildren get no second question: they had their SIGTERM.
        self._signal(signal.SIGKILL)
        tell(strays, signal.SIGKILL)
        await self._process.wait()
        with trio.move_on_after(2):  # an init that is slow to reap must not hold us up
            while alive(self.pid):  # not our children any more, or adopted ones: there is only the clock
                reap(-self.pid)
                await trio.sleep(0.005)
        await self._sweep({process.pid: process for process in strays})

    async def _sweep(self, killed: dict[int, psutil.Process]) -> None:
        """End whoever is still there, however far it went; take note of those who can't be ended.

        `killed`: those that were killed already. They may be ours to reap, and may need a moment to die: with their
        parents gone nothing else tells whose they were.
        """
        found: Found | None = None
        with trio.move_on_after(SWEEP):
            while True:
                await self._orphans.look()  # whose parents have ended just now is ours by now
                found = await self._kin()
                if found == {} and not any(map(lives, killed.values())):
                    break
                there = {pid: process for pid, (process, _) in (found or {}).items()}
                tell(there.values(), signal.SIGKILL)
                killed |= there
                await trio.sleep(0.02)
        for pid in killed:
            reap(pid)
        if found is None:
            self.left = ("what it may have started, which can't be looked for now",)
            return
        self.left = tuple(describe(process) for process in killed.values() if lives(process))
        doubtful = map(describe, self._orphans.doubtful(self.pid))
        self.left += tuple(f"{who}, unless another engine started it" for who in doubtful)

    async def _kin(self) -> Found | None:
        """Those that belong to it and live; None where that can't be told now."""
        look = partial(find, (self.pid,), mark=self._mark, known=self._orphans.strays(self.pid))
        try:
            return await trio.to_thread.run_sync(look, abandon_on_cancel=True)
        except (OSError, RuntimeError) as error:
            note(error, f"look for what {self.argv[0]} started")
            return None

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.pid, number)

    async def _close(self, pipe: trio.abc.AsyncResource | None) -> None:
        if pipe is not None:
            await trio.aclose_forcefully(pipe)


@contextlib.asynccontextmanager
async def run_child(
    argv: tuple[str, ...],
    *,
    orphans: Orphans,
    env: Mapping[str, str],
    stop_grace: Seconds,
    farewell: bytes = b"",
) -> AsyncIterator[Child]:
    """Start a program in a process group of its own, and end that whole group on the way out.

    Its standard error goes where its standard output goes. Its standard input stays open, and empty, for as long
    as we live: programs that end when it closes end with us.

    Args:
        argv: The command line; argv[0] is looked up on PATH.
        orphans: Told of the group before the program starts.
        env: The whole environment of the program, but for its mark (`Inheritance.environment`).
        stop_grace: Seconds from the first SIGTERM to SIGKILL, on the way out.
        farewell: Written to its standard input right after SIGTERM, before that ends.

    Raises:
        SetupError: There is no such program.
        OutOfResources: The system doesn't let us start a process now.
        OSError: It can't be started.
    """
    program = shutil.which(argv[0], path=env.get("PATH"))
    if program is None:
        raise SetupError(
            f"{argv[0]!r} can't be run: there is no such program.",
            hint="Check the path, or install it on PATH.",
        )
    mark = orphans.inheritance.mark()
    start = partial(
        trio.lowlevel.open_process,
        [*GATE, program, *argv[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=orphans.inheritance.marked(env, mark),
    )
    process = await insist(start, f"start {argv[0]}", patience=SPAWN_PATIENCE)
    child = Child(process, argv, mark, orphans)
    last_words = b""
    try:
        await orphans.add(child.pid, mark)
        mark_limit(child.pid, mark)
        await child._tell(b"\n")
        last_words = farewell  # not before: a line is what the gate waits for
        yield child
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + stop_grace + SWEEP + 10):
            await child._stop(stop_grace, last_words)
            await child._close(process.stdin)
            await child._close(process.stdout)
            await orphans.remove(child.pid)
        if child.returncode is None:
            child.left = (*child.left, str(child.pid))
        if child.left:
            log.error("%s was ended, but not %s", child.argv[0], ", ".join(child.left))


def describe_exit(code: int) -> str:
    """Say how a process ended: "exited with code 1", "was killed by SIGKILL"."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
