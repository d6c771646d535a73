"""Measured costs of models, in bytes and in seconds of load time, kept from one run of llmsup to the next.

The caller makes the keys, and so decides which loads count as alike.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
from attrs import evolve, field, frozen

from ...process.atomic import write_atomic
from ...process.kept import read_kept
from ...units import Bytes
from ..amounts import ZERO, Amounts
from .load_mode import Load, Loads
from .load_speed import Speed

FORMAT = 1
MOST = 2000
"""The most entries; beyond that the least recently seen are dropped."""

LARGEST_FILE = 4 * 1024**2
_ABSURD = 2**50
_ABSURD_SECONDS = 7 * 24 * 3600.0


@frozen
class _Seen:
    """What is known for one key, and when it was last seen; 0 where nothing is (older files have no load times)."""

    bytes: int
    at: float
    seconds: float = 0.0
    devices: dict[str, int] = field(factory=dict)
    loads: Loads = field(factory=Loads)

    def believed(self) -> _Seen:
        """The same without impossible values."""
        return _Seen(
            self.bytes if 0 < self.bytes < _ABSURD else 0,
            self.at,
            self.seconds if 0 < self.seconds < _ABSURD_SECONDS else 0.0,
            {pool: size for pool, size in self.devices.items() if 0 < size <= self.bytes},
            self.loads.believed(_sound),
        )


_NOTHING = _Seen(0, 0.0)


def _sound(load: Load) -> bool:
    return 0 < load.bytes < _ABSURD and 0 < load.seconds < _ABSURD_SECONDS


@frozen
class _Document:
    format: int
    seen: dict[str, _Seen]
    speed: Speed = field(factory=Speed)


class FootprintStore:
    """Measurements by key. `load` and `save` block on the disk; one call at a time, from any thread.

    Attributes:
        speed: How fast this machine has loaded models, over all models.
    """

    def __init__(self, file: Path) -> None:
        """`file`: where it is kept."""
        self.speed = Speed()
        self._file = file
        self._seen: dict[str, _Seen] = {}
        self._dirty = False
        self._told = ""

    def load(self) -> str | None:
        """Load what was saved.

        Returns:
            Why an existing file couldn't be used, a sentence, or None; costs are then measured again.
        """
        self._seen, self.speed = {}, Speed()
        document, trouble = read_kept(
            self._file, _Document, version=FORMAT, largest=LARGEST_FILE, instead="the models' costs are measured again"
        )
        if document is not None:
            believed = {key: seen.believed() for key, seen in document.seen.items()}
            self._seen = {key: seen for key, seen in believed.items() if seen.bytes or seen.seconds}
            speed = document.speed  # weighted sums: the last load plus half of those before
            if 0 < speed.bytes < 2 * _ABSURD and 0 < speed.seconds < 2 * _ABSURD_SECONDS:
                self.speed = speed
        return trouble

    def get(self, key: str) -> Bytes | None:
        """Its measured size in bytes; None: not measured yet."""
        seen = self._seen.get(key)
        return Bytes(seen.bytes) if seen is not None and seen.bytes else None

    def load_seconds(self, key: str) -> float | None:
        """How long its last load took, in seconds; None: not loaded yet."""
        seen = self._seen.get(key)
        return (seen.seconds or None) if seen is not None else None

    def loads(self, key: str) -> Loads:
        """What is known of its loads, by mode."""
        seen = self._seen.get(key)
        return seen.loads if seen is not None else Loads()

    def devices(self, key: str) -> Amounts:
        """What of that was on devices with their own memory."""
        seen = self._seen.get(key)
        return Amounts(seen.devices) if seen is not None else ZERO

    def put(self, key: str, size: Bytes, devices: Amounts = ZERO) -> None:
        """Record a run's size, and what of it was on devices; the last run counts, not the highest ever: files and
        prompts change.
        """
        if 0 < size < _ABSURD:
            there = {pool: devices[pool] for pool in devices}
            self._note(evolve(self._seen.pop(key, _NOTHING), bytes=size, devices=there), key)

    def loaded(self, key: str, seconds: float, size: int, mode: str = "", cached: float | None = None) -> None:
        """Record how long a load took, and so how fast the machine was.

        Args:
            size: The bytes that were read for it.
            mode: How it was done; "" if that isn't known.
            cached: The share of that which was in the page cache before; None if that isn't known.
        """
        if 0 < seconds < _ABSURD_SECONDS:
            seen = evolve(self._seen.pop(key, _NOTHING), seconds=round(seconds, 3))
            if 0 < size < _ABSURD:
                self.speed = self.speed.seen(size, seconds)
                if mode:
                    share = None if cached is None else round(cached, 3)
                    seen = evolve(seen, loads=seen.loads.seen(mode, Load(size, max(seen.seconds, 0.001), share)))
            self._note(seen, key)

    def trying(self, key: str, mode: str) -> None:
        """Record that a mode is being tried, whatever comes of it."""
        seen = self._seen.pop(key, _NOTHING)
        self._note(evolve(seen, loads=seen.loads.trying(mode)), key)

    def _note(self, seen: _Seen, key: str) -> None:
        self._seen[key] = evolve(seen, at=round(time.time(), 3))
        while len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]
        self._dirty = True

    def save(self) -> str | None:
        """Write what is new; the file is replaced as a whole, and only its owner may read it. After a failure, the next
        call tries again.

        Returns:
            Why it could not be written, a sentence; None on success, or if that was already reported.
        """
        if not self._dirty:
            return None
        self._dirty = False
        data = msgspec.json.encode(_Document(FORMAT, dict(self._seen), self.speed))
        try:
            write_atomic(self._file, data)
        except OSError as error:
            self._dirty = True
            said, self._told = (
                self._told,
                f"the models' measured costs can't be saved in {self._file}: {error.strerror or error}.",
            )
            return self._told if self._told != said else None
        self._told = ""
        return None
