"""Prompts as chains of hashes, made in short steps. No text outlives the call.

The key is made anew by each process, so that the hashes tell nobody anything: not even whether a known text is in them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Protocol

import msgspec
from attrs import define, field, frozen

from ...engines.http import Buffer
from ..body import JsonBody
from .pieces import STEP, Piece, Steps, elements, piece_of

_KEY = os.urandom(32)

MOST = 512
"""Links that a prompt has at most; the last one stands for all the rest."""

SMALL_BLOCK = 64
"""Bytes of a message's first blocks, so that the place of a difference is known so well."""

TEXT_BLOCK = 1024
"""The same for a prompt that is one text."""

SETTINGS = ("chat_template_kwargs", "reasoning_effort", "chat_template", "response_format", "tool_choice")
"""Members of a body that may change how its messages are written into the prompt."""

BEFORE = ("edits", "settings", "tool definition", "system", "developer")
"""Roles of what many conversations begin with."""


@define(slots=True, eq=False, weakref_slot=True)
class Link:
    """One message, tool or system prompt; or a block of a prompt that is one text.

    Attributes:
        digest: Of all of it.
        bare: The same without what the model thought.
        role: Whose it is; "tool definition", "settings", "edits" (llmsup's own) or "text" for what is no message.
        size: Bytes of its text.
        extra: Bytes of the rest.
        blocks: Hashes of its text's blocks, eight bytes each; `bounds` says where they begin.
    """

    digest: bytes
    bare: bytes
    role: str
    size: int
    extra: int = 0
    blocks: bytes = field(default=b"", repr=False)

    @property
    def weight(self) -> int:
        """Its bytes, as a measure of the work that it makes."""
        return self.size + self.extra


@frozen(eq=False)
class Prompt:
    """A request's prompt.

    Attributes:
        links: From its beginning to its end.
        head: Of all that comes before the messages, as the client wrote it.
        length: Bytes of the messages as the client wrote them, without the end of the array; 0: not known.
        written: The hash of these.
        first: How many links come before the first message.
        size: Bytes of all of it, as the client wrote it.
        cached: Whether the engine may use its cache for it (`cache_prompt`).
    """

    links: tuple[Link, ...]
    head: bytes
    length: int = 0
    written: bytes = b""
    first: int = 0
    size: int = 0
    cached: bool = True

    @property
    def opening(self) -> int:
        """How many links it begins with that are no talk: settings, tools, the system prompt."""
        return next((at for at, link in enumerate(self.links) if link.role not in BEFORE), len(self.links))


Known = Callable[[bytes], Link | None]
"""Finds a link that was made before, by its digest."""


def digest(*parts: Buffer) -> bytes:
    """The keyed hash of short parts, each of whose lengths counts."""
    if len(parts) == 1:
        return blake2b(parts[0], key=_KEY, digest_size=16).digest()
    whole = blake2b(key=_KEY, digest_size=16)
    for part in parts:
        whole.update(b"%d," % len(part))
        whole.update(part)
    return whole.digest()


class _Hash(Protocol):
    def update(self, data: Buffer, /) -> None: ...


def long_digest(data: Buffer) -> Steps[bytes]:
    """The same as `digest` of one part of any length, in steps."""
    if len(data) <= STEP:
        return digest(data)
    whole = blake2b(key=_KEY, digest_size=16)
    yield from _feed(whole, memoryview(data))
    return whole.digest()


def _feed(whole: _Hash, view: memoryview) -> Steps[None]:
    for at in range(0, len(view), STEP):
        whole.update(view[at : at + STEP])
        if len(view) > STEP:
            yield


def bounds(size: int, smallest: int) -> list[int]:
    """Where the blocks of a text begin, and its end: small ones first, then an eighth of what came before."""
    found = [0]
    while found[-1] < size:
        at = found[-1]
        found.append(min(at + max(smallest, at // 8 // smallest * smallest), size))
    return found


def read_prompt(body: JsonBody, edits: bytes, guesses: Sequence[Prompt], known: Known) -> Steps[Prompt | None]:
    """Read a body; None if it has no prompt that can be followed.

    Args:
        edits: Stands for what llmsup itself changes in bodies.
        guesses: Prompts that this one may begin with: what the client wrote in the same way isn't looked at.
        known: Finds links that needn't be made again.
    """
    try:
        return (yield from _read(body, edits, guesses, known))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None  # the engine will say what it thinks of it


def _read(body: JsonBody, edits: bytes, guesses: Sequence[Prompt], known: Known) -> Steps[Prompt | None]:
    cached = body.raw("cache_prompt") != b"false"
    settings = [b"%s:%s" % (name.encode(), raw) for name in SETTINGS if (raw := body.raw(name)) is not None]
    messages = next((raw for name in ("messages", "input") if (raw := body.raw(name)) is not None), None)
    if messages is None:
        text = body.raw("prompt")
        if text is None:
            return None
        return Prompt((yield from _text(text, edits, settings)), b"", size=len(text), cached=cached)
    before = [(name, raw) for name in ("tools", "system", "instructions") if (raw := body.raw(name)) is not None]
    size = len(messages) + sum(len(raw) for _, raw in before)
    hashes = [edits, *settings]
    for _, raw in before:
        hashes.append((yield from long_digest(raw)))
    head = digest(*hashes)
    end = len(messages)
    while end and messages[end - 1] in b" \t\r\n]":
        end -= 1
        if messages[end] == b"]"[0]:
            break
    length = end
    for guess in guesses:
        if guess.head == head and 0 < guess.length <= length and guess.first < len(guess.links) < MOST:
            view, whole = memoryview(messages), blake2b(key=_KEY, digest_size=16)
            yield from _feed(whole, view[: guess.length])
            if whole.digest() == guess.written:
                yield from _feed(whole, view[guess.length : length])
                rest = bytes(view[guess.length :]).strip()
                links = [*guess.links]
                if rest != b"]":
                    yield from _add(links, (yield from elements(b"[" + rest.removeprefix(b","))), known)
                return Prompt(tuple(links), head, length, whole.digest(), guess.first, size, cached)
    links = _settings(edits, settings, known)
    for name, raw in before:
        each = (yield from elements(raw)) if name == "tools" and raw[:1] == b"[" else [raw]
        yield from _add(links, each, known, "tool definition" if name == "tools" else "system")
    first = len(links)
    single = messages[:1] != b"["
    yield from _add(links, [messages] if single else (yield from elements(messages)), known)
    written = b"" if single else (yield from long_digest(memoryview(messages)[:length]))
    return Prompt(tuple(links), head, 0 if single else length, written, first, size, cached)


def _settings(edits: bytes, settings: Sequence[bytes], known: Known) -> list[Link]:
    both = (("edits", edits), ("settings", b"\n".join(settings)))
    return [_link(Piece(role, b"", data), known) for role, data in both if data]


def _add(links: list[Link], raws: Sequence[Buffer], known: Known, role: str = "") -> Steps[None]:
    work = 0
    for at, raw in enumerate(raws):
        if len(links) == MOST - 1 and at < len(raws) - 1:
            rest = yield from long_digest(b",".join(raws[at:]))
            links.append(Link(rest, rest, "rest", 0, sum(map(len, raws[at:]))))
            return
        if len(links) >= MOST:
            return
        links.append(_link(piece_of(raw, role), known))
        work += len(raw) + 512
        if work > STEP:
            work = 0
            yield


def _link(piece: Piece, known: Known) -> Link:
    role, text, rest, reasoning = piece
    bare = digest(role.encode(), text, rest)
    whole = digest(bare, reasoning) if reasoning else bare
    link = known(whole)
    if link is None:
        link = Link(whole, bare, role, len(text), len(rest) + len(reasoning), _blocks(text))
    return link


def _blocks(text: Buffer) -> bytes:
    ends, view = bounds(len(text), SMALL_BLOCK), memoryview(text)
    return b"".join([blake2b(view[a:b], key=_KEY, digest_size=8).digest() for a, b in pairwise(ends)])


def _text(raw: Buffer, edits: bytes, settings: Sequence[bytes]) -> Steps[tuple[Link, ...]]:
    """A prompt that is one text, or an array of tokens: in blocks, so that nothing need be decoded."""
    view, links = memoryview(raw)[:-1], _settings(edits, settings, lambda _: None)
    ends = bounds(len(view), TEXT_BLOCK)
    for begin, end in pairwise(ends):
        each = yield from long_digest(view[begin:end])
        links.append(Link(each, each, "text", end - begin))
    return tuple(links)
