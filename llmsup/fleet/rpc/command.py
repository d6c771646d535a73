"""How a worker of the config is come by: a command line, and the address where engines find it.

RPC has no authentication, so an address is always on this machine's loopback; what is elsewhere is reached through ssh.
"""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable

from attrs import frozen

from ...config.checks import parse_listen
from ...config.rpc import beyond_loopback
from ...config.schema import RpcSpec
from ...engines.ports import LOOPBACK, free_port
from ...errors import SetupError

SSH = (
    *("ssh", "-o", "BatchMode=yes", "-o", "ExitOnForwardFailure=yes", "-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-o", "ControlPath=none"),
)
"""It asks nobody for a password, ends if it can't tunnel, and notices within 15 s (three intervals) that the other side
is gone. It shares no connection of the user's, whose process the tunnel would then belong to."""

_THERE = (20000, 32000)
"""Ports for workers on other machines; above 32767 Linux hands them to outgoing connections."""


@frozen
class Way:
    """The way to a worker.

    Attributes:
        argv: What to run: the worker itself, or an ssh that leads to it; () if it runs already, on this machine.
        address: Where engines find it: HOST:PORT, on the loopback.
        ssh: It leads to another machine.
        shared: It serves a single engine at a time, and llmsup can't start another beside it.
    """

    argv: tuple[str, ...]
    address: str
    ssh: bool = False
    shared: bool = False


def _any_port() -> int:
    return random.randint(*_THERE)  # noqa: S311 -- no secret: only so that two don't pick the same


def way(spec: RpcSpec, port: Callable[[], int] = free_port, there: Callable[[], int] = _any_port) -> Way:
    """Return the way to a worker, with new ports each time.

    Args:
        port: Picks a port of this machine's loopback.
        there: Picks one on the machine that ssh leads to.

    Raises:
        SetupError: It could be reached from other machines without ssh.
    """
    if problem := beyond_loopback(spec):
        raise SetupError(f"RPC worker {spec.name}: {problem}.")
    if not spec.ssh:
        if spec.url:
            return Way((), spec.url, shared=True)
        number = port()
        return Way(_filled(spec.command, number), f"{LOOPBACK}:{number}")
    here = f"{LOOPBACK}:{port()}"
    if spec.url:
        host, number = parse_listen(spec.url)
        tunnel = f"{here}:{f'[{host}]' if ':' in host else host}:{number}"
        return Way((*SSH, "-N", "-L", tunnel, *spec.ssh), here, ssh=True, shared=True)
    number = there()
    # With a terminal (-tt) the worker there gets a SIGHUP when this end goes, however it goes; else it would stay.
    command = shlex.join(_filled(spec.command, number))
    return Way((*SSH, "-tt", "-L", f"{here}:{LOOPBACK}:{number}", *spec.ssh, command), here, ssh=True)


def _filled(command: tuple[str, ...], port: int) -> tuple[str, ...]:
    return tuple(word.replace("${PORT}", str(port)) for word in command)
