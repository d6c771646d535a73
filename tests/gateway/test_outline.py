"""Large JSON bodies are read in steps: what msgspec takes and refuses, others' turns in between, and limits."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from llmsup.engines.http import Buffer
from llmsup.errors import InvalidJson
from llmsup.gateway import outline as outline_module
from llmsup.gateway.body import AT_ONCE, BOM, JsonBody, Turn, in_turns, read_json
from llmsup.gateway.form import MAX_PARTS, MultipartBody, read_form
from llmsup.gateway.outline import MAX_DEPTH, MAX_MEMBERS, MAX_VALUES, STEP, Outline


def members(data: Buffer) -> dict[str, bytes]:
    """The members that are found, each with its bytes."""
    outline = Outline(data)
    while outline.step():
        pass
    return {name: bytes(data[begin:end]) for name, (begin, end) in outline.members.items()}


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every string and every run of numbers is longer than a window, and every value takes a step of its own."""
    monkeypatch.setattr(outline_module, "WINDOW", 16)
    monkeypatch.setattr(outline_module, "STEP", 16)


def same_as_msgspec(data: bytes) -> None:
    """Both take it, with the same members, or neither does."""
    try:
        wanted = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError):
        with pytest.raises(InvalidJson):
            members(data)
    else:
        assert members(data) == {name: bytes(value) for name, value in wanted.items()}


TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(-1e6, 1e6) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
WRITTEN = st.builds(
    lambda value, indent, ascii_: json.dumps(value, indent=indent, ensure_ascii=ascii_).encode("utf-8", "replace"),
    st.dictionaries(TEXT, JSON, max_size=5) | JSON,
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)
TOKENS = st.lists(
    st.sampled_from(
        [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            '"',
            "\\",
            '"a"',
            '"b"',
            "0",
            "-1",
            "1.5",
            "1e9",
            "01",
            "-",
            "true",
            "null",
            "nul",
            '\\"',
            "\\u00e9",
            '"\\ud83d\\ude00"',
            '"\\ud83d"',
            '"\\udc00"',
            '"\n"',
        ]
    )
).map(lambda tokens: "".join(tokens).encode())


@given(WRITTEN)
def test_takes_what_msgspec_takes(data: bytes) -> None:
    same_as_msgspec(data)


@given(WRITTEN, st.randoms())
def test_refuses_what_msgspec_refuses(data: bytes, dice: random.Random) -> None:
    """One byte is lost, doubled or another."""
    at = dice.randrange(len(data))
    same_as_msgspec(
        data[:at] + dice.choice([b"", data[at : at + 1] * 2, bytes([dice.randrange(256)])]) + data[at + 1 :]
    )


@given(TOKENS, st.sampled_from([b"", b'{"a":', b'{"a":[']))
def test_agrees_with_msgspec_on_anything(data: bytes, begin: bytes) -> None:
    same_as_msgspec(begin + data)
    same_as_msgspec(begin + data + b"]}")
    same_as_msgspec(begin + data + b"}")


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize(
    "value",
    [
        '"' + "x" * 100 + '"',
        '"' + "é" * 50 + '"',
        '"' + "\\n" * 50 + '"',
        '"' + "x" * 15 + "\\u00e9" * 20 + '"',
        '"' + "\\ud83d\\ude00" * 20 + '"',
        "[" + "12345, " * 30 + "1]",
        "[" + "true,null,-1.5e9," * 30 + '"x"]',
        "[" + "[1,2],{},[]," * 30 + "0]",
        "[" + ('{"a" : [1, {"b": "' + "y" * 40 + '"}]},') * 5 + "0]",
    ],
)
@pytest.mark.parametrize("shift", range(17))
def test_windows_end_anywhere(value: str, shift: int) -> None:
    """In a character, an escape, a pair of surrogates or a number."""
    data = f'{{"model":"m",{" " * shift}"v":{value},"end":1}}'.encode()
    assert members(data) == {"model": b'"m"', "v": value.encode(), "end": b"1"}


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize(
    "value", ['"' + "x" * 100, '"' + "x" * 40 + '\\ud83d"', '"' + "x" * 40 + '\x01"', "1" * 40, "[" + "1," * 40]
)
def test_what_is_broken_far_in_is_found(value: str) -> None:
    with pytest.raises(InvalidJson):
        members(b'{"a":%s}' % value.encode())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{"a": "\\ud83d"}', r"\\ud83d is half of a surrogate pair"),
        (b'{"a": 1', "it ends too early"),
        (b'{"a": 1} x', r"something follows the object \(byte 9\)"),
        (b"[1]", "must be a JSON object, not an array"),
        (b"7", "must be a JSON object"),
        (b'{"a": ' + b"[" * (MAX_DEPTH + 1), "it nests too deeply"),
        (b"{" + b",".join(b'"%d":0' % n for n in range(MAX_MEMBERS + 1)) + b"}", "more than 10,000 members"),
        (b'{"a":[' + b"{}," * (MAX_VALUES + 1) + b"0]}", "more than 1,000,000 strings, arrays and objects"),
        (b'{"a":' + b" " * 200_000 + b"1}", "no value"),
        (b'{"' + b"n" * 200_000 + b'":1}', "a member's name is very long"),
    ],
)
def test_what_is_said(data: bytes, said: str) -> None:
    with pytest.raises(InvalidJson, match=said):
        members(data)


# Others' turns...


async def turns_of_others(work: Callable[[], Any]) -> int:
    """How often somebody else had a turn while that was done."""
    count = 0

    async def other() -> None:
        nonlocal count
        while True:
            await trio.lowlevel.checkpoint()
            count += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        with suppress(InvalidJson):
            await work()
        nursery.cancel_scope.cancel()
    return count


LARGE = {
    "an image": b'{"model":"m","image":"' + b"A" * (16 * STEP) + b'"}',
    "tokens": b'{"model":"m","input":[' + b"12345," * (3 * STEP) + b"0]}",
    "texts": b'{"model":"m","input":[' + b'"hello, world",' * STEP + b'""]}',
    "empty arrays": b'{"model":"m","x":[' + b"[]," * (2 * STEP) + b"0]}",
    "members": b'{"model":"m"' + b',"a":0' * (3 * STEP) + b"}",
    "many members": b"{" + b",".join(b'"%d":0' % n for n in range(2 * STEP)) + b"}",
}


@pytest.mark.slow
@pytest.mark.parametrize("data", LARGE.values(), ids=LARGE.keys())
async def test_everybody_else_goes_on_while_a_large_body_is_read(data: bytes) -> None:
    """One step looks at no more than STEP bytes and a few hundred values, and everybody has a turn after it."""
    steps = 0
    outline = Outline(data)
    before = 0

    def step() -> bool:
        nonlocal steps, before
        steps += 1
        more = outline.step()
        assert outline._pos - before <= STEP + 2 * outline_module.WINDOW
        before = outline._pos
        return more

    turns = await turns_of_others(lambda: in_turns(step, Turn()))
    assert turns >= steps - 5  # the other one begins a little later, and ends a little earlier
    assert steps >= outline._pos // (STEP + 2 * outline_module.WINDOW)


async def test_many_large_bodies_are_no_worse_than_one() -> None:
    """They take turns among themselves: between two turns of anybody else there is one step, whoever's it is."""
    turn, order = Turn(), []

    def steps(who: str) -> Callable[[], bool]:
        left = [20]

        def step() -> bool:
            order.append(who)
            left[0] -= 1
            return left[0] > 0

        return step

    async def all_of_them() -> None:
        async with trio.open_nursery() as nursery:
            for who in "abcd":
                nursery.start_soon(in_turns, steps(who), turn)

    assert await turns_of_others(all_of_them) >= 75
    assert all(len({*order[at : at + 4]}) == 4 for at in range(0, 80, 4)), order


async def test_a_form_of_hundreds_of_thousands_of_parts() -> None:
    """It is refused at the first part that is too many, with turns for others before that."""
    part = b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n'
    data = part * 200_000 + b"--B--\r\n"
    with pytest.raises(InvalidJson, match=f"more than {MAX_PARTS} parts"):
        await read_form(data, b"B", Turn())
    body = MultipartBody(data, b"B")
    steps = 0

    def step() -> bool:
        nonlocal steps
        steps += 1
        return body.step()

    turns = await turns_of_others(lambda: in_turns(step, Turn()))
    assert steps == 4
    assert turns >= steps - 2
    assert body._fed <= (MAX_PARTS + 1) * len(part) + 2 * 16384


@pytest.mark.parametrize("where", ["before", "headers"])
async def test_a_form_without_an_end_is_not_collected(where: str) -> None:
    """Neither what stands before its first part nor a part's headers may be megabytes."""
    begin = b"" if where == "before" else b"--B\r\nContent-Disposition: form-data;"
    body = MultipartBody(begin + b"x" * 10_000_000, b"B")
    with pytest.raises(InvalidJson, match="too long"):
        await in_turns(body.step, Turn())
    assert body._fed < 100_000


# Large bodies are like small ones...

IMAGE = b'"' + b"A" * (2 * AT_ONCE) + b'"'


async def test_a_large_body_is_edited_without_being_copied() -> None:
    """The large member goes out as it lies; the others are as ever."""
    data = b' {"model": "m", "image": %s , "n": 1.000, "stream": true}\n' % IMAGE
    body = await read_json(data, Turn())
    assert (body.get("model"), body.get("stream"), "x" in body, body.sets("n")) == ("m", True, False, True)
    assert body.edited({}) == data
    out = body.edited({"model": "other", "x": None, "y": [1]})
    assert isinstance(out, tuple)
    assert b"".join(out) == b'{"model":"other","image":%s,"n":1.000,"stream":true,"y":[1]}' % IMAGE
    assert any(isinstance(piece, memoryview) and piece.obj is data for piece in out)
    with pytest.raises(InvalidJson, match="`image` is too large to be looked into: 512 KiB"):
        body.get("image")


@pytest.mark.parametrize("filler", [b'""', IMAGE])
async def test_a_byte_order_mark_is_no_part_of_it(filler: bytes) -> None:
    """Windows' editors and PowerShell put one in front; engines need not know."""
    data = b'{"model": "m", "image": %s}' % filler
    body = await read_json(BOM + data, Turn())
    assert body.get("model") == "m"
    assert body.edited({}) == data


def test_a_small_body_has_as_few_members_as_a_large_one() -> None:
    data = b"{" + b",".join(b'"%x":0' % n for n in range(MAX_MEMBERS + 1)) + b"}"
    assert len(data) < AT_ONCE
    with pytest.raises(InvalidJson, match="more than 10,000 members"):
        JsonBody(data)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "The body is empty: a JSON object is wanted"),
        (b" \n", "The body is empty"),
        (b'{"a": "x', "it ends too early"),
        (b'{"messages": [{"content": "\\ud83d"}]}', r"\\ud83d is half of a surrogate pair"),
        (b'{"a": "\\ud83d\\ude00 \\udc00"}', r"\\udc00 is half of a surrogate pair"),
        (b'{"a": "\\\\ud83d", ', "it ends too early"),
    ],
)
def test_what_is_said_of_a_small_body(data: bytes, said: str) -> None:
    with pytest.raises(InvalidJson, match=said):
        JsonBody(data)
