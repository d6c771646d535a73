"""Events: in order, bounded, told as server-sent events to whoever follows."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from serving import PATIENCE, Client, fake, serving

from llmsup.engines.pool import Answer
from llmsup.fleet.decisions import KEPT, Decisions
from llmsup.memory.decision import Decision
from llmsup.process.events import Events
from llmsup.units import Bytes


def test_they_are_numbered_and_the_oldest_are_forgotten() -> None:
    """Who was away for too long sees by the numbers that something is missing."""
    events = Events(capacity=3)
    for number in range(5):
        events.write("model", n=number)
    assert [event.number for event in events.since(0)] == [3, 4, 5]
    assert [event.data["n"] for event in events.since(4)] == [4]
    assert events.since(5) == events.since(99) == ()


async def test_writing_never_waits_for_readers() -> None:
    """And wakes them."""
    events = Events()
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(events.until, lambda: events.written == 1000)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(1000):
                events.write("x")


def decision(kind: Any, model: str = "a", **more: Any) -> Decision:
    return Decision(kind, "because", model=model, **more)


def test_what_waits_is_one_record_as_long_as_nothing_is_different() -> None:
    """It is decided about every second: fifty of those would be all that is kept."""
    events = Events()
    records = Decisions(events)
    for _ in range(100):
        records.add(decision("wait", holders=("b",)))
    assert len(records) == 1
    records.add(decision("wait", holders=("c",)))
    records.add(decision("admit"))
    assert [record.decision.kind for record in records] == ["wait", "wait", "admit"]
    assert events.written == 3


def test_the_last_fifty_are_kept() -> None:
    """Oldest first."""
    records = Decisions(Events())
    for number in range(KEPT + 7):
        records.add(decision("admit", model=str(number)))
    assert [record.decision.model for record in records][:1] == ["7"]
    assert len(records) == KEPT


def test_what_became_of_a_decision_is_noted_with_it() -> None:
    """The sum of what its victims gave back, and how long the last of them took."""
    records = Decisions(Events())
    made = decision("evict", victims=("b", "c"))
    records.add(made)
    records.went(made, Bytes(5), 1.0)
    records.went(made, Bytes(7), 0.5)
    (record,) = records
    assert (record.freed, record.seconds) == (12, 1.0)
    records.went(decision("evict"), Bytes(1), 9.0)
    assert record.freed == 12, "another decision, however alike"


class Told:
    """The events of a stream, one after the other: number, kind, data; None at its end."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._rest = b""

    async def next(self) -> tuple[int, str, dict[str, Any]] | None:
        while True:
            text, found, self._rest = self._rest.partition(b"\n\n")
            if not found:
                self._rest = text
                if not (piece := await self._answer.body()):
                    return None
                self._rest += piece
                continue
            fields = dict(line.split(": ", 1) for line in text.decode().splitlines() if not line.startswith(":"))
            if fields:
                return int(fields["id"]), fields["event"], json.loads(fields["data"])


async def follow(client: Client, last: str = "") -> Answer:
    headers = [(b"last-event-id", last.encode())] if last else []
    answer = await client.send("GET", "/events", headers=headers)
    assert answer.status == 200
    assert dict(answer.headers)[b"content-type"].startswith(b"text/event-stream")
    return answer


async def test_a_models_life_in_order() -> None:
    """Every change of state with its reason, the load with its seconds, the unload with its cause."""
    with trio.fail_after(PATIENCE):
        async with serving(fake("a")) as served:
            answer = await follow(served.client)
            await served.client.chat("a")
            await served.client.post("/models/unload", model="a")
            seen: list[tuple[int, str, dict[str, Any]]] = []
            stream = Told(answer)
            while (event := await stream.next()) is not None:
                seen.append(event)
                if event[1] == "model" and event[2]["state"] == "unloaded":
                    break
            await answer.close()
            kinds = [kind if kind != "model" else data["state"] for _, kind, data in seen]
            assert kinds == ["waiting", "decision", "starting", "ready", "load", "stopping", "unload", "unloaded"]
            assert [number for number, _, _ in seen] == list(range(seen[0][0], seen[0][0] + len(seen)))
            unload = next(data for _, kind, data in seen if kind == "unload")
            assert (unload["model"], unload["cause"]) == ("a", "asked")
            assert "asked for over the API" in unload["reason"]

            # One who comes back gets what he has missed.
            again = await follow(served.client, str(seen[-3][0]))
            missed = Told(again)
            assert [await missed.next(), await missed.next()] == seen[-2:]
            await again.close()


@pytest.mark.parametrize("last", ["99999", "rubbish", "-1", "9" * 40])
async def test_a_number_that_was_never_told(last: str) -> None:
    """From before a restart, or made up: what comes from now on is told."""
    with trio.fail_after(PATIENCE):
        async with serving(fake("a")) as served:
            await served.client.chat("a")
            answer = await follow(served.client, last)
            await served.client.post("/models/unload", model="a")
            event = await Told(answer).next()
            assert event is not None
            assert (event[1], event[2]["state"]) == ("model", "stopping")
            await answer.close()


async def test_a_stream_ends_with_llmsup() -> None:
    """It does not hold the shutdown up."""
    with trio.fail_after(PATIENCE):
        async with serving(fake("a")) as served:
            answer = await follow(served.client)
            served.tree.stop()
            assert await Told(answer).next() is None
            await answer.close()
