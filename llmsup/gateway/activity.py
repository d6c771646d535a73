"""Which requests engines are working on, and the last ones that they have answered.

Neither requests' bodies nor answers are kept.
"""

from __future__ import annotations

import time
from collections import deque
from itertools import islice

import trio
from attrs import frozen

from ..process.watched import Watched
from .message import RequestHead

KEPT = 1000
"""How many finished requests are remembered."""


@frozen(eq=False)
class Record:
    """One request to an engine.

    Attributes:
        number: Counted from 1 since llmsup started.
        at: When it came, in Unix seconds.
        client: The address that it came from.
        status: Of the answer; 0: there is none yet, or the client left before.
        content_type: Of the answer; "" as long as there is none.
        seconds: How long it took; None: it isn't over.
        trouble: Why it has no whole answer; "" if it has one.
    """

    number: int
    at: float
    method: str
    path: str
    model: str
    client: str
    status: int = 0
    content_type: str = ""
    seconds: float | None = None
    trouble: str = ""


class Activity(Watched):
    """All of them. Announces when one begins or ends.

    Every request is noted, and hardly anybody ever looks: records are only made for who does.

    Attributes:
        finished: How many are over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.finished = 0
        self._begun = 0
        self._in_flight: dict[int, tuple[float, str, str, str, str]] = {}  # since when (trio time), and what
        self._done: deque[tuple[int, float, str, str, str, str, int, str, float, str]] = deque(maxlen=KEPT)  # a Record

    def began(self, head: RequestHead, model: str, now: float) -> int:
        """Note that a request, which came `now` (trio time), has found its model; returns its number."""
        number = self._begun = self._begun + 1
        self._in_flight[number] = (now, head.method, head.path[:200], model, head.client)
        self.notify()
        return number

    def ended(self, number: int, now: float, status: int, content_type: str, trouble: str) -> None:
        """Note that it is over, `now` in trio time."""
        began, method, path, model, client = self._in_flight.pop(number)
        seconds = now - began
        at = time.time() - seconds
        self._done.append((number, at, method, path, model, client, status, content_type, seconds, trouble))
        self.finished += 1
        self.notify()

    def in_flight(self) -> dict[int, Record]:
        """Those that aren't over, by number."""
        then = time.time() - trio.current_time()
        return {
            number: Record(number, then + began, method, path, model, client)
            for number, (began, method, path, model, client) in self._in_flight.items()
        }

    def done(self, seen: int = 0) -> list[Record]:
        """Those that are over, but for the first `seen`, in the order in which they ended; the last `KEPT` at most."""
        new = min(self.finished - seen, len(self._done))
        return [Record(*each) for each in islice(self._done, len(self._done) - new, None)]
