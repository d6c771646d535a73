"""The outline of a large JSON object: where its members are, found a little at a time.

A decoder in C parses a large body in one go and holds the GIL throughout, in whichever thread: 256 MiB stop every
stream for 0.2 s, millions of small members for seconds. This one takes steps of about a millisecond, so that its caller
can let other tasks run in between. Apart from its limits, it accepts and refuses exactly what msgspec does (a test
compares them).
"""

from __future__ import annotations

import re

import msgspec

from ..engines.http import Buffer
from ..errors import InvalidJson

MAX_MEMBERS = 10_000
"""The most members at the top level. A request has a few dozen; each costs memory, and time in every edit."""

MAX_VALUES = 1_000_000
"""The most strings, arrays and objects in one body: the longest list of texts for an embedding model has fewer."""

MAX_DEPTH = 900
"""The deepest nesting, about the same as msgspec's."""

WINDOW = 65536
"""Bytes that one search covers. No number, member name or run of white space may be longer."""

STEP = 4 * WINDOW
"""Bytes that one step covers, counting each value as `VALUE` more."""

VALUE = 512

Span = tuple[int, int]


def plainly(error: Exception) -> str:
    """Say why a decoder refuses something. Python's words for bytes that are no text mean nothing to a client."""
    return "a text in it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


_HEX = rb"[0-9a-fA-F]"
_PAIR = rb"\\u[dD][89abAB]%s{2}\\u[dD][c-fC-F]%s{2}" % (_HEX, _HEX)
_CHARACTER = rb"\\u(?:[0-9a-ce-fA-CE-F]%s{3}|[dD][0-7]%s{2})" % (_HEX, _HEX)
# No group repeats possessively: Python 3.11.0 to 3.11.4 match those wrongly (CPython gh-106052). Nothing here can match
# in two ways, so possessive groups would only save memory, which the window bounds anyway.
_INSIDE = rb'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|%s|%s)*' % (_CHARACTER, _PAIR)
_WHITE = rb"[ \t\n\r]*+"
_WORD = rb"(?:-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?|true|false|null)"

_SPACE = re.compile(_WHITE)
_STRING = re.compile(rb'"%s"' % _INSIDE)
_TEXT = re.compile(_INSIDE)
_SCALAR = re.compile(_WORD)
_SCALARS = re.compile(rb"(?:%s%s%s,)*" % (_WHITE, _WORD, _WHITE))  # tokens may be arrays of millions of numbers
_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")

UNPAIRED = "{} is half of a surrogate pair, as of an emoji that was cut in two"

_BEGIN, _INSIDE_TEXT, _AFTER, _DONE = range(4)
_QUOTE, _COMMA, _COLON, _OBJECT, _ARRAY, _END_OBJECT, _END_ARRAY = b'",:{[}]'


class Outline:
    """One pass over one object.

    Attributes:
        members: The byte offsets at which each member's value begins and ends; for a repeated name, the last one's.
    """

    def __init__(self, data: Buffer) -> None:
        self.members: dict[str, Span] = {}
        self._data = data
        self._size = len(data)
        self._pos = 0
        self._stack: list[int] = []  # the closing brackets still to come
        self._name: str | None = None  # of the current member
        self._begin = 0
        self._values = 0
        self._state = _BEGIN

    def step(self) -> bool:
        """Continue for about a millisecond; returns whether there is more to do.

        Raises:
            InvalidJson: It is not a JSON object, or it exceeds a limit.
        """
        stop = self._pos + VALUE * self._values + STEP
        while self._state != _DONE and self._pos + VALUE * self._values < stop:
            if self._state == _BEGIN:
                self._value()
            elif self._state == _AFTER:
                self._after()
            else:
                self._text()
        return self._state != _DONE

    def _value(self) -> None:
        if self._stack and self._stack[-1] == _END_ARRAY:
            run = self._match(_SCALARS)
            if run > WINDOW // 2:
                return  # more of the same
        self._match(_SPACE)
        first = self._next()
        if first in (_OBJECT, _ARRAY):
            self._open(_END_OBJECT if first == _OBJECT else _END_ARRAY)
        elif not self._stack:
            raise InvalidJson("The body must be a JSON object.")
        elif first == _QUOTE:
            self._count()
            self._state = _AFTER
            if not self._match(_STRING):  # a long or malformed one
                self._pos += 1
                self._state = _INSIDE_TEXT
        else:
            if not 0 < self._match(_SCALAR) < WINDOW:
                raise self._error("no value, or none that is one")
            self._state = _AFTER

    def _text(self) -> None:
        length = self._match(_TEXT)
        if self._next() == _QUOTE:
            self._pos += 1
            self._state = _AFTER
        elif not length:
            raise self._broken_text()

    def _open(self, closer: int) -> None:
        if not self._stack and closer == _END_ARRAY:
            raise InvalidJson("The body must be a JSON object, not an array.")
        self._count()
        self._pos += 1
        self._stack.append(closer)
        if len(self._stack) > MAX_DEPTH:
            raise self._error("it nests too deeply")
        self._match(_SPACE)
        if self._next() == closer:
            self._state = _AFTER
        elif closer == _END_OBJECT:
            self._key()

    def _key(self) -> None:
        """Consume a member's name and its colon; its value comes next."""
        self._match(_SPACE)
        begin = self._pos
        if not self._match(_STRING):
            raise self._broken_text() if self._next() == _QUOTE else self._error("a member's name is missing")
        end = self._pos
        self._match(_SPACE)
        if self._next() != _COLON:
            raise self._error("a colon is missing")
        self._pos += 1
        self._count()
        self._state = _BEGIN
        if len(self._stack) == 1:
            try:
                self._name = msgspec.json.decode(self._data[begin:end], type=str)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self._error(f"a member's name can't be read: {plainly(error)}") from None
            self._match(_SPACE)
            self._begin = self._pos

    def _after(self) -> None:
        """Continue after a complete value, or an empty object or array."""
        if len(self._stack) == 1 and self._name is not None:
            self.members[self._name] = (self._begin, self._pos)
            self._name = None
            if len(self.members) > MAX_MEMBERS:
                raise InvalidJson(f"The body has more than {MAX_MEMBERS:,} members at its top level.")
        self._match(_SPACE)
        after, closer = self._next(), self._stack[-1]
        if after == closer:
            self._pos += 1
            self._stack.pop()
            if not self._stack:
                self._finish()
        elif after == _COMMA:
            self._pos += 1
            self._state = _BEGIN
            if closer == _END_OBJECT:
                self._key()
        else:
            raise self._error("a comma or a closing bracket is missing")

    def _finish(self) -> None:
        self._match(_SPACE)
        if self._pos < self._size:
            raise self._error("something follows the object")
        self._state = _DONE

    def _match(self, pattern: re.Pattern[bytes]) -> int:
        """Move past a match at this position; returns its length."""
        match = pattern.match(self._data, self._pos, self._pos + WINDOW)
        if match is None:
            return 0
        begin, self._pos = match.span()
        return self._pos - begin

    def _next(self) -> int:
        """Return the next byte; at the end 0, which never occurs in JSON."""
        return self._data[self._pos] if self._pos < self._size else 0

    def _count(self) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise InvalidJson(f"The body has more than {MAX_VALUES:,} strings, arrays and objects.")

    def _broken_text(self) -> InvalidJson:
        here = bytes(self._data[self._pos : self._pos + 6])
        if _ESCAPE.match(here):
            return self._error(UNPAIRED.format(here.decode("ascii", "replace")))
        return self._error("a string is broken here, or a member's name is very long")

    def _error(self, what: str) -> InvalidJson:
        what = "it ends too early" if self._pos >= self._size else f"{what} (byte {self._pos})"
        return InvalidJson(f"The body is not JSON: {what}.")
