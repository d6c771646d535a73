"""Requests that wait, taken in turns between their clients: a batch of 500 doesn't hold up a chat.

Every operation takes the same time however many wait, except the start of a wait (`add` to an empty line), which looks
at all that are being served.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What waits, usually a request. Compared by identity, even if its values are equal."""

    @property
    def client(self) -> str:
        """Whose it is."""


T = TypeVar("T", bound=Waiting)


class Turns(Generic[T]):
    """A line with a place for each client in each round.

    In one round every client has one turn at most. A client that comes during a round still gets its turn in it, unless
    it has had one, or was being served when the wait began. So the first request of a client waits for at most one turn
    of each other client.

    Attributes:
        all: All of them, as they came; only to be read.
    """

    def __init__(self, served: Callable[[], Iterable[T]] = tuple) -> None:
        """`served` returns those being served: they have had their turn when others begin to wait."""
        self._served = served
        self.all: OrderedDict[T, None] = OrderedDict()  # a plain dict's first item takes ever longer to find
        self._now: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()  # clients with a turn in this round
        self._next: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        self._had: set[str] = set()

    def __len__(self) -> int:
        return len(self.all)

    def __iter__(self) -> Iterator[T]:
        """All of them, in the order in which they came."""
        return iter(self.all)

    def __contains__(self, one: object) -> bool:
        return one in self.all

    @property
    def first(self) -> T:
        """The one that came first. Raises StopIteration if there is none."""
        return next(iter(self.all))

    def of(self, client: str) -> int:
        """How many of a client wait."""
        return len(self._now.get(client) or self._next.get(client) or ())

    def add(self, one: T) -> None:
        """Let one wait, behind those of its client."""
        if not self.all:
            self._had = {each.client for each in self._served()}
        self.all[one] = None
        line = self._now.get(one.client) or self._next.get(one.client)
        if line is None:
            line = (self._next if one.client in self._had else self._now)[one.client] = OrderedDict()
        line[one] = None

    def take(self) -> T:
        """Remove the one whose turn it is, and return it. Raises KeyError if none waits."""
        if not self._now:
            self._now, self._next = self._next, self._now
            self._had.clear()
        client, line = self._now.popitem(last=False)
        one, _ = line.popitem(last=False)
        del self.all[one]
        self._had.add(client)
        if line:
            self._next[client] = line
        self._forget_if_over()
        return one

    def remove(self, one: T) -> None:
        """Forget one that waits no longer. Raises KeyError if it doesn't wait."""
        del self.all[one]
        place = self._now if one.client in self._now else self._next
        line = place[one.client]
        del line[one]
        if not line:
            del place[one.client]
        self._forget_if_over()

    def _forget_if_over(self) -> None:
        if not self.all:
            self._had.clear()  # names of clients that may never come again

    def take_all(self) -> Iterator[T]:
        """Remove them one by one, in the order in which they came."""
        while self.all:
            one = self.first
            self.remove(one)
            yield one
