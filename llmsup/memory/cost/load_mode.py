"""Which way to load a model, by how fast its earlier loads were; and how long the next is going to take.

mmap and reading differ by a factor of up to ten, on one machine this way and on another that, so nothing is assumed:
each load is measured, and a slow one leads to one try of each other way. A load says something about the disk only
if little of the file was in the page cache before, so cold and warm ones are kept apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from attrs import Factory, evolve, frozen

from ...config.load_modes import LoadMode
from ...config.schema import GiB
from ...units import format_seconds

COLD, WARM = 0.25, 0.75
"""With at most this share of its file in the page cache before, a load is a cold one; with at least that, a warm one.
Those between say too little about either."""

SLOW_SECONDS = 2.0
"""A load that takes less isn't worth a try that may take longer."""

SLOW_RATE = 4.0 * GiB
"""Bytes a second: a load at this rate is near what fast drives give (5 to 14 GB/s), so there is little to win."""

MARGIN = 1.1
"""Another way is faster only by this factor: loads of the same kind differ by some percent."""

FROM_CACHE = 4.0 * GiB
"""Bytes a second at which weights come from the page cache, until a warm load was measured; the floor for a disk that
is faster."""


@frozen
class Load:
    """One measured load.

    Attributes:
        bytes: The size of its files.
        seconds: From the start of the engine until it was ready.
        cached: The share of them that was in the page cache before, 0 to 1; None if that couldn't be told.
    """

    bytes: int
    seconds: float
    cached: float | None = None

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.bytes / self.seconds


@frozen
class Loads:
    """What is known of a model's loads, by mode.

    Attributes:
        cold: The last cold load.
        warm: The last warm load.
        last: The mode of the last load; "" if there was none.
        tried: The modes that were tried, whatever became of that.
    """

    cold: Mapping[str, Load] = Factory(dict)
    warm: Mapping[str, Load] = Factory(dict)
    last: str = ""
    tried: tuple[str, ...] = ()

    def trying(self, mode: str) -> Loads:
        """Note that a mode is being tried: should the engine die of it, it isn't tried again."""
        return evolve(self, tried=(*self.tried, mode)) if mode not in self.tried else self

    def seen(self, mode: str, load: Load) -> Loads:
        """Include one more load."""
        seen = evolve(self, last=mode)
        if load.cached is None or COLD < load.cached < WARM:
            return seen
        if load.cached <= COLD:
            return evolve(seen, cold={**self.cold, mode: load})
        return evolve(seen, warm={**self.warm, mode: load})

    def believed(self, sound: Callable[[Load], bool]) -> Loads:
        """The same without loads that aren't sound."""
        kept = ({mode: load for mode, load in each.items() if sound(load)} for each in (self.cold, self.warm))
        cold, warm = kept
        return evolve(self, cold=cold, warm=warm)

    def expected(self, mode: str, cached: float) -> float | None:
        """Seconds that a load should take with this share of the file in the page cache; None if this way was never
        measured.
        """
        cold, warm = self.cold.get(mode), self.warm.get(mode)
        if cold is not None:
            assumed = cold.seconds if mode == "direct" else min(cold.seconds, cold.bytes / FROM_CACHE)
            return (1 - cached) * cold.seconds + cached * (warm.seconds if warm else assumed)
        if warm is not None:
            others = [other.seconds for other in self.cold.values()]
            assumed = max(warm.seconds, min(others, default=warm.bytes / (1.0 * GiB)))
            return (1 - cached) * assumed + cached * warm.seconds
        return None


@frozen
class Plan:
    """How one run of a model is loaded.

    Attributes:
        mode: As the engine was asked; "" if that is left to it, or to the user's own words.
        why: A clause for people; "" if there was no choice.
        cached: The share of its files that was in the page cache before; None if that couldn't be told.
        mapped: The bytes of its files that it should map rather than hold as its own.
        private: Nothing of its weights can be dropped: they are read, or locked.
        tries: It is a try of a way that wasn't measured yet, which is llmsup's idea.
    """

    mode: LoadMode | Literal[""] = ""
    why: str = ""
    cached: float | None = None
    mapped: int = 0
    private: bool = False
    tries: bool = False


@frozen
class Measured:
    """One load, with how it was done.

    Attributes:
        mode: "mmap", "read" or "direct"; "" if that isn't known.
    """

    load: Load
    mode: str = ""
    why: str = ""

    def __str__(self) -> str:
        """For people: "3.2 GB/s (mmap, 4% of its file was in the page cache)"."""
        how = [self.mode] if self.mode else []
        if self.load.cached is not None:
            how.append(f"{self.load.cached:.0%} of its file was in the page cache")
        return format_rate(self.load.rate) + (f" ({', '.join(how)})" if how else "")


@frozen
class Choice:
    """How to load a model this time.

    Attributes:
        mode: "" leaves it to the engine.
        why: A clause for people.
        tries: It is a try of a way that wasn't measured yet.
    """

    mode: LoadMode | Literal[""] = ""
    why: str = ""
    tries: bool = False


def choose(loads: Loads, able: Sequence[LoadMode], *, cached: float | None, room: bool) -> Choice:
    """How to load a model whose `load_mode` is "auto".

    Args:
        able: The modes that the engine's build can be asked for, its default first; empty if there is no choice.
        cached: The share of the file in the page cache now; None if that can't be told.
        room: Whether there is memory for weights of its own. Mapped weights the system may drop and read again; those
            that are read are private, and would have to be swapped out.
    """
    if not able:
        return Choice()
    if cached is None:
        return Choice("", "how much of its file is in the page cache can't be told here")
    if not room:
        return Choice(able[0], "there is no memory to spare for weights that the system can't drop")
    known = {mode: seconds for mode in able if (seconds := loads.expected(mode, cached)) is not None}
    if not known:
        return Choice("", "its engine's own way is measured first")
    best = min(known, key=lambda mode: known[mode] * (1.0 if mode == able[0] else MARGIN))
    if cached <= COLD and (load := loads.cold.get(best)) is not None and _slow(load):
        for mode in able:
            if mode not in loads.cold and mode not in loads.tried:
                return Choice(mode, f"its last cold load took {_told(load)} ({best}): this is tried once", tries=True)
    if len(known) == 1:
        return Choice(best, "another way was not worth a try")
    others = ", ".join(f"{mode} {format_seconds(known[mode])}" for mode in able if mode in known and mode != best)
    return Choice(best, f"it should take {format_seconds(known[best])} this way ({others})")


def _slow(load: Load) -> bool:
    return load.seconds >= SLOW_SECONDS and load.rate < SLOW_RATE


def _told(load: Load) -> str:
    return f"{format_seconds(load.seconds)} at {format_rate(load.rate)}"


def format_rate(rate: float) -> str:
    """A rate in bytes a second for people: "6.4 GB/s"."""
    return f"{rate / 1e9:.2g} GB/s" if rate < 10e9 else f"{rate / 1e9:.0f} GB/s"
