"""What one running engine costs, by what it said of itself and what the system was seen to count.

It does not know what was promised to it, nor what the same model cost in another life.
"""

from __future__ import annotations

from attrs import Factory, define, field

from ...units import Bytes
from .buffers import Buffers
from .process import Footprint


@define
class Meter:
    """The highest seen over one life: prompts that are kept let an engine grow, and what it took once it takes again.

    Two parts: what is its *own* (anonymous, shared, swapped, compressed, and on a GPU), which only its end gives
    back; and what it has *mapped* of its file, which the system may drop, but which the model needs all the same: it
    counts under the ceiling, and frees nothing.
    """

    buffers: Buffers = Factory(Buffers)
    _own: int = field(default=0, init=False)
    _mapped: int | None = field(default=None, init=False)
    _most_mapped: int = field(default=0, init=False)
    _now: Bytes | None = field(default=None, init=False)
    _at_start: Bytes | None = field(default=None, init=False)

    def line(self, text: str) -> None:
        """Take a line of its log."""
        self.buffers.line(text)

    def saw(self, footprint: Footprint, gpu: Bytes | None = None) -> None:
        """Take a measurement. `gpu`: what it has on devices with a memory of their own, in bytes; None: not known."""
        self._now = Bytes(footprint.held + (gpu or 0))
        self._own = max(self._own, self._now)
        if footprint.droppable is not None:
            self._mapped = footprint.droppable
            self._most_mapped = max(self._most_mapped, self._mapped)

    @property
    def freeable(self) -> Bytes | None:
        """What only its end gives back, in bytes, when last measured; None: not yet."""
        return self._now

    def gives_back(self, declared: int | None) -> Bytes | None:
        """What only its end gives back, in bytes; None: not measured yet.

        Args:
            declared: What its table says that it takes, in bytes. What can't be seen of that here is elsewhere (in a
                container, on a server that its command only talks to), and is believed to come back as well.
        """
        if self._now is None or self.cost is None:
            return None
        return Bytes(self._now + max((declared or 0) - self.cost, 0))

    @property
    def cost(self) -> Bytes | None:
        """What it counts for under the ceiling now, in bytes; None: not measured yet.

        A file that two engines have mapped is shared out between them by the system's own count.
        """
        if self._now is None:
            return None
        mapped = self.buffers.mapped if self._mapped is None else self._mapped
        return Bytes(self._most_own + mapped)

    @property
    def peak(self) -> Bytes | None:
        """What it takes when nobody shares its file, in bytes: for the next time. None: not measured yet."""
        if self._now is None:
            return None
        return Bytes(self._most_own + max(self.buffers.mapped, self._most_mapped))

    def started(self) -> None:
        """It has become ready: what is known now is what it takes at its start. Only the first call counts."""
        if self._at_start is None:
            self._at_start = self.peak

    def start(self, prompts: int) -> Bytes | None:
        """What its next start is going to take, in bytes; None: it was not measured since it was ready.

        An engine that takes more only once it works (an image generator, say) is expected to do that again; what may
        be prompts that it kept is not counted.

        Args:
            prompts: So many bytes it may have kept of them.
        """
        if self._at_start is None or self.peak is None:
            return None
        return max(self._at_start, Bytes(self.peak - prompts))

    @property
    def _most_own(self) -> int:
        # Pages that were never touched are promised all the same: the engine's word counts if it is the higher one.
        return max(self._own, self.buffers.own)
