"""Prompts as chains of hashes, made in short steps. No text outlives the call.

The key is made anew by each process, so that the hashes tell nobody anything: not even whether a known text is in them.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import cached_property
from hashlib import blake2b
from itertools import pairwise
from operator import eq
from typing import Protocol

import msgspec
from attrs import define, field, frozen

from ...engines.http import Buffer
from ..body import JsonBody
from .pieces import STEP, Piece, Steps, elements, piece_of

_KEY = os.urandom(32)

WORTH = 1024
"""Bytes that must be computed again for a word about it to be worth while: a few hundred tokens. A prompt that is
shorter isn't looked at, as no other could have lost so much of it.
"""

MOST = 512
"""Links that a prompt has at most; the last one stands for all the rest."""

SMALL_BLOCK = 64
"""Bytes of a message's first blocks, so that the place of a difference is known so well."""

LONG = 512
"""Bytes of a message from which on its blocks are kept; those of system prompts are in any case."""

TEXT_BLOCK = 1024
"""The same for a prompt that is one text."""

_ALIKE = 256
"""Bytes of a message from which on it can be told that another one is nearly the same."""

_LONGEST = 2**32
"""Bytes of a text up to which its blocks are counted: no body is larger."""

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
        blocks: Hashes of its text's blocks, eight bytes each, if it is `LONG`; `bounds` says where they begin.
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


def alike(old: Link, new: Link) -> bool:
    """Whether one is most probably the other with something changed: half of their blocks are the same."""
    if old.role != new.role or min(old.size, new.size) < _ALIKE or not old.blocks or not new.blocks:
        return False
    some, others = memoryview(old.blocks).cast("q"), memoryview(new.blocks).cast("q")
    same: int = sum(map(eq, some, others))
    return 2 * same >= max(len(some), len(others))


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

    @cached_property
    def digests(self) -> frozenset[bytes]:
        """Those of its links."""
        return frozenset(link.digest for link in self.links)

    @property
    def opening(self) -> int:
        """How many links it begins with that are no talk: settings, tools, the system prompt."""
        return next((at for at, link in enumerate(self.links) if link.role not in BEFORE), len(self.links))


Known = Callable[[bytes], Link | None]
"""Finds a link that was made before, by its digest."""


def digest(data: Buffer) -> bytes:
    """The keyed hash of something short."""
    return blake2b(data, key=_KEY, digest_size=16).digest()


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
        if at:
            yield
        whole.update(view[at : at + STEP])


def _starts(smallest: int) -> tuple[int, ...]:
    found = [0]
    while found[-1] < _LONGEST:
        found.append(found[-1] + max(smallest, found[-1] // 8 // smallest * smallest))
    return tuple(found)


_STARTS = {smallest: _starts(smallest) for smallest in (SMALL_BLOCK, TEXT_BLOCK)}


def bounds(size: int, smallest: int) -> tuple[int, ...]:
    """Where the blocks of a text begin, and its end: small ones first, then an eighth of what came before."""
    starts = _STARTS[smallest]
    return (*starts[: max(bisect_left(starts, size), 1)], size)


def read_prompt(body: JsonBody, edits: bytes, guesses: Sequence[Prompt], known: Known) -> Steps[Prompt | None]:
    """Read a body; None if it has no prompt that can be followed, or that is worth it.

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
    settings = [b"%s:%s" % (name.encode(), raw) for name in SETTINGS if (raw := body.raw(name)) is not None]
    cached = body.raw("cache_prompt") != b"false"
    messages = next((raw for name in ("messages", "input") if (raw := body.raw(name)) is not None), None)
    if messages is None:
        text = body.raw("prompt")
        if text is None or len(text) < WORTH:
            return None
        return Prompt((yield from _text(text, edits, settings)), b"", size=len(text), cached=cached)
    before = [(name, raw) for name in ("tools", "system", "instructions") if (raw := body.raw(name)) is not None]
    size = len(messages) + sum(len(raw) for _, raw in before)
    if size < WORTH:
        return None
    head = edits
    if settings or before:
        hashes = [b"%d" % len(settings), edits, *settings]
        for name, raw in before:
            hashes += (name.encode(), (yield from long_digest(raw)))
        head = digest(b",".join(hashes))
    length = _length(messages)
    for guess in guesses:
        if guess.head == head and 0 < guess.length <= length and guess.first < len(guess.links) < MOST:
            grown = yield from _grown(guess, messages, length, known)
            if grown is not None:
                links, written = grown
                return Prompt(links, head, length, written, guess.first, size, cached)
    new = _settings(edits, settings, known)
    for name, raw in before:
        each = (yield from elements(raw)) if name == "tools" and raw[:1] == b"[" else [raw]
        yield from _add(new, each, known, "tool definition" if name == "tools" else "system")
    first = len(new)
    yield from _add(new, (yield from elements(messages)) if length else [messages], known)
    written = (yield from long_digest(memoryview(messages)[:length])) if length else b""
    return Prompt(tuple(new), head, length, written, first, size, cached)


def _length(messages: Buffer) -> int:
    """Bytes of an array without its end; 0: it is none."""
    if messages[:1] != b"[":
        return 0
    end = len(messages) - 1
    while bytes(messages[end - 1 : end]).isspace():
        end -= 1
    return end


def _grown(guess: Prompt, messages: Buffer, length: int, known: Known) -> Steps[tuple[tuple[Link, ...], bytes] | None]:
    """The links of messages that begin as those of `guess` do, byte for byte, and the hash of how they are written."""
    view, whole = memoryview(messages), blake2b(key=_KEY, digest_size=16)
    yield from _feed(whole, view[: guess.length])
    if whole.digest() != guess.written:
        return None
    yield from _feed(whole, view[guess.length : length])
    links, rest = [*guess.links], bytes(view[guess.length :]).strip()
    if rest != b"]":
        yield from _add(links, (yield from elements(b"[" + rest.removeprefix(b","))), known)
    return tuple(links), whole.digest()


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
    bare = digest(b"%s,%d,%s%s" % (role.encode(), len(text), text, rest))
    whole = digest(bare + reasoning) if reasoning else bare
    link = known(whole)
    if link is None:
        blocks = _blocks(text) if len(text) >= LONG or role in BEFORE else b""
        link = Link(whole, bare, role, len(text), len(rest) + len(reasoning), blocks)
    return link


def _blocks(text: Buffer) -> bytes:
    """Hash a text's blocks. Many are needed, so this is Python's SipHash, a tenth of BLAKE2's price for so few bytes.

    It begins with our own key, as PYTHONHASHSEED may have taken away Python's.
    """
    ends, data = bounds(len(text), SMALL_BLOCK), bytes(text)
    return array("q", [hash(_KEY + data[begin:end]) for begin, end in pairwise(ends)]).tobytes() if data else b""


def _text(raw: Buffer, edits: bytes, settings: Sequence[bytes]) -> Steps[tuple[Link, ...]]:
    """A prompt that is one text, or an array of tokens: in blocks, so that nothing need be decoded."""
    view, links = memoryview(raw)[:-1], _settings(edits, settings, lambda _: None)
    ends = bounds(len(view), TEXT_BLOCK)
    for begin, end in pairwise(ends):
        each = yield from long_digest(view[begin:end])
        links.append(Link(each, each, "text", end - begin))
    return tuple(links)
