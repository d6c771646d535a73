"""Several machines on one: hosts with a cable each to one switch, and programs that run on them.

All of it goes when we do, however that is, and no test meets another: nothing has a name outside (`netns`), and the
programs are ended by the system if we are killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import netns_cable
import psutil
import pytest
import trio
from netns import PATIENCE, Namespace

TOOLS = ("ip", "nsenter", "unshare", "setpriv")
"""Of iproute2 and util-linux; the gate sees to them (`tools/namespaces`)."""

_NET = "10.77.0"


class Program:
    """A program that runs on a host."""

    def __init__(self, words: Sequence[str], **options: Any) -> None:
        # Here and not by trio, which forks in a thread: setpriv's signal would come when that thread ends.
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, **options)

    async def wait(self) -> int:
        """Wait for its end; returns its exit code."""
        if sys.platform != "linux":
            raise NotImplementedError
        fd = os.pidfd_open(self.process.pid)
        try:
            await trio.lowlevel.wait_readable(fd)
        finally:
            os.close(fd)
        return self.process.wait()

    def kill(self) -> None:
        """End it and all that it has started, at once and without a word, as if its machine had been switched off."""
        if self.process.poll() is None:
            for each in (own := psutil.Process(self.process.pid), *own.children(recursive=True)):
                each.send_signal(signal.SIGSTOP)  # nobody sees the others go
            for each in (*own.children(recursive=True), own):
                each.kill()

    async def stop(self) -> None:
        """End it in good order, if it can."""
        if self.process.poll() is not None:
            return
        with trio.CancelScope(shield=True):
            self.process.terminate()
            with trio.move_on_after(PATIENCE):
                await self.wait()
            self.kill()
            self.process.wait()


class Host:
    """A machine.

    Attributes:
        name: What it is called in the test.
        address: Its IPv4 address.
        port: What its cable is plugged into, an interface of the switch.
    """

    def __init__(self, name: str, number: int, inside: Namespace, switch: Namespace) -> None:
        self.name = name
        self.address = f"{_NET}.{number}"
        self.port = f"port{number}"
        self.inside = inside
        self._switch = switch

    async def connect(self, address: str, port: int) -> trio.SocketStream:
        """Connect from here, without a limit."""
        own = self.inside.make_socket()
        try:
            await own.connect((address, port))
        except BaseException:
            own.close()
            raise
        return trio.SocketStream(own)

    async def listen(self, port: int = 0) -> trio.SocketListener:
        """Listen here, at its address."""
        own = self.inside.make_socket()
        await own.bind((self.address, port))
        own.listen()
        return trio.SocketListener(own)

    @asynccontextmanager
    async def running(self, words: Sequence[str], **options: Any) -> AsyncIterator[Program]:
        """Have a program run here until the block is left."""
        # The signal comes only for a death after it was asked for; who was dead before that is no longer the parent.
        orphan = ["sh", "-c", '[ "$PPID" = "$0" ] && exec "$@"', str(os.getpid())]
        dies = ["setpriv", "--pdeathsig", "KILL", "--", *orphan]
        program = Program([*self.inside.entering("--net"), *dies, *words], **options)
        try:
            yield program
        finally:
            await program.stop()

    async def cut(self) -> None:
        """Pull its cable at the switch: the link is down on both sides."""
        await self._switch.ip(f"link set {self.port} down")

    async def mend(self) -> None:
        """Plug it in again."""
        await self._switch.ip(f"link set {self.port} up")


class Network:
    """Hosts on one switch.

    Attributes:
        hosts: Them, by name.
    """

    def __init__(self, stack: AsyncExitStack, nursery: trio.Nursery) -> None:
        self.hosts: dict[str, Host] = {}
        self._stack = stack
        self._nursery = nursery
        self._switch = self._namespace(None)

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def _namespace(self, within: Namespace | None) -> Namespace:
        made = Namespace(within)
        self._stack.callback(made.end)
        return made

    async def set_up(self, *names: str) -> None:
        """Have these hosts."""
        await self._switch.ip(*(f"link add {bridge} up type bridge" for bridge in ("br0", "br1")))
        for number, name in enumerate(names, 1):
            self.hosts[name] = Host(name, number, self._namespace(self._switch), self._switch)
            await self._plug_in(self.hosts[name])

    async def _plug_in(self, host: Host) -> None:
        last = host.address.rpartition(".")[2]  # in its card's address, too, which is to stay the same
        await self._switch.ip(
            f"link add {host.port} type veth peer name eth0 address 02:00:00:00:00:0{last} netns {host.inside.pid}",
            f"link set {host.port} master br0 up",
        )
        await host.inside.ip("link set lo up", f"addr add {host.address}/24 brd + dev eth0", "link set eth0 up")

    async def lose_power(self, name: str, *programs: Program) -> None:
        """Switch a machine off, with these programs on it, and on again: it says nothing, and remembers nothing."""
        host = self[name]
        await host.cut()
        for program in programs:
            program.kill()
        await self._switch.ip(f"link del {host.port}")
        host.inside = self._namespace(self._switch)
        await self._plug_in(host)

    async def part(self, *names: str) -> None:
        """Separate these hosts from the others: nothing gets through, and nobody is told."""
        await self._switch.ip(*(f"link set {self[name].port} master br1" for name in names))

    async def unite(self) -> None:
        """Let all reach each other again."""
        await self._switch.ip(*(f"link set {host.port} master br0" for host in self.hosts.values()))

    async def slow(self, name: str, seconds: float) -> None:
        """From now on, let all that goes to a host, or comes from it, take so long, each way.

        Its cable gets a second half, and a task of ours carries what comes out of one to the other.
        """
        host = self[name]
        near, far, end = host.port, f"{host.port}b", f"{host.port}c"
        await self._switch.ip(
            f"link set {near} nomaster",
            f"link add {far} type veth peer name {end}",
            f"link set {far} master br0 up",
            f"link set {end} up",
        )
        netns_cable.as_on_the_wire(self._switch, far)
        netns_cable.as_on_the_wire(host.inside, "eth0")
        host.port = far
        await self._nursery.start(netns_cable.carry, self._switch, (near, end), seconds)


@asynccontextmanager
async def network(*names: str) -> AsyncIterator[Network]:
    """Have these machines on a switch, until the block is left."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.fail(f"this test needs {', '.join(missing)}: run tools/namespaces")
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        made = Network(stack, nursery)
        await made.set_up(*names)
        yield made
        nursery.cancel_scope.cancel()
