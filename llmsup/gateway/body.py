"""A JSON body whose members can be found and edited without touching the rest.

What the members mean, and which to change, is decided in `edits`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
import trio

from ..config.wording import told
from ..engines.http import Buffer, Payload
from ..errors import BadRequest, InvalidJson
from ..units import format_bytes
from .outline import MAX_MEMBERS, UNPAIRED, Outline, plainly

AT_ONCE = 262144
"""Bytes that are parsed in one go, which takes a few milliseconds at most, whatever they contain. A larger body is
parsed in steps, and a single larger value isn't decoded at all: none that llmsup looks at is that large."""

BOM = b"\xef\xbb\xbf"

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_SURROGATES = re.compile(rb"\\(?:(u[dD][89abAB]..\\u[dD][c-fC-F]..)|(u[dD][89a-fA-F]..)|.)", re.DOTALL)

Turn = trio.Lock
"""Held while parsing a step of a large body: one for all bodies, so that many take no more time than one."""


class JsonBody:
    """A JSON object.

    Its top level is split once. Members are decoded only on demand, and those that aren't changed keep their bytes.
    """

    def __init__(self, data: Buffer, members: Mapping[str, Buffer] | None = None) -> None:
        """`members`: the values' bytes, if they have already been found. Raises InvalidJson."""
        if members is None:
            data = bytes(data).removeprefix(BOM)  # RFC 8259, 8.1: a parser may ignore it
            members = _split(data)
        self._data = data
        self._members = members

    @classmethod
    def of(cls, members: Mapping[str, Buffer]) -> JsonBody:
        """Make a body of members whose values are already JSON."""
        return cls(b"", members)

    def raw(self, name: str) -> Buffer | None:
        """Return a member's value as JSON, however large; None if there is no such member."""
        return self._members.get(name)

    def get(self, name: str) -> Any:
        """Return a member's value, or None; a number too large for a float is infinite.

        Raises:
            InvalidJson: The value is malformed; members are decoded only now.
        """
        if name not in self._members:
            return None
        value = self._members[name]
        if len(value) > AT_ONCE:
            size = format_bytes(len(value))
            raise InvalidJson(f"`{name}` is too large to be looked into: {size}.", param=name)
        try:
            return msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if _NUMBER.fullmatch(value):  # valid JSON; its grammar doesn't limit numbers
                return -math.inf if value[:1] == b"-" else math.inf
            raise InvalidJson(f"The body's {name!r} can't be read: {plainly(error)}.", param=name) from None

    def flag(self, name: str, *, default: bool) -> bool:
        """Return a boolean member; null counts as not given. Raises BadRequest if it is anything else."""
        value = self.get(name)
        if not isinstance(value, bool | None):
            raise BadRequest(f"`{name}` must be true or false, not {written(value)}.", param=name)
        return default if value is None else value

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def has_none_of(self, names: frozenset[str]) -> bool:
        """Tell whether none of these is a member's name."""
        return names.isdisjoint(self._members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def sets(self, name: str) -> bool:
        """Tell whether the client set a member; as for llama-server, null means the default."""
        return self._members.get(name, b"null") != b"null"

    def also(self, name: str, value: Any) -> JsonBody:
        """Return a body with one more member, or another value of it."""
        return JsonBody.of({**self._members, name: msgspec.json.encode(value)})

    def edited(self, changes: Mapping[str, Any]) -> Payload:
        """Return the body with members replaced or added, or, where the change is None, removed."""
        if not changes and self._data:
            return self._data
        encode = msgspec.json.encode
        new = {name: encode(value) for name, value in changes.items() if value is not None}
        kept = {name: value for name, value in self._members.items() if name not in changes or name in new}
        pieces: list[Buffer] = [b"{"]
        for name, value in {**kept, **new}.items():
            pieces += (b"%s:" % encode(name) if len(pieces) == 1 else b",%s:" % encode(name), value)
        pieces.append(b"}")
        return _joined(pieces)


def written(value: Any) -> str:
    """Describe a member's value for an error message: "null", "an object", "a string 'x'"."""
    if isinstance(value, float) and math.isinf(value):
        return "a number so large"
    return told(value, "an object")


async def read_json(data: Buffer, turn: Turn) -> JsonBody:
    """Parse a body; a large one in steps, between which other tasks run. Raises InvalidJson."""
    if len(data) <= AT_ONCE:
        return JsonBody(data)
    view = memoryview(data)
    if view[:3] == BOM:
        view = view[3:]
    outline = Outline(view)
    await in_turns(outline.step, turn)
    return JsonBody(view, {name: view[begin:end] for name, (begin, end) in outline.members.items()})


async def in_turns(step: Callable[[], bool], turn: Turn) -> None:
    """Take steps until there are no more, letting every other runnable task run before each one."""
    more = True
    while more:
        async with turn:  # fair, and a checkpoint
            more = step()


def _split(data: bytes) -> dict[str, Buffer]:
    try:
        members = _OBJECT.decode(data)
    except msgspec.ValidationError as error:
        raise InvalidJson(f"The body must be a JSON object: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJson(_why(data, plainly(error))) from None
    except RecursionError:
        raise InvalidJson("The body is not JSON: it nests too deeply.") from None
    if len(members) > MAX_MEMBERS:
        raise InvalidJson(f"The body has more than {MAX_MEMBERS:,} members at its top level.")
    return {name: bytes(value) for name, value in members.items()}


def _why(data: bytes, error: str) -> str:
    """Say what is wrong with a body, rewording msgspec's messages where they mislead."""
    if not data.strip():
        return "The body is empty: a JSON object is wanted."
    if "truncated" in error or "surrogate" in error:
        lone = next((m[2] for m in _SURROGATES.finditer(data) if m[2]), None)
        if lone is not None:
            half = UNPAIRED.format("\\" + lone.decode("ascii", "replace"))
            return f"The body is not JSON: {half}."
        return f"The body is not JSON: {error.replace('Input data was truncated', 'it ends too early')}."
    return f"The body is not JSON: {error.removeprefix('JSON is malformed: ')}."


def _joined(pieces: Iterable[Buffer]) -> Payload:
    """Join the small pieces; large ones are not copied."""
    out: list[Buffer] = []
    small: list[Buffer] = []
    for piece in pieces:
        if len(piece) > AT_ONCE:
            out += (b"".join(small), piece)
            small = []
        else:
            small.append(piece)
    out.append(b"".join(small))
    return out[0] if len(out) == 1 else tuple(out)
