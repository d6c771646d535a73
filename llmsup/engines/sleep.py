"""What puts an engine to sleep and wakes it: the requests for that, as its documentation has them.

Asleep, an engine keeps its process and gives its device's memory back. When that is done is up to the fleet.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory, frozen

HOST, NOTHING = 1, 2
"""The levels: the weights stay in the machine's own memory, or are dropped and read again."""


@frozen
class Call:
    """One request, which must be answered with status 200.

    Attributes:
        target: Path and query.
        body: JSON; b"" for none.
        says: Members that the answer must have; empty if its body doesn't matter.
    """

    method: str
    target: str
    body: bytes = b""
    says: Mapping[str, object] = Factory(dict)


@frozen
class Sleep:
    """How an engine is put to sleep and woken, by level; in both cases the requests are sent one after the other."""

    sleep: Mapping[int, tuple[Call, ...]]
    wake: Mapping[int, tuple[Call, ...]]
