"""What each key has used since llmsup started, and whether it may have more."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

import trio
from attrs import Factory, define, field

from ..errors import RateLimited
from ..units import Seconds
from .keyring import Caller

MINUTE = Seconds(60)


@define(eq=False)
class Tally:
    """One key's use.

    Attributes:
        requests: Requests that were let in.
        refused: Requests that were refused for a limit of the key.
        tokens_in: Tokens of prompts, as engines reported them.
        tokens_out: Tokens of answers, likewise.
        unreported: Successful requests whose engine reported no tokens, or whose client left before that.
        seconds: Seconds from each request's beginning to its end, waiting included.
        in_flight: Requests in progress.
        last: When the last one began (Unix time), or None.
    """

    requests: int = 0
    refused: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    unreported: int = 0
    seconds: float = 0.0
    in_flight: int = 0
    last: float | None = None
    _recent: deque[float] = field(factory=deque, repr=False)  # when requests began, at most as many as are allowed

    def enter(self, caller: Caller) -> None:
        """Begin a request, which must `leave`.

        Raises:
            RateLimited: Its key has reached one of its limits.
        """
        if caller.max_in_flight and self.in_flight >= caller.max_in_flight:
            self.refused += 1
            raise RateLimited(
                f"The key {caller.name} has {self.in_flight} requests in flight, of at most {caller.max_in_flight} "
                "(max_in_flight).",
                retry_after=1,
            )
        if caller.requests_per_minute:
            self._check_rate(caller)
        self.requests += 1
        self.in_flight += 1
        self.last = time.time()

    def _check_rate(self, caller: Caller) -> None:
        now, most = trio.current_time(), caller.requests_per_minute
        while self._recent and (self._recent[0] <= now - MINUTE or len(self._recent) > most):
            self._recent.popleft()
        if len(self._recent) >= most:
            self.refused += 1
            raise RateLimited(
                f"The key {caller.name} may make {most} requests a minute (requests_per_minute).",
                retry_after=self._recent[0] + MINUTE - now,
            )
        self._recent.append(now)

    def leave(self, seconds: float, tokens: tuple[int, int] | None, *, good: bool) -> None:
        """End a request.

        Args:
            seconds: How long it took.
            tokens: How many it had in and out; None if that isn't known.
            good: Whether it got an answer rather than an error.
        """
        self.in_flight -= 1
        self.seconds += seconds
        if tokens is not None:
            self.tokens_in += tokens[0]
            self.tokens_out += tokens[1]
        elif good:
            self.unreported += 1


@define(eq=False)
class Usage:
    """All keys' use.

    Attributes:
        since: Since when it is counted (Unix time).
    """

    since: float = Factory(time.time)
    _tallies: dict[str, Tally] = Factory(dict)

    def of(self, name: str) -> Tally:
        """Return a key's tally, which is new if it has none."""
        tally = self._tallies.get(name)
        if tally is None:
            tally = self._tallies[name] = Tally()
        return tally

    def __iter__(self) -> Iterator[tuple[str, Tally]]:
        """Yield the keys that were used, by name; one that is no longer in the config stays until llmsup ends."""
        return iter(sorted(self._tallies.items()))
