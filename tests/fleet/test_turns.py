"""Clients take turns while they wait: a batch of one doesn't hold up another's chat."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import trio
from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from serving import PATIENCE, fake, recorded, serving

from llmsup.config.schema import Server
from llmsup.fleet.model.queue import RequestQueue
from llmsup.fleet.model.run import Run
from llmsup.fleet.model.turns import Turns

PATH = "/v1/chat/completions"


@define(eq=False)
class One:
    """Somebody who waits; `passed` counts the turns of other clients since nobody of its own was before it."""

    client: str
    passed: Counter[str] | None = None


def test_one_client_alone_is_served_in_its_order() -> None:
    turns: Turns[One] = Turns()
    all_ = [One("a") for _ in range(5)]
    for one in all_:
        turns.add(one)
    assert [turns.take() for _ in all_] == all_
    with pytest.raises(KeyError):
        turns.take()


def test_who_comes_to_a_batch_is_next() -> None:
    """The batch's own client has had its turn: its first requests are being served."""
    turns: Turns[One] = Turns(lambda: [One("batch")])
    for _ in range(500):
        turns.add(One("batch"))
    turns.add(chat := One("chat"))
    assert turns.take() is chat
    turns.add(again := One("chat"))
    assert turns.take().client == "batch"
    assert turns.take() is again


def test_several_batches_alternate() -> None:
    turns: Turns[One] = Turns()
    for client in "aaabbc":
        turns.add(One(client))
    assert [turns.take().client for _ in range(6)] == [*"abcaba"]


def test_who_leaves_leaves_no_trace() -> None:
    """Whether it has company or not, and neither its name."""
    turns: Turns[One] = Turns()
    one, other, third = One("a"), One("a"), One("b")
    for each in (one, other, third):
        turns.add(each)
    assert turns.take() is one
    turns.remove(other)
    assert (turns.of("a"), len(turns), other in turns) == (0, 1, False)
    turns.remove(third)
    assert (turns.all, turns._now, turns._next, turns._had) == ({}, {}, {}, set())
    with pytest.raises(KeyError):
        turns.remove(third)


Move = tuple[str, int]
CLIENTS = "abcd"
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(0, len(CLIENTS) - 1)),
        st.tuples(st.sampled_from(("serve", "serve", "leave", "end")), st.integers(0, 50)),
    ),
    max_size=80,
)


@given(MOVES)
def test_nobody_waits_for_two_turns_of_another(moves: list[Move]) -> None:
    """From the moment on that nobody of its own client is before it; and nobody is lost, or served twice."""
    served: list[One] = []
    waiting: list[One] = []  # as they came
    turns: Turns[One] = Turns(lambda: served)

    def heads() -> dict[str, One]:
        return {one.client: one for one in reversed(waiting)}

    for what, number in moves:
        if what == "come":
            waiting.append(one := One(CLIENTS[number]))
            turns.add(one)
        elif what == "leave" and waiting:
            turns.remove(waiting.pop(number % len(waiting)))
        elif what == "end" and served:
            served.pop(number % len(served))
        elif what == "serve" and waiting:
            one = turns.take()
            assert heads()[one.client] is one, "of one client, the first comes first"
            for client, head in heads().items():
                if client != one.client and head.passed is not None:
                    head.passed[one.client] += 1
                    assert head.passed[one.client] <= 1
            waiting.remove(one)
            served.append(one)
        for head in heads().values():
            head.passed = Counter() if head.passed is None else head.passed
        assert list(turns) == waiting
        for client in CLIENTS:
            assert turns.of(client) == sum(one.client == client for one in waiting)
    for one in waiting:
        turns.remove(one)
    assert (turns.all, turns._now, turns._next, turns._had) == ({}, {}, {}, set())


async def test_a_models_queue_takes_turns() -> None:
    """While it loads, while it is paused, and when its limit changes."""
    queue = RequestQueue(1, lambda: None)
    batch = [queue.enter(client="batch") for _ in range(5)]
    chat = queue.enter(client="chat")
    queue.open(Run())
    queue.leave(batch[0])
    assert chat.served_by is not None
    queue.pause()
    later = [queue.enter(client=client) for client in ("batch", "second")]
    queue.resume()
    assert (queue.waiting_of("batch"), queue.waiting_of("second")) == (5, 1)
    queue.leave(chat)
    assert [lease for lease in (*batch[1:], *later) if lease.served_by is not None] == [later[1]]
    queue.set_limit(2)
    assert batch[1].served_by is not None
    assert batch[2].served_by is None
    for lease in (*batch, *later):
        queue.leave(lease)
    assert not queue.busy


async def test_a_batch_does_not_hold_up_a_chat(tmp_path: Path) -> None:
    """Over HTTP, told apart by their keys: the chat gets the first place that becomes free."""
    record = tmp_path / "events.jsonl"
    # None of the answers ever ends by itself.
    slow = fake("slow", "--tps", 0.001, "--record", record, max_in_flight=2)
    async with (
        serving(slow, server=Server(api_keys=("batch", "chat"))) as served,
        trio.open_nursery() as nursery,
    ):
        queue = served.model("slow").queue

        async def ask(key: str, scope: trio.CancelScope) -> None:
            with scope:
                body = {"model": "slow", "messages": [{"role": "user", "content": key}]}
                await (await served.client.send("POST", PATH, body, [(b"x-api-key", key.encode())])).close()

        async def until(waiting: int, in_flight: int) -> None:
            await served.until("slow", lambda _: (queue.waiting, queue.in_flight) == (waiting, in_flight))

        first = trio.CancelScope()
        nursery.start_soon(ask, "batch", first)
        nursery.start_soon(ask, "batch", trio.CancelScope())
        await until(0, 2)
        for _ in range(100):
            nursery.start_soon(ask, "batch", trio.CancelScope())
        await until(100, 2)
        nursery.start_soon(ask, "chat", trio.CancelScope())
        await until(101, 2)
        first.cancel()
        await until(100, 2)
        with trio.fail_after(PATIENCE):
            while len(asked := [e["body"] for e in recorded(record, "request") if e["path"] == PATH]) < 3:  # noqa: ASYNC110 -- it is a file
                await trio.sleep(0.005)
        nursery.cancel_scope.cancel()
    assert [body["messages"][0]["content"] for body in asked] == ["batch", "batch", "chat"]
