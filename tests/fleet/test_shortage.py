"""When the system gives us nothing more, no engine is blamed, and it is tried again."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trio
from fake_run import Garage
from serving import PATIENCE, fake, serving
from trio.testing import MockClock, memory_stream_pair

from llmsup.engines.address import UnixAddress
from llmsup.engines.dial import connect
from llmsup.engines.launch import Launch
from llmsup.engines.pool import ConnectionPool
from llmsup.errors import OutOfResources
from llmsup.fleet.engine.process_engine import Health
from llmsup.fleet.model.model import Model
from llmsup.fleet.model.states import State
from llmsup.process.child import run_child
from llmsup.process.orphans import Orphans
from llmsup.process.shortage import OncePer, explain, is_ours
from llmsup.units import Seconds

OURS = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EADDRNOTAVAIL]


@contextmanager
def no_files() -> Iterator[Callable[[], None]]:
    """This process may open nothing more, until the function is called or the block is left."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as opened:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/dev/fd"))) + 8, hard))
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        while True:
            try:
                opened.callback(os.close, os.open("/dev/null", os.O_RDONLY))
            except OSError as error:
                assert error.errno == errno.EMFILE  # noqa: PT017 -- it is what ends the loop
                break
        yield opened.close


# Asking and connecting...


@pytest.mark.slow
async def test_an_engine_that_cannot_be_asked_is_not_called_sick(tmp_path: Path) -> None:
    """Out of descriptors, a question has no answer at all, neither yes nor no."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        for check in ("/health", ""):
            health = Health(Launch(engine="x", argv=("x",), address=UnixAddress(path), health=check))
            with no_files(), pytest.raises(OutOfResources, match="llmsup can't connect to an engine"):
                await health.answers(PATIENCE)
            assert "could not be asked" in health.result
            assert "ulimit -n" in health.result


@pytest.mark.parametrize("number", OURS)
async def test_a_connection_that_the_system_refuses_is_our_fault(number: int, autojump_clock: MockClock) -> None:
    tries = 0

    async def refuse() -> trio.abc.Stream:
        nonlocal tries
        tries += 1
        raise OSError(number, os.strerror(number))

    with pytest.raises(OutOfResources, match="llmsup can't connect to an engine") as caught:
        await ConnectionPool(refuse).request("GET", b"/", [], b"")
    assert (caught.value.status, caught.value.code, caught.value.retry_after) == (503, "out_of_resources", 1)
    assert tries > 2


async def test_a_connection_that_comes_late_will_do(autojump_clock: MockClock) -> None:
    """The shortage passes, and nobody hears of it."""
    near, far = memory_stream_pair()
    near.receive_stream.put_data(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def open_late() -> trio.abc.Stream:
        if trio.current_time() < 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return near

    answer = await ConnectionPool(open_late).request("GET", b"/", [], b"")
    assert answer.status == 200
    await answer.close()
    await far.aclose()


async def test_an_engine_whose_queue_of_connections_is_full(tmp_path: Path) -> None:
    """Linux says EAGAIN to a connection that doesn't fit, and trio takes that for success: it waits for its turn."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(0)
        with ExitStack() as before, trio.fail_after(PATIENCE):
            waiting: list[socket.socket] = []
            while True:  # fill it
                one = before.enter_context(socket.socket(socket.AF_UNIX))
                one.setblocking(False)
                try:
                    one.connect(str(path))
                except (BlockingIOError, ConnectionRefusedError):
                    break
                waiting.append(one)
            assert waiting
            if sys.platform != "linux":
                return
            connected: list[trio.abc.Stream] = []

            async def reach() -> None:
                connected.append(await connect(UnixAddress(path)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(reach)
                for _ in range(20):
                    await trio.lowlevel.checkpoint()
                assert not connected
                for _ in range(len(waiting) + 1):
                    ours = before.enter_context(await trio.to_thread.run_sync(lambda: listening.accept()[0]))
            await connected[0].send_all(b"hello")
            assert await trio.to_thread.run_sync(ours.recv, 5) == b"hello"
            await connected[0].aclose()


# Starting...


@pytest.mark.parametrize("number", OURS)
async def test_an_engine_that_cannot_be_started_for_want_of_anything_has_not_failed(
    number: int, autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    """Who waits is told that it is us; there is no cool-down, and the next one is served."""
    model = make()
    garage.refuse = OSError(number, os.strerror(number))
    with model.enter() as lease, pytest.raises(OutOfResources, match="llmsup can't start the engine of m"):
        await lease.run(Seconds(1000))
    assert model.state is State.UNLOADED
    garage.refuse = None
    with model.enter() as lease:
        await lease.run(Seconds(1000))


async def test_a_pinned_model_is_started_once_it_can_be(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    model = make(pinned=True)
    garage.refuse = OSError(errno.EAGAIN, "Resource temporarily unavailable")
    model.load()
    await trio.sleep(60)
    assert garage.engines == []
    garage.refuse = None
    await model.until(lambda: model.state is State.READY)


async def test_a_program_is_started_when_there_are_files_again(tmp_path: Path) -> None:
    async with trio.open_nursery() as own:
        orphans = Orphans(tmp_path / "sockets")
        await own.start(orphans.run)
        env = orphans.inheritance.environment()
        with no_files() as enough:
            own.start_soon(after, 0.2, enough)
            async with run_child(("echo", "hi"), orphans=orphans, env=env, stop_grace=Seconds(1)) as child:
                assert [line async for line in child.lines()] == ["hi"]
        own.cancel_scope.cancel()


async def after(seconds: float, do: Callable[[], None]) -> None:
    await trio.sleep(seconds)
    do()


async def test_an_engine_lives_through_a_shortage() -> None:
    """Measured, asked for its health and for a sign of life without a descriptor: it is as it was."""
    async with serving(fake("m")) as served:
        assert (await served.client.chat("m")).status == 200
        run = served.model("m").run
        assert run is not None
        assert run.engine is not None
        with no_files():
            assert await run.engine.healthy(PATIENCE)  # it can't be asked, so nothing is known against it
            await run.measure()
            await run.engine.activity()
        assert await run.engine.healthy(PATIENCE)
        assert run.outcome is None
        assert (await served.client.chat("m")).status == 200


# Saying so...


def test_what_is_ours_and_what_is_not() -> None:
    assert all(is_ours(OSError(number, "")) for number in OURS)
    assert is_ours(RuntimeError("can't start new thread"))
    others: list[BaseException] = [ConnectionRefusedError(errno.ECONNREFUSED, ""), FileNotFoundError(2, ""), OSError()]
    assert not any(map(is_ours, [*others, RuntimeError("a bug"), ValueError()]))


def test_what_is_said_names_the_remedy() -> None:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    told = str(explain(OSError(errno.EMFILE, "Too many open files"), "start x"))
    assert told.startswith(f"llmsup can't start x: it has all the {soft} files open")
    assert "ulimit -n" in told
    assert "Cannot allocate memory" in str(explain(OSError(errno.ENOMEM, ""), "start x"))
    assert "threads" in str(explain(RuntimeError("can't start new thread"), "start x"))


def test_it_is_said_once_a_minute() -> None:
    """Thousands of lines a minute would be a fault of their own."""
    now, said = 0.0, []
    limit = OncePer(60, clock=lambda: now)
    for second in range(121):
        now = float(second)
        record = logging.LogRecord("x", logging.WARNING, "", 0, "at %d", (second,), None)
        if limit.filter(record):
            said.append(record.getMessage())
    assert said == [
        "at 0",
        "at 60 (and 59 more such lines since the last one)",
        "at 120 (and 59 more such lines since the last one)",
    ]
