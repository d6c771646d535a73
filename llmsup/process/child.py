"""One child process in its own process group: started under the guard, its output read, reliably ended.

Everything that it started ends with it, including what left the group. Whether the program is healthy is judged in
`fleet.engine`.
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
"""Seconds between snapshots of an unfinished line: a progress bar of ten minutes takes 120 of the log's 1,000 lines."""

# The child waits for a line from us before it becomes the engine. So a group is known to the guard before the
# engine exists, and if we die in between, `read` sees the end of the pipe and no engine is ever started.
GATE = ("/bin/sh", "-c", 'read -r go && exec "$@"', "llmsup-gate")


SPAWN_PATIENCE = Seconds(5)
"""Seconds to keep trying while the system refuses to start a process."""

SWEEP = 5.0
"""Seconds to look for, and kill, processes that turn up after the group has ended."""

Found = dict[int, tuple[psutil.Process, Row]]


class Child:
    """A running child process.

    Attributes:
        pid: Also the id of its process group and session.
        argv: Its command line.
        received: How many bytes of its output `lines` has read so far.
        left: Descriptions of the processes that could not be ended with it. Known once it has ended.
    """

    def __init__(
        self,
        process: trio.Process,
        argv: tuple[str, ...],
        mark: str,
        orphans: Orphans,
    ) -> None:
        """`mark`: carried by all that it starts; `orphans`: has the processes that were seen to leave its group."""
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
        """Wait for it to end; returns the exit code, or -N for signal N."""
        return await self._process.wait()

    async def lines(self) -> AsyncGenerator[str, None]:
        """Yield its output line by line until the last writer closes it. What there is of an unfinished line (dots, a
        progress bar that is redrawn) is yielded every now and then.

        Always read this or `chunks`: an undrained pipe blocks the child at 64 KiB.
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
        """Close its standard input, so that a program that prompts for something sees the end of input."""
        await self._close(self._process.stdin)

    async def _tell(self, line: bytes) -> None:
        """Write to its standard input; a line fits into an empty pipe, so this doesn't wait for a reader."""
        assert self._process.stdin is not None
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # it ended: `wait` tells
            await self._process.stdin.send_all(line)

    async def remains(self) -> tuple[str, ...]:
        """What survives of it and its descendants, each as "4711 (llama-server)"; empty where that is unknown.

        More expensive than checking its exit code: it lists all processes of the machine.
        """
        return tuple(describe(process) for process, _ in (await self._kin() or {}).values())

    async def _stop(self, grace: Seconds, last_words: bytes) -> None:
        """TERM, TERM again at half time, KILL at the end; then KILL what else is left of the group, and what left it.

        The input is closed right after the first TERM, so that no reader waits for more. The second TERM is for
        llama-server, which takes it as "at once" (a first one waits for requests).
        """
        # Before anything ends: descent is only visible while the parents live.
        strays = [process for process, row in (await self._kin() or {}).values() if row.group != self.pid]
        for words in (last_words, b""):
            if self.returncode is None or any(map(lives, strays)):
                self._signal(signal.SIGTERM)
                tell(strays, signal.SIGTERM)
                await self._tell(words)
                await self._close(self._process.stdin)
                with trio.move_on_after(grace / 2):
                    await self._process.wait()
                    # One of them may be the real engine, so they get the grace period too. They aren't our
                    # children, so we can only poll.
                    while any(map(lives, strays)):  # noqa: ASYNC110 -- they are not our children: nothing tells us
                        await trio.sleep(0.01)
        # The leader is gone or refuses to go. Grandchildren get no second chance: they had their SIGTERM.
        self._signal(signal.SIGKILL)
        tell(strays, signal.SIGKILL)
        await self._process.wait()
        with trio.move_on_after(2):  # an init that is slow to reap must not hold us up
            while alive(self.pid):  # no longer our children, or adopted: we can only poll
                reap(-self.pid)
                await trio.sleep(0.005)
        await self._sweep({process.pid: process for process in strays})

    async def _sweep(self, killed: dict[int, psutil.Process]) -> None:
        """Kill the survivors, wherever they have gone, and record those that can't be killed.

        `killed`: those that were already killed. They may be ours to reap and may take a moment to die; with their
        parents gone, nothing else shows where they came from.
        """
        found: Found | None = None
        with trio.move_on_after(SWEEP):
            while True:
                await self._orphans.look()  # whatever lost its parent just now has been adopted by us
                found = await self._kin()
                if found == {} and not any(map(lives, killed.values())):
                    break
                there = {pid: process for pid, (process, _) in (found or {}).items()}
                tell(there.values(), signal.SIGKILL)
                killed |= there
                await trio.sleep(0.02)
        for pid in killed:
            reap(pid)
        self.left = tuple(describe(process) for process in killed.values() if lives(process))
        if found is None:
            self.left += ("what else it may have started, which can't be looked for now",)
        doubtful = map(describe, self._orphans.doubtful(self.pid))
        self.left += tuple(f"{who}, unless another engine started it" for who in doubtful)

    async def _kin(self) -> Found | None:
        """Its living descendants; None where they can't be listed right now."""
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

    Its standard error goes where its standard output goes. Its standard input stays open, and empty, while we live, so
    programs that end when it closes end with us.

    Args:
        argv: The command line; argv[0] is looked up on PATH.
        orphans: Learns of the group before the program starts.
        env: The program's whole environment except for its mark (`Inheritance.environment`).
        stop_grace: Seconds from the first SIGTERM to SIGKILL, on the way out.
        farewell: Written to its standard input right after SIGTERM, before that is closed.

    Raises:
        SetupError: There is no such program.
        OutOfResources: The system has no process or file descriptor for us at the moment.
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
        last_words = farewell  # not earlier: a line is what the gate waits for
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
