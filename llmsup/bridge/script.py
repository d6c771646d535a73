"""One run of the user's own bridge: a child in a group of its own, that ends in time and leaves nobody behind.

It does not know when it runs, nor what it should do.
"""

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
"""From SIGTERM to SIGKILL, for one that took too long."""

LAST_WORDS = Seconds(1)
"""How long its output is read once it has ended: somebody that it left behind may hold the pipe for ever."""


@frozen
class Ended:
    """How it went; `exit_code`: -N for signal N, None if it took too long and was ended."""

    exit_code: int | None
    lines: tuple[str, ...]


async def run(command: Sequence[str], *, orphans: Orphans, timeout: Seconds, say: Callable[[str], None]) -> Ended:
    """Run it, and end all that it leaves behind.

    Args:
        timeout: In seconds.
        say: Writes one line of its output to the log.

    Raises:
        SetupError: It is not there, or can't be run.
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
    return Ended(code, output.end())


def _check(program: str) -> None:
    """Tell the usual mistakes apart; a name without a folder is looked for on PATH."""
    if "/" not in program:
        return
    path = Path(program)
    where = f"bridge.command {program!r}"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise SetupError(f"{where} can't be run: {error.strerror or error}.", hint="Check the path.") from None
    if not stat.S_ISREG(mode):
        raise SetupError(f"{where} can't be run: it is no file.", hint="Name the program in it.")
    if not os.access(path, os.X_OK):
        raise SetupError(f"{where} can't be run: it is not executable.", hint=f"chmod +x {program}")
