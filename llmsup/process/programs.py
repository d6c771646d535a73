"""Runs a program for its output: with a time limit, a size limit, and nothing of it left running afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence

import trio

from ..errors import SetupError
from ..units import Seconds
from .inheritance import Inheritance

MOST = 64 * 1024
"""Bytes of output that are read at most."""

_TAIL = 300


async def run(argv: Sequence[str], *, name: str, timeout: Seconds, inheritance: Inheritance | None = None) -> bytes:
    """Run a program; returns its standard output.

    Args:
        name: What to call it in messages.
        timeout: In seconds, for the whole run.
        inheritance: Builds its environment; None: ours, without our secrets.

    Raises:
        SetupError: It can't be run, failed, took longer, or printed more than 64 KiB.
    """
    out, err = bytearray(), bytearray()
    too_long = False
    code = None

    async def read(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
        nonlocal too_long
        with contextlib.suppress(trio.BrokenResourceError):
            async for chunk in stream:
                into += chunk
                if len(into) > MOST:
                    too_long = True
                    nursery.cancel_scope.cancel()

    async with _process(argv, name, (inheritance or Inheritance()).environment()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        with trio.move_on_after(timeout):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(read, process.stdout, out)
                nursery.start_soon(read, process.stderr, err)
                code = await process.wait()
                nursery.cancel_scope.deadline = trio.current_time() + 1  # a process left behind may hold the pipe
    if too_long:
        raise SetupError(f"{name} printed more than {MOST // 1024} KiB.")
    if code is None:
        raise SetupError(f"{name} did not end within {timeout:g} s.")
    if code:
        how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
        said = " | ".join(bytes(err or out).decode(errors="replace").split("\n")).strip(" |")[-_TAIL:]
        raise SetupError(f"{name} {how}.{f' It said: {said}' if said else ''}")
    return bytes(out)


@contextlib.asynccontextmanager
async def _process(argv: Sequence[str], name: str, env: Mapping[str, str]) -> AsyncIterator[trio.Process]:
    """The program in its own process group, which is killed on the way out."""
    try:
        process = await trio.lowlevel.open_process(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        raise SetupError(f"{name} can't be run: {getattr(error, 'strerror', None) or error}.") from error
    try:
        yield process
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 2):
            await process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                await trio.aclose_forcefully(pipe)
