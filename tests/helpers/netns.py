"""A network namespace, sockets in it, and what a command that shall run in it begins with.

It has no name outside, and lives as long as its holder (`netns_holder`), which lives as long as we do: there is nothing
to clear away after a crash. Without root a user namespace is made round it, where the system lets one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

PATIENCE = 120
"""Seconds after which a test counts as hung. Generous: it says nothing about speed."""

_HOLDER = Path(__file__).parent / "netns_holder.py"


class Namespace:
    """A network namespace."""

    def __init__(self, within: Namespace | None) -> None:
        """`within`: one whose user namespace it shall be in; None: it is the first."""
        rootless = os.geteuid() != 0
        enter = [] if within is None else within.entering("--user") if rootless else []
        make = ["unshare", "--net", *(("--user", "--map-root-user") if rootless and within is None else ())]
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._rootless = rootless
        with theirs:
            words = [*enter, *make, "--", sys.executable, "-I", "-S", str(_HOLDER)]
            self._holder: subprocess.Popen[bytes] = subprocess.Popen(words, stdin=theirs.fileno())
        self._control.settimeout(PATIENCE)
        if self._control.recv(100) != b"ready":
            self.end()
            pytest.fail(
                "no network namespace can be made here: run the tests as root, or let users have user namespaces "
                "(sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)"
            )

    @property
    def pid(self) -> int:
        """The process that keeps it."""
        return self._holder.pid

    def entering(self, *namespaces: str) -> list[str]:
        """What a command begins with to be run in it."""
        user = ("--user",) if self._rootless and "--user" not in namespaces else ()
        both = [*user, *namespaces]
        kept = ["--preserve-credentials"] if "--user" in both else []
        return ["nsenter", "--target", str(self.pid), *both, *kept, "--"]

    def make_socket(self, kind: int = socket.SOCK_STREAM, family: int = socket.AF_INET, protocol: int = 0) -> Any:
        """A socket in it, for trio."""
        self._control.send(f"{family:d} {kind:d} {protocol}".encode())
        said, fds, _, _ = socket.recv_fds(self._control, 1000, 1)
        if not fds:
            raise OSError(said.decode())
        made = socket.socket(fileno=fds[0])
        made.setblocking(False)
        return trio.socket.from_stdlib_socket(made)

    async def ip(self, *lines: str) -> None:
        """Have `ip` do this in it, one line after the other."""
        words = [*self.entering("--net"), "ip", "-batch", "-"]
        done = await trio.run_process(words, stdin="\n".join(lines).encode(), capture_stderr=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def end(self) -> None:
        """Let it go."""
        self._control.close()
        self._holder.wait(PATIENCE)
