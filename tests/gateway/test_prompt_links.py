"""Bodies read as chains of hashes: whatever is in them, in short steps, and without keeping a word."""

from __future__ import annotations

import gc
import json
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompts import Memory, finished, said, steps_of

from llmsup.gateway.body import JsonBody
from llmsup.gateway.prompts import hashing, links, pieces, reader
from llmsup.gateway.prompts.hashing import bounds, digest
from llmsup.gateway.prompts.links import Prompt
from llmsup.gateway.prompts.reader import read_prompt

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
PART = st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "thinking"])}, optional={"text": JSON})
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool"]) | JSON,
        "content": JSON | st.lists(PART | JSON, max_size=3),
        "reasoning_content": JSON,
        "thinking": JSON,
        "tool_calls": JSON,
        "cache_control": JSON,
    },
)
SPACE = st.text(" \t\r\n", max_size=3)


def read(body: dict[str, Any], guesses: list[Prompt] | None = None) -> Prompt | None:
    raw = JsonBody(json.dumps(body).encode())
    return finished(read_prompt(raw, b"", guesses or [], lambda _: None))


@given(st.lists(JSON, min_size=1, max_size=6), SPACE, SPACE, st.booleans())
def test_large_arrays_are_split_as_small_ones_are(values: list[Any], before: str, after: str, ascii_: bool) -> None:
    """The splitter for large ones finds the same elements."""
    comma = f"{before},{after}"
    array = f"[{before}{comma.join(json.dumps(v, ensure_ascii=ascii_) for v in values)}{after}]".encode()
    assert [json.loads(bytes(each)) for each in finished(pieces._split(array))] == values


@pytest.mark.parametrize("junk", [b"", b"[", b'["', b'["\\', b"}", b"]]]]", b'"\\"', b"1,2,3", b"[1 2"])
def test_the_splitter_ends(junk: bytes) -> None:
    """Whatever it is given, although it is only given JSON."""
    finished(pieces._split(junk))


@given(st.lists(MESSAGE | JSON, max_size=5), JSON, JSON, st.sampled_from(["messages", "input", "prompt"]))
def test_any_body_can_be_read(messages: list[Any], tools: Any, system: Any, name: str) -> None:
    """No body makes it fail: the engine decides what is wrong with it."""
    for value in (messages, messages[:1] and messages[0]):
        prompt = read({name: value, "tools": tools, "system": system, "instructions": "x" * links.WORTH})
        assert prompt is None or (prompt.links and all(link.role.isascii() for link in prompt.links))


def test_what_is_not_json_inside_is_left_to_the_engine() -> None:
    broken = JsonBody.of({"messages": b'[{"role": "user", "content": "' + b"x" * 2000 + b'\\ud800"}, ]'})
    assert finished(read_prompt(broken, b"", [], lambda _: None)) is None


@given(st.lists(MESSAGE, min_size=1, max_size=6), st.lists(MESSAGE, max_size=3), st.integers(0, 3))
def test_what_goes_on_is_read_as_if_it_were_new(begin: list[Any], more: list[Any], indent: int) -> None:
    """The quick way, which looks only at what has been added, comes to the same links."""
    begin = [said("system", "rule", 1500), *begin]
    first = json.dumps({"messages": begin}, indent=indent or None)
    second = json.dumps({"messages": [*begin, *more]}, indent=indent or None)
    old, quick, new = None, None, None
    old = finished(read_prompt(JsonBody(first.encode()), b"", [], lambda _: None))
    assert old is not None
    quick = finished(read_prompt(JsonBody(second.encode()), b"", [old], lambda _: None))
    new = finished(read_prompt(JsonBody(second.encode()), b"", [], lambda _: None))
    assert quick is not None
    assert new is not None
    assert quick.links[: len(old.links)] == old.links, "it was not the quick way"
    assert [link.digest for link in quick.links] == [link.digest for link in new.links]
    assert (quick.head, quick.length, quick.written) == (new.head, new.length, new.written)


def test_large_bodies_are_read_in_steps_and_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    big = [said("user", f"m{n}-", 40_000) for n in range(40)]
    data = json.dumps({"messages": big, "tools": [{"name": "x" * 100_000}]}).encode()
    members = {name: memoryview(raw) for name, raw in JsonBody(data)._members.items()}
    body = JsonBody(memoryview(data), members)
    assert steps_of(read_prompt(body, b"", [], lambda _: None)) > len(data) / pieces.STEP
    prompt = finished(read_prompt(body, b"", [], lambda _: None))
    monkeypatch.setattr(reader, "STEP", 10**9)
    monkeypatch.setattr(hashing, "STEP", 10**9)
    monkeypatch.setattr(pieces, "STEP", 10**9)
    at_once = finished(read_prompt(JsonBody(data), b"", [], lambda _: None))
    assert prompt is not None
    assert at_once is not None
    assert [link.digest for link in prompt.links] == [link.digest for link in at_once.links]
    assert prompt.written == at_once.written
    assert len(prompt.links) == 41


def test_links_are_bounded() -> None:
    messages = [{"role": "user", "content": f"message {n}"} for n in range(3 * links.MOST)]
    prompt = read({"messages": messages})
    assert prompt is not None
    assert len(prompt.links) == links.MOST
    other = read({"messages": [*messages[:-1], {"role": "user", "content": "?"}]})
    assert other is not None
    assert other.links[-1].digest != prompt.links[-1].digest
    assert other.links[-2].digest == prompt.links[-2].digest


@pytest.mark.parametrize("smallest", [hashing.SMALL_BLOCK, hashing.TEXT_BLOCK])
def test_blocks_are_few(smallest: int) -> None:
    """Their bounds don't depend on what comes after them."""
    for size in (1, smallest - 1, smallest, smallest + 1, 10_000, 10**6, 10**8):
        found = bounds(size, smallest)
        assert found[0] == 0
        assert found[-1] == size
        assert list(found) == sorted(set(found))
        assert found[:-1] == bounds(10 * size, smallest)[: len(found) - 1]
        assert len(found) < 150


def test_hashes_depend_on_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a text can't be looked for among them without it; also those of blocks."""
    before = (digest(b"text"), hashing.blocks_of(b"text" * 50))
    monkeypatch.setattr(hashing, "_KEY", b"\0" * 32)
    assert digest(b"text") != before[0]
    assert hashing.blocks_of(b"text" * 50) != before[1]


def test_no_text_is_kept() -> None:
    """Nothing that can be reached from what is remembered holds any eight bytes of what was said."""
    memory = Memory()
    words = [f"{letter}{'qjzx' * 3}{number}" for letter in string.ascii_letters for number in range(20)]
    talk: list[dict[str, Any]] = [{"role": "system", "content": " ".join(words)}]
    for n in range(6):
        part = {"type": "image_url", "image_url": {"url": "data:" + words[n] * 20}}
        talk.append({"role": "user", "content": [{"type": "text", "text": words[n] * 50}, part]})
        talk.append({"role": words[n], "content": words[n] * 90, "reasoning_content": words[-n] * 9, "name": words[n]})
        memory.ask(messages=talk, tools=[{"name": words[3]}], chat_template_kwargs={words[4]: 1})
        memory.ask(prompt=" ".join(words[n:]), system=words[5])
    reached = everything(memory.chains)
    assert any(isinstance(each, links.Link) for each in reached), "the walk found the links"
    kept = [each for each in reached if isinstance(each, (bytes, str, bytearray, memoryview))]
    assert len(kept) > 50
    found = [each for each in kept if b"qjzx" in (each.encode() if isinstance(each, str) else bytes(each))]
    assert found == []


def everything(root: object) -> list[object]:
    """All that can be reached from an object; types and modules, through which one gets anywhere, aside."""
    seen: dict[int, object] = {}
    queue = [root]
    while queue:
        each = queue.pop()
        if id(each) in seen or isinstance(each, type) or callable(each) or type(each).__name__ == "module":
            continue
        seen[id(each)] = each
        queue += gc.get_referents(each)
    return list(seen.values())
