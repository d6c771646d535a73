"""What `/prompt-cache` takes and gives, what is said of one model's conversations, and the event `prompt_cache`."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from ...prompt_cache.ability import Word
from .control import Name


class Able(TypedDict):
    """Whether a model's conversations survive an unload.

    Attributes:
        able: "exact": only those that go on exactly where they were gain by it.
        reason: Why it isn't "yes".
    """

    able: Word
    reason: str | None


class Kept(Able):
    """What is kept of a model's conversations, and what came of it since llmsup started.

    Attributes:
        saved: How many are on the disk.
        tokens: How many they have together.
        cold: Why they began anew after the last load.
        restores: How many an engine was given back.
        hits: How many went on where they were.
        misses: How many were computed anew though they fitted.
        seconds_saved: How long computing would have taken, less what restoring took.
    """

    saved: int
    tokens: int
    bytes: int
    cold: str | None
    restores: int
    hits: int
    misses: int
    tokens_saved: int
    seconds_saved: float


class Entry(TypedDict):
    """One conversation on the disk.

    Attributes:
        used_at: When it was last restored or saved.
    """

    model: str
    tokens: int
    bytes: int
    saved_at: float
    used_at: float


class PromptCache(TypedDict):
    """All of them, the most recently used first.

    Attributes:
        off: Why nothing is kept; null: it is.
        disk_bytes: How much may be kept.
        writes_per_day_bytes: How much may be written in a day (UTC).
    """

    directory: str
    off: str | None
    bytes: int
    disk_bytes: int
    written_today_bytes: int
    writes_per_day_bytes: int
    entries: list[Entry]


class Clear(TypedDict):
    """Whose conversations to remove; without a model, all."""

    model: NotRequired[Name | None]


class Cleared(TypedDict):
    """They are removed.

    Attributes:
        cleared: How many.
        off: Why nothing is kept anyway.
    """

    success: Literal[True]
    cleared: int
    freed_bytes: int
    off: str | None


class Moved(TypedDict):
    """Something became of a model's conversations.

    Attributes:
        what: Saved; restored; cold: they begin anew; off: they are no longer kept.
        slots: How many, of those that were restored.
        reason: Why they are cold, or off.
    """

    model: str
    what: Literal["saved", "restored", "cold", "off"]
    slots: NotRequired[int]
    tokens: NotRequired[int]
    bytes: NotRequired[int]
    seconds: NotRequired[float]
    reason: NotRequired[str]
