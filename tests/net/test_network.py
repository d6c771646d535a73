"""The network on which the other tests here have their machines does what a real one would, and leaves nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import strays
import trio
from netns import PATIENCE
from netns_hosts import Host, network
from netns_llmsup import llmsup, smol
from netns_peers import ENDLESS

from llmsup.engines.connection import Disconnected

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux'"),
]

HELPERS = Path(__file__).parents[1] / "helpers"


@asynccontextmanager
async def echo(host: Host) -> AsyncIterator[int]:
    """Something on a host that says what it is told; gives its port."""

    async def say(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)

    listener = await host.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, say, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_hosts_reach_each_other_and_nobody_else_does() -> None:
    async with network("a", "b") as net, network("c", "d") as other, echo(net["b"]) as port:
        with trio.fail_after(PATIENCE):
            async with await net["a"].connect(net["b"].address, port) as stream:
                await stream.send_all(b"hello")
                assert await stream.receive_some() == b"hello"
            with pytest.raises(OSError, match="refused"):  # the same address, another network
                await other["c"].connect(net["b"].address, port)


async def test_a_cut_cable_and_a_mended_one() -> None:
    """What is under way stalls and goes on; who begins gets no answer."""
    async with network("a", "b") as net, echo(net["b"]) as port:
        with trio.fail_after(PATIENCE):
            async with await net["a"].connect(net["b"].address, port) as stream:
                await net["b"].cut()
                await stream.send_all(b"hello")
                with trio.move_on_after(0.3):
                    await net["a"].connect(net["b"].address, port)
                    pytest.fail("it is connected")
                await net["b"].mend()
                assert await stream.receive_some() == b"hello"


async def test_a_partition() -> None:
    async with network("a", "b", "c") as net, echo(net["b"]) as port, echo(net["c"]) as other:
        with trio.fail_after(PATIENCE):
            async with await net["a"].connect(net["b"].address, port) as stream:
                await net.part("b")
                await stream.send_all(b"hello")
                async with await net["a"].connect(net["c"].address, other) as there:
                    await there.send_all(b"and you?")
                    assert await there.receive_some() == b"and you?"
                with trio.move_on_after(0.3):
                    pytest.fail(f"{await stream.receive_some()!r} got through")
                await net.unite()
                assert await stream.receive_some() == b"hello"


async def test_a_long_cable() -> None:
    """Every trip takes that long, and what is sent arrives whole."""
    large = bytes(range(256)) * 2000
    async with network("a", "b") as net, echo(net["b"]) as port:
        with trio.fail_after(PATIENCE):
            await net.slow("b", 0.1)
            began = trio.current_time()
            async with await net["a"].connect(net["b"].address, port) as stream, trio.open_nursery() as nursery:
                assert trio.current_time() - began >= 0.2
                nursery.start_soon(stream.send_all, large)
                got = b""
                while len(got) < len(large):
                    got += await stream.receive_some()
                assert got == large


def test_nothing_is_left_of_a_killed_run() -> None:
    """Neither namespaces, which live as long as their holders, nor programs."""
    script = (
        "import os, trio, netns_hosts\n"
        "async def main():\n"
        "    async with netns_hosts.network('a') as net, net['a'].running(['sleep', '600']) as program:\n"
        "        print(net['a'].inside.pid, program.process.pid, flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
        "trio.run(main)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=HELPERS, stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    strays.wait_until_gone(*map(int, done.stdout.split()))


async def test_a_whole_llmsup_on_a_host(tmp_path: Path) -> None:
    """With a real engine, asked from another host; when it is killed with all that it started, the connection ends."""
    async with network("a", "b") as net, llmsup(net["b"], tmp_path, models={"smol": smol()}) as machine:
        client = machine.seen_from(net["a"])
        got = await client.chat("smol", max_tokens=4)
        assert got.json["choices"][0]["message"]["content"]
        async with client.stream("smol", **ENDLESS) as pieces:
            await anext(aiter(pieces))
            machine.program.kill()
            with pytest.raises(Disconnected):
                _ = [piece async for piece in pieces]
