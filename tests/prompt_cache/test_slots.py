"""What an engine says about its slots is not believed: nonsense is an error, never a crash, and never a number."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from llmsup.engines.pool import ConnectionPool
from llmsup.errors import EngineBadAnswer
from llmsup.prompt_cache.slots import NotSupported, Slot, Slots

GOOD = {"id": 0, "n_ctx": 8192, "is_processing": False, "id_task": 3, "n_prompt_tokens": 1017}


def answering(body: bytes, status: int = 200) -> Slots:
    """Slots of an engine that always answers the same."""

    async def open_stream() -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        await theirs.send_all(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body))
        return ours

    return Slots(ConnectionPool(open_stream))


def answers(value: Any, status: int = 200) -> Slots:
    return answering(json.dumps(value).encode(), status)


async def test_good_answers() -> None:
    """As b10068 and newer builds give them; a slot that did nothing yet says less."""
    idle = {"id": 1, "n_ctx": 8192, "speculative": False, "is_processing": False}
    assert await answers([GOOD, idle]).all() == [Slot(0, False, 3, 1017, 8192), Slot(1, False, None, None, 8192)]
    saved = {"id_slot": 3, "filename": "f3", "n_saved": 1017, "n_written": 23448700, "timings": {"save_ms": 54.9}}
    assert await answers(saved).save(3, "f3") == (1017, 23448700)
    restored = {"id_slot": 2, "filename": "f3", "n_restored": 1017, "n_read": 23448700}
    assert await answers(restored).restore(2, "f3") == (1017, 23448700)


NONSENSE: list[Any] = [
    *([], {}, None, 5, "slots", [[]], [None], [{}]),
    [{**GOOD, "id": -1}],
    [{**GOOD, "id": 10**9}],
    [{**GOOD, "id": True}],
    [{**GOOD, "id": "../x"}],
    [{**GOOD, "n_ctx": "many"}],
    [{**GOOD, "is_processing": None}],
    [GOOD, GOOD],
    [{**GOOD, "id": number} for number in range(1000)],
]


@pytest.mark.parametrize("value", NONSENSE, ids=lambda value: repr(value)[:40])
async def test_nonsense(value: Any) -> None:
    with pytest.raises(EngineBadAnswer):
        await answers(value).all()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 10**5, b"\xff\xfe", b"null", b"{}"])
async def test_not_even_json(body: bytes) -> None:
    """Nor a slot's."""
    with pytest.raises(EngineBadAnswer):
        await answering(body).all()
    with pytest.raises(EngineBadAnswer):
        await answering(body).save(0, "x")


@pytest.mark.parametrize(
    "value",
    [
        {"id_slot": 1, "n_saved": 5, "n_written": 5},
        {"id_slot": 0, "n_saved": -5, "n_written": 5},
        {"id_slot": 0, "n_saved": 5.5, "n_written": 5},
        {"id_slot": 0, "n_saved": 5},
        {"id_slot": 0, "n_saved": True, "n_written": 5},
        {"id_slot": 0, "n_saved": 10**30, "n_written": 5},
    ],
)
async def test_a_save_that_is_none(value: Any) -> None:
    with pytest.raises(EngineBadAnswer):
        await answers(value).save(0, "x")


@pytest.mark.parametrize("status", [501, 404])
async def test_what_it_can_not_do(status: int) -> None:
    """It says so in its own words, which people get to see."""
    said = {"error": {"code": status, "message": "This server does not support slots", "type": "not_supported_error"}}
    with pytest.raises(
        NotSupported, match=f"answers {status} to GET /slots. It said: This server does not support slots"
    ):
        await answers(said, status).all()


async def test_what_it_refuses() -> None:
    said = {"error": {"code": 400, "message": "invalid slot save file", "type": "invalid_request_error"}}
    with pytest.raises(EngineBadAnswer, match=r"400 .*invalid slot save file"):
        await answers(said, 400).restore(0, "x")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "n_ctx", "is_processing", "id_task", "n_prompt_tokens"]), inner)
    ),
    max_leaves=8,
)


@given(ANYTHING)
def test_anything(value: Any) -> None:
    """What is not refused has numbers that can be used."""

    async def ask() -> None:
        try:
            slots = await answers(value).all()
        except EngineBadAnswer:
            return
        for slot in slots:
            assert 0 <= slot.id < 256
            assert slot.tokens is None or slot.tokens >= 0

    trio.run(ask)
