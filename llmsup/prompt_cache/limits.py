"""What may be written now: by the budgets of the config, and by what the disk has left."""

from __future__ import annotations

from ..config.schema import PromptCacheSpec
from ..units import Bytes, format_bytes
from .store import Store

HEADROOM = Bytes(1024**3)
"""Bytes that stay free on the disk: others need it more than a cache does."""

IDLE_SHARE = 0.5
"""How much of a day's writes may be spent on conversations that nobody is about to end."""

FIRST_GUESS = 1e9
"""Bytes a second that an engine is expected to write before any was measured: less than the disk of any Mac since 2016
does, so that a long conversation (32,000 tokens of an 8B model are 4 GiB) is tried. Where it is too much, the save is
given up at its deadline, and then the rate is known better.
"""

SLOWEST = 50e6
"""Bytes a second that any disk is taken to write: what gave up may have waited for something else than the disk."""


def over_budget(store: Store, spec: PromptCacheSpec, size: int, *, idle: bool) -> str:
    """Return why the config doesn't let so many bytes be written now, a clause; "" if it does.

    Args:
        idle: Nothing is about to end: it could be saved later, too.
    """
    if size > spec.disk:
        return f"it takes {format_bytes(size)}, and [prompt_cache] disk is {format_bytes(spec.disk)}"
    most = spec.writes_per_day * (IDLE_SHARE if idle else 1)
    if store.written + size > most:
        written = format_bytes(store.written)
        return f"{written} were written today, and [prompt_cache] writes_per_day is {format_bytes(spec.writes_per_day)}"
    return ""


def refuses(store: Store, spec: PromptCacheSpec, size: int, *, idle: bool) -> str:
    """Return why so many bytes may not be written now, by budget and by disk, at which this looks; "" if they may. See
    `over_budget`.
    """
    if why := over_budget(store, spec, size, idle=idle):
        return why
    try:
        free = store.free
    except OSError as error:
        return f"{store.directory} can't be used any more: {error.strerror or error}"
    return f"its disk has only {format_bytes(Bytes(free))} left" if free < size + HEADROOM else ""


class Rate:
    """How fast engines write, in bytes a second: the last time counts half."""

    def __init__(self) -> None:
        self._rate = FIRST_GUESS

    def saw(self, size: int, seconds: float) -> None:
        """Note a file. Small ones say nothing."""
        if size > 1024**2 and seconds > 0:
            self._rate = (self._rate + size / seconds) / 2

    def gave_up(self, size: int, seconds: float) -> None:
        """Note what was not written in that time: none as large is tried again in it, if `SLOWEST` is too slow."""
        if seconds >= 1:  # else somebody else was in a hurry
            self._rate = max(SLOWEST, min(self._rate, size / seconds / 2))

    def seconds(self, size: int) -> float:
        """How long a file of that size will take."""
        return size / self._rate
