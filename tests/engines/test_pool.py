"""The connections to one engine: kept, retried and closed as promised."""

from __future__ import annotations

import socket

import pytest
import trio
from memory_engine import SILENT, Engine, get, ok, pooled, whole
from trio.testing import MockClock, wait_all_tasks_blocked

from llmsup.engines.address import Address, TcpAddress, UnixAddress
from llmsup.engines.connection import LAST_WORDS, Disconnected
from llmsup.engines.dial import connect
from llmsup.engines.pool import MAX_IDLE, MOST_IDLE, ConnectionPool
from llmsup.errors import EngineBadAnswer
from llmsup.process.quick_stream import QuickStream

# Keeping...


async def test_a_connection_is_used_again(autojump_clock: MockClock) -> None:
    """One after the other needs one connection only."""
    engine, pool = pooled(ok(b"one"))
    assert await whole(await get(pool)) == b"one"
    engine.lines[0].says(ok(b"two"))
    assert await whole(await get(pool)) == b"two"
    assert len(engine.lines) == 1
    assert repr(pool) == "<ConnectionPool open, 0 busy, 1 idle>"


async def test_an_answer_keeps_its_connection_to_itself(autojump_clock: MockClock) -> None:
    """Requests side by side have connections of their own, and none is shared before it is given back."""
    engine, pool = pooled(ok(b"one"), ok(b"two"))
    one, two = await get(pool), await get(pool)
    assert (await whole(two), await whole(one)) == (b"two", b"one")
    assert len(engine.lines) == 2


async def test_the_newest_is_used_first(autojump_clock: MockClock) -> None:
    """The connection that was given back last is the least likely to have been closed."""
    engine, pool = pooled(ok(b"one"), ok(b"two"))
    one, two = await get(pool), await get(pool)
    await whole(two)
    await whole(one)
    for number, line in enumerate(engine.lines):
        line.says(ok(b"again on %d" % number))
    assert await whole(await get(pool)) == b"again on 0"
    assert len(engine.lines) == 2


async def test_close_is_believed(autojump_clock: MockClock) -> None:
    """After `connection: close` the connection is closed, and the next request has a fresh one."""
    engine, pool = pooled(ok(b"one", b"connection: close"), ok(b"two"))
    assert await whole(await get(pool)) == b"one"
    assert (await engine.lines[0].heard()).endswith(b"<closed>")
    assert await whole(await get(pool)) == b"two"


async def test_an_answer_that_is_left_early_ends_the_engines_work(autojump_clock: MockClock) -> None:
    """Closing the connection is what tells the engine to stop."""
    engine, pool = pooled(ok(b"x" * 100)[:-50], ok(b"two"))
    answer = await get(pool)
    assert await answer.body() == b"x" * 50
    assert not (await engine.lines[0].heard()).endswith(b"<closed>")
    await answer.close()
    assert await engine.lines[0].heard() == b"<closed>"
    assert await whole(await get(pool)) == b"two"


async def test_an_old_connection_is_closed_not_used(autojump_clock: MockClock) -> None:
    """What has been idle for longer than MAX_IDLE is about to be closed by the engine anyway."""
    engine, pool = pooled(ok(b"one"), ok(b"two"))
    await whole(await get(pool))
    await trio.sleep(MAX_IDLE + 0.1)
    assert await whole(await get(pool)) == b"two"
    assert (await engine.lines[0].heard()).endswith(b"<closed>")


async def test_a_connection_is_kept_for_a_while(autojump_clock: MockClock) -> None:
    """Up to MAX_IDLE."""
    engine, pool = pooled(ok(b"one"))
    await whole(await get(pool))
    await trio.sleep(MAX_IDLE - 0.1)
    engine.lines[0].says(ok(b"two"))
    assert await whole(await get(pool)) == b"two"


async def test_unused_connections_are_closed_in_time(autojump_clock: MockClock) -> None:
    """Not by the next request, which may never come; each when its own time is over."""
    engine, pool = pooled(*[ok(b"")] * 3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.run)
        for _ in range(2):  # it goes on after a first time
            one, two = [await get(pool) for _ in range(2)]
            await whole(one)
            await trio.sleep(MAX_IDLE / 2)
            await whole(two)
            await trio.sleep(MAX_IDLE / 2 + 0.1)
            assert repr(pool) == "<ConnectionPool open, 0 busy, 1 idle>"
            await trio.sleep(MAX_IDLE / 2)
            assert repr(pool) == "<ConnectionPool open, 0 busy, 0 idle>"
            assert [(await line.heard())[-8:] for line in engine.lines] == [b"<closed>"] * 2
            engine = Engine(*[ok(b"")] * 3)
            pool._open_stream = engine.open
        nursery.cancel_scope.cancel()


async def test_no_more_than_so_many_are_kept(autojump_clock: MockClock) -> None:
    """Five hundred streams at once don't leave five hundred connections, each of which holds a thread of the engine."""
    _, pool = pooled(*[ok(b"")] * 500)
    for answer in [await get(pool) for _ in range(500)]:
        await whole(answer)
    assert repr(pool) == f"<ConnectionPool open, 0 busy, {MOST_IDLE} idle>"
    await pool.close()


# Dying...


@pytest.mark.parametrize("how", ["hangs_up", "is_gone"])
async def test_a_stale_connection_is_replaced(how: str, autojump_clock: MockClock) -> None:
    """The engine closed a kept connection while it was idle: the request is sent once more, on a fresh one."""
    engine, pool = pooled(ok(b"one"), ok(b"two"))
    await whole(await get(pool))
    if how == "hangs_up":
        engine.lines[0].hangs_up()
    else:
        await engine.lines[0].is_gone()
    assert await whole(await get(pool, b"/again")) == b"two"
    assert (await engine.lines[1].heard()).startswith(b"GET /again ")
    assert repr(pool) == "<ConnectionPool open, 0 busy, 1 idle>"


async def test_a_request_is_sent_twice_at_most(autojump_clock: MockClock) -> None:
    """If the fresh connection dies too, that is the engine's answer, whatever else is kept."""
    engine, pool = pooled(ok(b"one"), ok(b"two"), SILENT, ok(b"never"))
    answers = [await get(pool), await get(pool)]
    for answer in answers:
        await whole(answer)
    for line in engine.lines:
        line.hangs_up()

    async def die_soon() -> None:
        await trio.sleep(1)
        engine.lines[2].hangs_up()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(die_soon)
        with pytest.raises(Disconnected) as gone:
            await get(pool)
    assert not gone.value.began
    assert len(engine.lines) == 3


async def test_a_fresh_connection_that_dies_is_not_replaced(autojump_clock: MockClock) -> None:
    """The engine itself is in trouble: to ask again is the caller's business."""
    engine, pool = pooled(SILENT, ok(b"never"))

    async def die_soon() -> None:
        await trio.sleep(1)
        engine.lines[0].hangs_up()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(die_soon)
        with pytest.raises(Disconnected) as gone:
            await get(pool)
    assert not gone.value.began
    assert len(engine.lines) == 1
    assert repr(pool) == "<ConnectionPool open, 0 busy, 0 idle>"


async def test_an_answer_that_has_begun_is_not_asked_for_again(autojump_clock: MockClock) -> None:
    """The engine has done work: no second try, also where the connection was a kept one."""
    engine, pool = pooled(ok(b"one"), ok(b"never"))
    await whole(await get(pool))
    engine.lines[0].says(b"HTTP/1.1 2")
    engine.lines[0].hangs_up()
    with pytest.raises(Disconnected) as gone:
        await get(pool)
    assert gone.value.began
    assert len(engine.lines) == 1


async def test_nonsense_is_not_asked_for_again(autojump_clock: MockClock) -> None:
    """An engine that doesn't speak HTTP is not asked twice; its connection is closed."""
    engine, pool = pooled(ok(b"one"), ok(b"never"))
    await whole(await get(pool))
    engine.lines[0].says(b"nonsense")
    with pytest.raises(EngineBadAnswer):
        await get(pool)
    assert (await engine.lines[0].heard()).endswith(b"<closed>")
    assert repr(pool) == "<ConnectionPool open, 0 busy, 0 idle>"


async def test_an_engine_that_cannot_be_reached() -> None:
    """Nothing listens: the same error as from an engine that closed the connection without an answer."""

    async def refuse() -> trio.abc.Stream:
        raise ConnectionRefusedError

    with pytest.raises(Disconnected) as gone:
        await get(ConnectionPool(refuse))
    assert not gone.value.began


# Cancelling...


async def test_a_client_that_leaves_frees_its_slot(autojump_clock: MockClock) -> None:
    """Cancelled while it waits for the head: the engine sees the end, and nothing is left in the pool."""
    engine, pool = pooled(SILENT)
    with trio.move_on_after(1):
        await get(pool)
    assert (await engine.lines[0].heard()).endswith(b"<closed>")
    assert repr(pool) == "<ConnectionPool open, 0 busy, 0 idle>"


async def test_leaving_mid_body_closes_even_when_cancelled(autojump_clock: MockClock) -> None:
    """`Answer.close` does its work in a cancelled task, too."""
    engine, pool = pooled(ok(b"x" * 100)[:-50])
    with trio.move_on_after(1):
        answer = await get(pool)
        try:
            while True:
                await answer.body()
        finally:
            await answer.close()
    assert (await engine.lines[0].heard()).endswith(b"<closed>")
    assert repr(pool) == "<ConnectionPool open, 0 busy, 0 idle>"


async def test_cancelled_while_old_connections_are_closed(autojump_clock: MockClock) -> None:
    """A cancelled request leaves no connection behind that nobody will ever close."""
    engine, pool = pooled(*[ok(b"")] * 4)
    early, late = [await get(pool) for _ in range(3)], await get(pool)
    for answer in early:
        await whole(answer)
    await trio.sleep(MAX_IDLE - 1)
    await whole(late)
    await trio.sleep(2)
    with trio.CancelScope() as scope:
        scope.cancel()
        await get(pool)
    await pool.close()
    assert [(await line.heard())[-8:] for line in engine.lines] == [b"<closed>"] * 4


# Closing...


async def test_closing_the_pool_ends_what_is_under_way(autojump_clock: MockClock) -> None:
    """Who waits for a head or for a body gets `Disconnected`; nobody is sent elsewhere."""
    engine, pool = pooled(SILENT, ok(b"x" * 100)[:-50], ok(b"idle"))
    ends: list[bool] = []

    async def wait_for_head() -> None:
        with pytest.raises(Disconnected) as gone:
            await get(pool)
        ends.append(gone.value.began)

    async def wait_for_body() -> None:
        answer = await get(pool)
        with pytest.raises(Disconnected) as gone:
            await whole(answer)
        ends.append(gone.value.began)
        await answer.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_head)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait_for_body)
        await wait_all_tasks_blocked()
        await whole(await get(pool))
        assert repr(pool) == "<ConnectionPool open, 2 busy, 1 idle>"
        await pool.close()
    assert sorted(ends) == [False, True]
    assert [(await line.heard())[-8:] for line in engine.lines] == [b"<closed>"] * 3
    assert repr(pool) == "<ConnectionPool closed, 0 busy, 0 idle>"


async def test_hanging_up_on_who_has_gone_silent(autojump_clock: MockClock) -> None:
    """As closing does, and a kept connection isn't replaced; but whoever comes later is let in."""
    engine, pool = pooled(ok(b"kept"), ok(b"later"))
    await whole(await get(pool))

    async def wait_for_head() -> None:
        with pytest.raises(Disconnected):
            await get(pool)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for_head)
        await wait_all_tasks_blocked()
        await pool.hang_up()
    assert len(engine.lines) == 1
    assert (await engine.lines[0].heard()).endswith(b"<closed>")
    assert await whole(await get(pool)) == b"later"


async def test_what_an_ended_engine_has_sent_is_read_to_its_end(autojump_clock: MockClock) -> None:
    """Closing the pool leaves those alone who read; nobody else is let in."""
    engine, pool = pooled(ok(b"x" * 200_000), ok(b"idle"))
    answer = await get(pool)
    await whole(await get(pool))
    engine.lines[0].hangs_up()
    pool.engine_ended()
    await pool.close()
    with pytest.raises(Disconnected):
        await get(pool)
    await trio.sleep(1000)  # the reader is slow
    assert await whole(answer) == b"x" * 200_000
    assert [(await line.heard())[-8:] for line in engine.lines] == [b"<closed>"] * 2


@pytest.mark.parametrize("told_first", [True, False])
async def test_an_ended_engine_is_not_waited_for(autojump_clock: MockClock, told_first: bool) -> None:
    """Another process may hold its end of the connection: who waits for more is let go, before his time or after."""
    engine, pool = pooled(ok(b"x" * 100)[:-50])
    answer = await get(pool)
    await trio.sleep(LAST_WORDS * 2)  # what it took before doesn't count

    async def read() -> None:
        with pytest.raises(Disconnected):
            await whole(answer)
        await answer.close()

    async with trio.open_nursery() as nursery:
        if told_first:
            pool.engine_ended()
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        await trio.sleep(LAST_WORDS / 2)
        if not told_first:
            pool.engine_ended()
            await trio.sleep(LAST_WORDS / 2)
        engine.lines[0].says(b"x")  # one that trickles on isn't waited for either
        began = trio.current_time()
    assert trio.current_time() - began <= LAST_WORDS / 2
    assert (await engine.lines[0].heard()).endswith(b"<closed>")


async def test_closing_is_complete_when_cancelled(autojump_clock: MockClock) -> None:
    """Every connection is closed, not only the first: an engine with a client left doesn't end on SIGTERM."""
    engine, pool = pooled(*[ok(b"")] * 3)
    answers = [await get(pool) for _ in range(3)]
    await whole(answers[0])
    with trio.CancelScope() as scope:
        scope.cancel()
        await pool.close()
    assert [(await line.heard())[-8:] for line in engine.lines] == [b"<closed>"] * 3


async def test_a_closed_pool_opens_nothing(autojump_clock: MockClock) -> None:
    """A request that comes too late is told at once; an answer that is given back late is closed."""
    engine, pool = pooled(ok(b""))
    answer = await get(pool)
    await pool.close()
    with pytest.raises(Disconnected):
        await get(pool)
    assert len(engine.lines) == 1
    await answer.close()
    assert repr(pool) == "<ConnectionPool closed, 0 busy, 0 idle>"


async def test_closing_while_a_connection_is_being_opened(autojump_clock: MockClock) -> None:
    """The connection that comes too late is closed; its request does not go out to an engine that shall end."""
    engine = Engine(SILENT)
    connected = trio.Event()

    async def open_slowly() -> trio.abc.Stream:
        await connected.wait()
        return await engine.open()

    pool = ConnectionPool(open_slowly)

    async def ask() -> None:
        with pytest.raises(Disconnected):
            await get(pool)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await pool.close()
        connected.set()
    assert await engine.lines[0].heard() == b"<closed>"


async def test_a_stale_connection_is_not_replaced_once_the_pool_is_closed(autojump_clock: MockClock) -> None:
    """A request on a kept connection ends with the pool; it does not go out again."""
    engine, pool = pooled(ok(b"one"), ok(b"never"))
    await whole(await get(pool))

    async def ask() -> None:
        with pytest.raises(Disconnected):
            await get(pool)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await pool.close()
    assert len(engine.lines) == 1


# Real sockets...


async def test_a_closed_socket_is_seen_before_it_is_used() -> None:
    """On a real socket a stale connection costs no request: it is seen to be readable, and closed."""
    ends: list[QuickStream] = []

    async def open_socket() -> trio.abc.Stream:
        near, far = map(QuickStream, socket.socketpair())
        ends.append(far)
        await far.send_all(ok(b"one"))
        return near

    pool = ConnectionPool(open_socket)
    await whole(await get(pool))
    assert (await ends[0].receive_some()).startswith(b"GET /")
    await ends[0].send_eof()
    await whole(await get(pool, b"/second"))
    assert await ends[0].receive_some() == b""
    assert (await ends[1].receive_some()).startswith(b"GET /second ")
    await pool.close()
    for end in ends:
        await end.aclose()


async def test_it_connects_to_a_port_and_to_a_socket(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Both kinds of addresses; where nothing listens, `OSError`."""
    path = tmp_path_factory.mktemp("s") / "s"
    with trio.socket.socket(trio.socket.AF_UNIX) as unix, trio.socket.socket() as tcp:
        await unix.bind(str(path))
        await tcp.bind(("127.0.0.1", 0))
        addresses: list[Address] = [UnixAddress(path), TcpAddress(*tcp.getsockname())]
        for address in addresses:
            with pytest.raises(OSError):  # noqa: PT011 -- which one is the system's choice
                await connect(address)
        for address, socket in zip(addresses, (unix, tcp), strict=True):
            socket.listen()
            await (await connect(address)).aclose()
