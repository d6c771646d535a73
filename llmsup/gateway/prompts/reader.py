"""Bodies read as chains of hashes, in short steps. No text outlives the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec

from ...engines.http import Buffer
from ..body import JsonBody
from .hashing import TEXT_BLOCK, blocks_of, bounds, digest, feed, long_digest, new_hash
from .links import BEFORE, LONG, MOST, SETTINGS, WORTH, Link, Prompt
from .pieces import STEP, Piece, Steps, elements, piece_of

Known = Callable[[bytes], Link | None]
"""Finds a link that was made before, by its digest."""


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
    view, whole = memoryview(messages), new_hash()
    yield from feed(whole, view[: guess.length])
    if whole.digest() != guess.written:
        return None
    yield from feed(whole, view[guess.length : length])
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
        blocks = blocks_of(text) if len(text) >= LONG or role in BEFORE else b""
        link = Link(whole, bare, role, len(text), len(rest) + len(reasoning), blocks)
    return link


def _text(raw: Buffer, edits: bytes, settings: Sequence[bytes]) -> Steps[tuple[Link, ...]]:
    """A prompt that is one text, or an array of tokens: in blocks, so that nothing need be decoded."""
    view, links = memoryview(raw)[:-1], _settings(edits, settings, lambda _: None)
    ends = bounds(len(view), TEXT_BLOCK)
    for begin, end in pairwise(ends):
        each = yield from long_digest(view[begin:end])
        links.append(Link(each, each, "text", end - begin))
    return tuple(links)
