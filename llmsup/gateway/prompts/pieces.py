"""A body's prompt in pieces: its tools, its system prompt, and its messages, in steps that are short."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from ...engines.http import Buffer
from ..body import AT_ONCE

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work in steps of some tenths of a millisecond, between which others may run."""

STEP = 65536
"""Bytes that one step looks at."""

_QUOTE, _COMMA = b'",'
_TOKEN = 64
"""Bytes that take as long as one match of an expression does."""

_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_PLAIN = re.compile(rb'[^"\[\]{},]+')
_TEXT = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_ROLE = re.compile(rb'"role"\s*:\s*"(\w{1,20})"')

ROLES = frozenset(
    (
        *("system", "developer", "user", "assistant", "tool", "function"),
        *("message", "reasoning", "function_call", "function_call_output"),  # of the Responses API
    )
)
"""Roles that are told; any other is only hashed, as it is the client's text, and may be anything."""

REASONING = ("reasoning_content", "reasoning", "thinking")
"""Members of a message in which clients send back what a model thought."""

_OF_CLIENTS = frozenset((*REASONING, "role", "content", "cache_control", "id", "status"))
"""Members that are looked at by themselves, or that no template sees: Anthropic's clients move their `cache_control` on
with every turn, and items of the Responses API have ids."""


class Piece(NamedTuple):
    """One message, tool or system prompt.

    Attributes:
        role: One of `ROLES`; or "tool definition", "settings" (what changes the template), "edits" (llmsup's own).
        rest: What else it has (calls, images), as JSON.
        reasoning: What the model thought, as JSON; b"" for nothing.
    """

    role: str
    text: Buffer
    rest: bytes = b""
    reasoning: bytes = b""


def elements(array: Buffer) -> Steps[list[Buffer]]:
    """Split a JSON array. Raises msgspec.DecodeError, UnicodeDecodeError if a small one is none."""
    if len(array) <= AT_ONCE:
        return list(_ARRAY.decode(array))
    return (yield from _split(array))


def _split(array: Buffer) -> Steps[list[Buffer]]:
    """The same for a large one, which is known to be JSON: only its brackets and strings are looked at."""
    view = memoryview(array)
    found: list[Buffer] = []
    at = begin = 1
    depth, inside, left, size = 1, False, STEP, len(view)
    while at < size:
        was = at
        if inside:
            match = _TEXT.match(view, at, at + STEP)
            at = at if match is None else match.end()
            if at < size and view[at] == _QUOTE:
                inside, at = False, at + 1
        elif (match := _PLAIN.match(view, at, at + STEP)) is not None:
            at = match.end()
        else:
            char, at = view[at], at + 1
            inside = char == _QUOTE
            depth += (char in b"[{") - (char in b"]}")
            if depth == 0 or (depth == 1 and char == _COMMA):
                found.append(view[begin : at - 1])
                begin = at
            if depth == 0:
                break
        left -= at - was + _TOKEN
        at = max(at, was + 1)
        if left < 0:
            left = STEP
            yield
    return found


def piece_of(raw: Buffer, role: str = "") -> Piece:
    """Read one element. `role`: what it is if it doesn't say. Raises msgspec.DecodeError, UnicodeDecodeError."""
    if len(raw) > AT_ONCE:  # an image, as a rule; not decoded, so it counts byte for byte
        ends = (bytes(raw[:256]), bytes(raw[-256:]))
        told = next((match[1].decode() for end in ends if (match := _ROLE.search(end))), "")
        return Piece(role or (told if told in ROLES else "message"), raw)
    value = msgspec.json.decode(raw)
    if not role and isinstance(value, dict) and len(value) == 2:  # by far the most, and a quick way for them
        who, said = value.get("role"), value.get("content")
        if isinstance(who, str) and who in ROLES and isinstance(said, str):
            return Piece(who, said.encode())
    if isinstance(value, str):
        return Piece(role or "user", value.encode())
    if not isinstance(value, dict) or role:
        text, rest = _content(value if isinstance(value, list) else [value])
        return Piece(role or "message", text, rest)
    text, rest = _content(value.get("content"))
    told = value.get("role") or value.get("type")
    who = told if isinstance(told, str) and told in ROLES else ""
    thought = next((value[name] for name in REASONING if value.get(name)), None)
    thinking = _thinking(value.get("content"))
    others = _told(value, _OF_CLIENTS)
    return Piece(
        who or "message",
        text,
        rest + (_json(others) if others else b"") + (b"" if who else _json(told)),
        _json(thinking or thought) if thinking or thought else b"",
    )


def _content(content: Any) -> tuple[bytes, bytes]:
    """The text of a content, however it is spelled, and what isn't text."""
    if isinstance(content, str):
        return content.encode(), b""
    if content is None:
        return b"", b""
    texts, others = [], []
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif not (isinstance(part, dict) and part.get("type") in ("thinking", "redacted_thinking")):
            others.append(_told(part, frozenset(("cache_control",))) if isinstance(part, dict) else part)
    return "\n".join(texts).encode(), _json(others) if others else b""


def _thinking(content: Any) -> list[Any]:
    parts = content if isinstance(content, list) else []
    return [part.get("thinking") for part in parts if isinstance(part, dict) and part.get("type") == "thinking"]


def _told(value: Mapping[str, Any], but: frozenset[str]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name not in but and each is not None}


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
