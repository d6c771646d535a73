"""Which requests engines are working on, and the last ones that they have answered.

Neither requests' bodies nor answers are kept.
"""

from __future__ import annotations

import time

import trio
from attrs import define

from ..process.ring import Ring
from ..process.watched import Watched
from .message import RequestHead

KEPT = 1000
"""How many finished requests are remembered."""


@define(eq=False)
class Record:
    """One request to an engine.

    Attributes:
        number: Counted from 1 since llmsup started.
        at: When it came to its model, in Unix seconds.
        client: The address that it came from.
        began: `at`, on trio's clock.
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
    began: float
    status: int = 0
    content_type: str = ""
    seconds: float | None = None
    trouble: str = ""


class Activity(Watched):
    """All of them. Announces when one begins or ends.

    Attributes:
        begun: How many there were.
        in_flight: Those that aren't over, by number.
        done: The last that are, in the order in which they ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0
        self.in_flight: dict[int, Record] = {}
        self.done: Ring[Record] = Ring(KEPT)

    def began(self, head: RequestHead, model: str) -> Record:
        """Note that a request has come to its model."""
        self.begun += 1
        record = Record(self.begun, time.time(), head.method, head.path[:200], model, head.client, trio.current_time())
        self.in_flight[record.number] = record
        self.notify()
        return record

    def ended(self, record: Record, status: int, trouble: str) -> None:
        """Note that it is over."""
        del self.in_flight[record.number]
        record.status = status
        record.seconds = trio.current_time() - record.began
        record.trouble = trouble
        self.done.add(record)
        self.notify()
