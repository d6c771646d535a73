"""Being woken by the kernel when tasks wait for memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from llmsup.memory.machine.psi import HOST, Waker, open_waker, watching


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A TCP connection: its urgent data is the same event to epoll as a pressure file's, and not a readable one."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        with theirs:
            yield ours, theirs


async def test_an_exceptional_event_wakes() -> None:
    """Whoever waits goes on when it comes, and not before."""
    with connected() as (ours, theirs), watching(ours.fileno()) as waker:
        woken = trio.Event()

        async def wait() -> None:
            await waker.wait()
            woken.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            theirs.send(b"ordinary")
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not woken.is_set()
            theirs.send(b"!", socket.MSG_OOB)
            with trio.fail_after(5):
                await woken.wait()


async def test_an_event_that_stays_does_not_make_us_spin() -> None:
    """As with a control group that was removed: half a second between two awakenings."""
    with connected() as (ours, theirs), watching(ours.fileno()) as waker:
        theirs.send(b"!", socket.MSG_OOB)
        with trio.fail_after(5):
            await waker.wait()
            first = trio.current_time()
            await waker.wait()
        assert trio.current_time() - first >= 0.5


async def test_without_a_trigger_it_sleeps(autojump_clock: trio.testing.MockClock) -> None:
    """Readings are then taken by the clock alone."""
    with trio.move_on_after(3600) as scope:
        await Waker().wait()
    assert scope.cancelled_caught


@pytest.mark.parametrize("name", ["none/at/all", "a file"])
async def test_what_can_not_be_a_trigger(tmp_path: Path, name: str) -> None:
    """No such file, or one that epoll doesn't take: no error, a waker that never wakes."""
    (tmp_path / "a file").write_text("")
    with open_waker(tmp_path / name) as waker, trio.move_on_after(0.01) as scope:
        await waker.wait()
    assert scope.cancelled_caught


async def test_this_machine() -> None:
    """Where the kernel counts stalls it grants a trigger, even to the unprivileged, or there is none."""
    with open_waker(HOST) as waker:
        with trio.move_on_after(0.01):
            await waker.wait()
