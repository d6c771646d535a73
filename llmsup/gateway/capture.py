"""What was asked and answered, of models with `capture = true`: the beginnings of the last ones, in memory only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from ..engines.http import Payload
from .metering import Meter

MOST = 100
"""How many requests are kept, of all models together."""

MOST_BYTES = 8 * 1024**2
"""How much of them, in bytes."""

LONGEST = 256 * 1024
"""How much of one body, in bytes; the rest of it is left out."""


class Captured:
    """One request and its answer, as the engine got the one and gave the other."""

    def __init__(self) -> None:
        self._request, self._left_out = b"", 0
        self._answer, self._more = bytearray(), 0

    def asked(self, body: Payload) -> None:
        """Note the request's body; a second engine gets it if the first one dies."""
        parts = body if isinstance(body, list | tuple) else (body,)
        self._request = b"".join([bytes(part[:LONGEST]) for part in parts])[:LONGEST]
        self._left_out = sum(map(len, parts)) - len(self._request)

    def saw(self, data: bytes) -> None:
        """Note the answer's next bytes."""
        taken = data[: LONGEST - len(self._answer)]
        self._answer += taken
        self._more += len(data) - len(taken)

    @property
    def size(self) -> int:
        """Bytes that are kept of both."""
        return len(self._request) + len(self._answer)

    @property
    def request(self) -> str:
        """The request's body, as text; "" if no engine got it."""
        return _text(self._request, self._left_out)

    @property
    def answer(self) -> str:
        """The answer's body, as text."""
        return _text(bytes(self._answer), self._more)


def _text(data: bytes, left_out: int) -> str:
    text = data.decode("utf-8", "replace")
    return f"{text}\n[... and {left_out:,} bytes more]" if left_out else text


class CapturingMeter(Meter):
    """A meter that keeps what it reads."""

    __slots__ = ("captured",)

    def __init__(self, now: Callable[[], float], captured: Captured) -> None:
        super().__init__(now)
        self.captured = captured

    def saw(self, data: bytes) -> None:
        """Note the answer's next bytes."""
        super().saw(data)
        self.captured.saw(data)


class Captures:
    """The last ones, by the numbers of their requests. The oldest go when there are too many, or they are too large."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Captured] = OrderedDict()
        self._size = 0

    def __contains__(self, number: int) -> bool:
        return number in self._kept

    def add(self, number: int, captured: Captured) -> None:
        """Keep one, whose answer is over."""
        self._kept[number] = captured
        self._size += captured.size
        while len(self._kept) > MOST or self._size > MOST_BYTES:
            _, gone = self._kept.popitem(last=False)
            self._size -= gone.size

    def get(self, number: int) -> Captured | None:
        """Return one; None if it isn't there, or not any more."""
        return self._kept.get(number)
