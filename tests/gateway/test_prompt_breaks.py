"""Where a prompt parts from the one before it, and why: the table of all the ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompts import Memory, Message, said

from llmsup.gateway.prompts.chain import CONVERSATIONS, Match
from llmsup.gateway.prompts.computed import Since, why_computed
from llmsup.gateway.prompts.verdict import Break, recurring

SYSTEM = said("system", "rule", 2000)
TALK = [SYSTEM, *(said(role, f"{role}{turn}-") for turn in range(4) for role in ("user", "assistant"))]
NEXT = said("user", "next-")
TOOLS = [{"type": "function", "function": {"name": f"f{n}", "description": f"{n} " * 200}} for n in range(5)]


def changed(message: Message, at: int, to: str = "#") -> Message:
    text = message["content"]
    return {**message, "content": text[:at] + to + text[at + len(to) :]}


def thinking(message: Message) -> Message:
    return {**message, "reasoning_content": "hm " * 200}


THOUGHT = [thinking(m) if m["role"] == "assistant" else m for m in TALK]


@pytest.mark.parametrize(
    ("before", "after", "kind", "message", "byte"),
    [
        pytest.param(TALK, [changed(SYSTEM, 130), *TALK[1:], NEXT], "system", 1, 128, id="a date in the system prompt"),
        pytest.param(TALK, [changed(SYSTEM, 0), *TALK[1:], NEXT], "system", 1, 0, id="its first byte"),
        pytest.param(TALK, [*TALK[1:], NEXT], "dropped", 1, None, id="no system prompt any more"),
        pytest.param(TALK, [SYSTEM, *TALK[3:], NEXT], "dropped", 2, None, id="the first turn left out"),
        pytest.param(TALK, [SYSTEM, said("user", "sum-"), *TALK[6:], NEXT], "dropped", 2, None, id="a summary"),
        pytest.param(TALK, [SYSTEM, said("user", "memo-"), *TALK[1:], NEXT], "inserted", 2, None, id="a memo put in"),
        pytest.param(TALK, [*TALK[:3], changed(TALK[3], 590), *TALK[4:], NEXT], "message", 4, 576, id="one changed"),
        pytest.param(THOUGHT, [*TALK, NEXT], "reasoning", 3, None, id="reasoning left out"),
    ],
)
def test_where_and_why(before: list[Message], after: list[Message], kind: str, message: int, byte: int | None) -> None:
    memory = Memory()
    assert memory.ask(messages=before) is None
    found = memory.ask(messages=after)
    assert found is not None
    assert (found.kind, found.message, found.byte) == (kind, message, byte), found.reason


@pytest.mark.parametrize(
    ("before", "after", "kind", "words"),
    [
        ({"tools": TOOLS}, {"tools": TOOLS[::-1]}, "tools", "another order, from tool 1"),
        ({"tools": TOOLS[:4]}, {"tools": TOOLS}, "tools", "from tool 5 of 5 on (1 new"),
        ({"tools": TOOLS}, {}, "tools", "tools are gone"),
        ({}, {"tools": TOOLS}, "tools", "no tools before"),
        ({}, {"chat_template_kwargs": {"enable_thinking": False}}, "settings", "chat_template_kwargs"),
        ({}, {"edits": b"x"}, "edits", "llmsup's own config"),
        ({"system": "be good " * 300}, {"system": "be bad " * 300}, "system", "differs somewhere after byte 0"),
    ],
)
def test_what_comes_before_the_messages(before: dict[str, Any], after: dict[str, Any], kind: str, words: str) -> None:
    """Tools, settings and Anthropic's system prompt have no message's number."""
    memory = Memory()
    memory.ask(messages=TALK, **before)
    found = memory.ask(messages=[*TALK, NEXT], **after)
    assert found is not None
    assert (found.kind, found.message) == (kind, None)
    assert words in found.reason


def marked(message: Message) -> Message:
    """As Anthropic's clients mark the last message of each request: its text is spelled in another way, too."""
    part = {"type": "text", "text": message["content"], "cache_control": {"type": "ephemeral"}}
    return {**message, "content": [part]}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(TALK, [*TALK, NEXT], id="the next turn"),
        pytest.param(TALK, TALK, id="the same again"),
        pytest.param(TALK, TALK[:-2], id="back by a turn"),
        pytest.param(TALK, [*TALK[:-1], said("user", "else-")], id="the last message edited"),
        pytest.param([*TALK[:-1], marked(TALK[-1])], [*TALK, marked(NEXT)], id="a mark that moves on"),
        pytest.param(TALK, [SYSTEM, said("user", "new-"), said("assistant", "new-")], id="another conversation"),
        pytest.param(TALK, [said("system", "other", 2000), NEXT], id="another purpose"),
        pytest.param([{"role": "user", "content": "hi " * 500}], [{"role": "user", "content": "ho " * 500}], id="two"),
    ],
)
def test_nothing_to_say(before: list[Message], after: list[Message]) -> None:
    memory = Memory()
    memory.ask(messages=before)
    assert memory.ask(messages=after) is None


def test_a_date_in_every_request() -> None:
    """New conversations, all with the time in their system prompt."""
    memory = Memory()
    for turn in range(5):
        system = changed(SYSTEM, 100, f"{turn}{turn}:00")
        found = memory.ask(messages=[system, said("user", f"question{turn}-")])
        assert (found is not None) == (turn > 0)
    assert found is not None
    assert (found.kind, found.byte) == ("system", 64)
    assert "3 times in a row: something there changes with every request" in recurring(found, 3)


def test_a_text_is_followed_in_blocks() -> None:
    memory = Memory()
    text = " ".join(map(str, range(4000)))
    assert memory.ask(prompt=text) is None
    assert memory.ask(prompt=text + " and so on") is None
    found = memory.ask(prompt=text[:5000] + "#" + text[5001:])
    assert found is not None
    assert (found.kind, found.byte) == ("text", 4096)


def test_conversations_take_turns() -> None:
    """Each goes on, however many others of the client began in the same way in between."""
    memory = Memory()
    talks = [[SYSTEM, said("user", f"talk{n}-")] for n in range(CONVERSATIONS)]
    for _ in range(3):
        for n, talk in enumerate(talks):
            assert memory.ask(messages=talk) is None
            assert len(memory.chains.conversations) <= CONVERSATIONS
            talks[n] = [*talk, said("assistant", f"{n}-{len(talk)}-"), said("user", f"{n}-{len(talk) + 1}-")]
    assert len(memory.chains.conversations) == CONVERSATIONS


@pytest.mark.parametrize(
    ("since", "body", "kind", "words"),
    [
        (Since(), {"cache_prompt": False}, "no_cache", "cache_prompt"),
        (Since(loaded="m was unloaded: idle.", others=9), {}, "reload", "m was unloaded: idle."),
        (Since(others=2, slots=2, foreign=True), {}, "slot", "requests of 2 other conversations"),
        (Since(others=1, slots=1, foreign=True), {}, "slot", "another client's requests took its place"),
        (Since(others=1, slots=1), {}, "slot", "another conversation's requests took its place"),
        (Since(others=1, slots=2, thought=True), {}, "reasoning", "message 10 (assistant)"),
        (Since(others=1, slots=4), {}, "engine", "did not find it"),
    ],
)
def test_why_the_same_was_computed_again(since: Since, body: dict[str, Any], kind: str, words: str) -> None:
    memory = Memory()
    memory.ask(messages=TALK)
    after = memory.prompt({"messages": [*TALK, said("assistant", "answer-"), NEXT], **body})
    match = memory.chains.match(after)
    assert match is not None
    assert match.goes_on
    found = why_computed(match, after, since)
    assert (found.kind, words in found.reason) == (kind, True), found.reason


def test_a_template_that_leaves_reasoning_out() -> None:
    memory = Memory()
    memory.ask(messages=THOUGHT)
    after = memory.prompt({"messages": [*THOUGHT, NEXT]})
    match = memory.chains.match(after)
    assert isinstance(match, Match)
    assert why_computed(match, after, Since()).kind == "template"


@given(
    count=st.integers(3, 12),
    at=st.integers(0, 10),
    size=st.integers(300, 900),
    byte=st.integers(0, 299),
    data=st.data(),
)
def test_the_break_is_found_at_the_right_message(
    count: int, at: int, size: int, byte: int, data: st.DataObject
) -> None:
    """Any message changed at any place, but for the last one, which may change, and however much comes after it."""
    at = min(at, count - 2)
    roles = ("user", "assistant")
    talk = [SYSTEM, *(said(roles[n % 2], f"m{n}-", size + 900) for n in range(count - 1))]
    memory = Memory()
    memory.ask(messages=talk)
    more = [said("user", f"more{n}-") for n in range(data.draw(st.integers(0, 3)))]
    found = memory.ask(messages=[*talk[:at], changed(talk[at], byte), *talk[at + 1 :], *more])
    assert isinstance(found, Break)
    assert found.message == at + 1
    assert found.byte == byte // 64 * 64
