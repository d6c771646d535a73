"""One child process in a group of its own: started under guard, its output read, ended for certain.

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
from math import inf

import trio

from ..errors import SetupError
from ..units import Seconds
from .guard import alive
from .lines import Lines
from .orphans import Orphans

log = logging.getLogger(__name__)

UNFINISHED_EVERY = 5.0
"""Seconds between lines that tell how far an unfinished one is: a bar of ten minutes leaves 120 of the book's 1,000."""

# The child waits for a line from us before it becomes the engine. So a group is known to the guard before the
# engine exists, and if we die in between, `read` sees the end of the pipe and there never is an engine.
GATE = ("/bin/sh", "-c", 'read -r go && exec "$@"', "llmsup-gate")


class Child:
    """A running child process.

    Attributes:
        pid: Also the id of its process group and session.
        argv: Its command line.
        received: How many bytes of its output `lines` has read so far.
    """

    def __init__(self, process: trio.Process, argv: tuple[str, ...]) -> None:
        self.pid = process.pid
        self.argv = argv
        self.received = 0
        self._process = process

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

    async def _stop(self, grace: Seconds, last_words: bytes) -> None:
        """TERM, TERM again at half time, KILL at the end; then KILL whatever else is left of the group.

        The input ends right after the first TERM: whoever still reads it must not wait for more. The second TERM is
        for llama-server, which takes it as "at once" (a first one waits for requests).
        """
        for words in (last_words, b""):
            if self.returncode is None:
                self._signal(signal.SIGTERM)
                await self._tell(words)
                await self._close(self._process.stdin)
                with trio.move_on_after(grace / 2):
                    await self._process.wait()
        # The leader is gone or won't go. Grandchildren get no second question: they had their SIGTERM.
        self._signal(signal.SIGKILL)
        await self._process.wait()
        with trio.move_on_after(2):  # an init that is slow to reap must not hold us up
            while alive(self.pid):  # noqa: ASYNC110 -- not our children any more: there is only the clock
                await trio.sleep(0.005)

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
        env: The whole environment of the program.
        stop_grace: Seconds from the first SIGTERM to SIGKILL, on the way out.
        farewell: Written to its standard input right after SIGTERM, before that ends.

    Raises:
        SetupError: There is no such program.
        OSError: The system can't start a process.
    """
    program = shutil.which(argv[0], path=env.get("PATH"))
    if program is None:
        raise SetupError(
            f"{argv[0]!r} can't be run: there is no such program.",
            hint="Check the path, or install it on PATH.",
        )
    process = await trio.lowlevel.open_process(
        [*GATE, program, *argv[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=env,
    )
    child = Child(process, argv)
    last_words = b""
    try:
        await orphans.add(child.pid)
        await child._tell(b"\n")
        last_words = farewell  # not before: a line is what the gate waits for
        yield child
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + stop_grace + 10):
            await child._stop(stop_grace, last_words)
            await child._close(process.stdin)
            await child._close(process.stdout)
            await orphans.remove(child.pid)
        if child.returncode is None:
            log.error("process %d did not end, not even by SIGKILL", child.pid)


def describe_exit(code: int) -> str:
    """Say how a process ended: "exited with code 1", "was killed by SIGKILL"."""
    if code >= 0:
        return f"exited with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
