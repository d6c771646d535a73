"""One run of the user's own bridge program: in its own process group, within its timeout, leaving nothing behind."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import trio
from attrs import frozen

from ..errors import SetupError
from ..process.child import run_child
from ..process.orphans import Orphans
from ..units import Seconds
from .output import Output

GRACE = Seconds(2)
"""Seconds from SIGTERM to SIGKILL, for a program that took too long."""

LAST_WORDS = Seconds(1)
"""Seconds to go on reading once it has ended: a process that it left behind may hold the pipe open for ever."""


@frozen
class ScriptExit:
    """How it ended; `exit_code`: -N for signal N, None if it took too long and was killed."""

    exit_code: int | None
    lines: tuple[str, ...]


async def run(command: Sequence[str], *, orphans: Orphans, timeout: Seconds, say: Callable[[str], None]) -> ScriptExit:
    """Run the program, and end every process that it leaves behind.

    Args:
        timeout: In seconds.
        say: Writes one line of its output to the log.

    Raises:
        SetupError: It doesn't exist, or can't be run.
    """
    _check(command[0])
    output = Output(say)
    code: int | None = None
    env = orphans.inheritance.environment()
    try:
        async with run_child(tuple(command), orphans=orphans, env=env, stop_grace=GRACE) as child:

            async def drain() -> None:
                async for piece in child.chunks():
                    output.take(piece)

            with trio.move_on_after(timeout):
                await child.end_input()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(drain)
                    code = await child.wait()
                    nursery.cancel_scope.deadline = trio.current_time() + LAST_WORDS
    except OSError as error:
        raise SetupError(f"{command[0]} can't be run: {error.strerror or error}.") from None
    return ScriptExit(code, output.end())


def _check(program: str) -> None:
    """Give each of the usual mistakes its own message; a name without a folder is looked up on PATH."""
    if "/" not in program:
        return
    path = Path(program)
    where = f"bridge.command {program!r}"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SetupError(f"{where} can't be run: {error.strerror or error}.", hint="Check the path.") from None
    if not stat.S_ISREG(mode):
        raise SetupError(f"{where} can't be run: it is not a file.", hint="Name the program in it.")
    if not os.access(path, os.X_OK):
        raise SetupError(f"{where} can't be run: it is not executable.", hint=f"chmod +x {program}")
