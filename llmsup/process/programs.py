"""Runs a program for its output: with a time limit, a size limit, and nothing of it left running afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial

import trio

from ..errors import SetupError
from ..units import Bytes, Seconds
from .inheritance import Inheritance

MOST = Bytes(64 * 1024)
"""What is read of its output at most, unless stated otherwise."""

_TAIL = 300


class ProgramFailed(SetupError):
    """The program could not be run, failed, took too long, or printed too much.

    Attributes:
        output: What it printed, on its standard error if there was anything.
        exit_code: What it ended with, below 0 for a signal; None: it did not end by itself.
        missing: There is no such program.
    """

    def __init__(self, message: str, *, output: str = "", exit_code: int | None = None, missing: bool = False) -> None:
        super().__init__(message)
        self.output = output
        self.exit_code = exit_code
        self.missing = missing


async def run(
    argv: Sequence[str],
    *,
    name: str,
    timeout: Seconds,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    together: bool = False,
    most: Bytes = MOST,
) -> bytes:
    """Run a program; returns its standard output.

    Args:
        name: What to call it in messages.
        timeout: In seconds, for the whole run.
        env: Its environment; None: ours, without our secrets.
        cwd: Its working directory; None: ours.
        together: What it writes to its standard error belongs to its output.
        most: How many bytes it may print.

    Raises:
        ProgramFailed: It can't be run, failed, took longer, or printed more than that.
    """
    out, err = bytearray(), bytearray()
    too_long = False
    code = None

    async def read(stream: trio.abc.ReceiveStream, into: bytearray) -> None:
        nonlocal too_long
        with contextlib.suppress(trio.BrokenResourceError):
            async for chunk in stream:
                into += chunk
                if len(into) > most:
                    too_long = True
                    nursery.cancel_scope.cancel()

    async with _process(argv, name, Inheritance().environment() if env is None else env, cwd, together) as process:
        with trio.move_on_after(timeout):
            async with trio.open_nursery() as nursery:
                for stream, into in ((process.stdout, out), (process.stderr, err)):
                    if stream is not None:
                        nursery.start_soon(read, stream, into)
                code = await process.wait()
                nursery.cancel_scope.deadline = trio.current_time() + 1  # a process left behind may hold the pipe
    output = bytes(err or out).decode(errors="replace")
    if too_long:
        raise ProgramFailed(f"{name} printed more than {most // 1024} KiB.", output=output)
    if code is None:
        raise ProgramFailed(f"{name} did not end within {timeout:g} s.", output=output)
    if code:
        how = f"was ended by signal {-code}" if code < 0 else f"failed with exit code {code}"
        raise ProgramFailed(f"{name} {how}.{last_lines(output)}", output=output, exit_code=code)
    return bytes(out)


def run_now(
    argv: Sequence[str],
    *,
    name: str,
    timeout: Seconds,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    together: bool = False,
) -> str:
    """The same for a command that has nothing else to do; returns text. Arguments and errors as for `run`."""
    most = Bytes(1024 * 1024)
    call = partial(run, argv, name=name, timeout=timeout, env=env, cwd=cwd, together=together, most=most)
    return trio.run(call).decode(errors="replace")


def last_lines(output: str) -> str:
    """The last three lines of what a program printed, to be put behind a message about it; "" if there are none."""
    lines = [line.strip() for line in output.splitlines() if line.strip()][-3:]
    return f" It said: {' | '.join(lines)[-_TAIL:]}" if lines else ""


@contextlib.asynccontextmanager
async def _process(
    argv: Sequence[str], name: str, env: Mapping[str, str], cwd: str | None, together: bool
) -> AsyncIterator[trio.Process]:
    """The program in its own process group, which is killed on the way out."""
    try:
        process = await trio.lowlevel.open_process(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if together else subprocess.PIPE,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        missing = isinstance(error, FileNotFoundError)
        raise ProgramFailed(f"{name} can't be run: {why}.", missing=missing) from error
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
