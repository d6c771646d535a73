"""Which requests engines are working on, and the last ones that they have answered.

Neither requests' bodies nor answers are kept, but for models with `capture = true` (`capture`).
"""

from __future__ import annotations

import time
from collections import deque
from itertools import islice

import trio
from attrs import frozen

from ..process.watched import Watched
from .capture import Captures, CapturingMeter
from .message import RequestHead
from .metering import Counts, Meter

KEPT = 1000
"""How many finished requests are remembered."""

_Done = tuple[
    int, float, str, str, str, str, int, str, float, str, str, float, float | None, Meter | None
]  # the members of a Record


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
        key: The name of the client's key; "" if there is none to tell it by.
        waited: Seconds that it waited for its model.
        first: Seconds from its arrival to its answer's first bytes; None if there were none.
        meter: Has read its answer; None for those that only looked at a model.
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
    key: str = ""
    waited: float = 0.0
    first: float | None = None
    meter: Meter | None = None

    @property
    def counts(self) -> Counts:
        """What its answer tells of tokens."""
        return Counts() if self.meter is None else self.meter.counts()

    @property
    def first_token(self) -> float | None:
        """Seconds from its arrival to its first token: seen in a stream, else by what the engine says that the tokens
        took; None if neither is known.
        """
        if self.meter is None or self.first is None or self.seconds is None:
            return None
        if self.meter.streams:
            return self.first
        generating = self.counts.generating
        return None if generating is None else max(self.first - generating, 0.0)

    @property
    def tokens_per_second(self) -> float | None:
        """How fast its answer's tokens came, once they did; None if that isn't known."""
        counts = self.counts
        if not counts.tokens_out or self.seconds is None:
            return None
        if not (spent := counts.generating):
            spent = self.seconds - self.first if self.meter and self.meter.streams and self.first is not None else None
        return counts.tokens_out / spent if spent else None


class Activity(Watched):
    """All of them. Announces when one begins or ends.

    Every request is noted, and hardly anybody ever looks: records are only made for who does.

    Attributes:
        finished: How many are over.
        began_at: When it began to count, in Unix seconds.
        captures: What was asked and answered, where that is wanted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.finished = 0
        self.began_at = time.time()
        self.captures = Captures()
        self._begun = 0
        self._in_flight: dict[int, tuple[float, str, str, str, str]] = {}  # since when (trio time), and what
        self._done: deque[_Done] = deque(maxlen=KEPT)

    def began(self, head: RequestHead, model: str, now: float) -> int:
        """Note that a request, which came `now` (trio time), has found its model; returns its number."""
        number = self._begun = self._begun + 1
        self._in_flight[number] = (now, head.method, head.path[:200], model, head.client)
        self.notify()
        return number

    def ended(
        self,
        number: int,
        now: float,
        status: int,
        content_type: str,
        trouble: str,
        key: str = "",
        waited: float | None = 0.0,
        meter: Meter | None = None,
    ) -> None:
        """Note that it is over, `now` in trio time. `waited`: as in `Record`; None: all the time."""
        began, method, path, model, client = self._in_flight.pop(number)
        seconds = now - began
        first = None if meter is None or meter.first is None else meter.first - began
        waited = seconds if waited is None else waited
        at = time.time() - seconds
        record = (number, at, method, path, model, client, status, content_type, seconds, trouble)
        self._done.append((*record, key, waited, first, meter))
        if isinstance(meter, CapturingMeter):
            self.captures.add(number, meter.captured)
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
