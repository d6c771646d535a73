"""What one running engine costs, by its own log and by the system's accounting.

What is reserved for it is in the ledger (`fleet.memory`); what earlier runs cost, in `store`.
"""

from __future__ import annotations

from attrs import Factory, define, field

from ...units import Bytes
from .buffers import Buffers
from .process import Footprint


@define
class Meter:
    """The highest values measured in one run: the prompt cache makes an engine grow, and what it took once it may take
    again.

    There are two parts. Its *own* memory (anonymous, shared, swapped, compressed, and on a GPU) is only freed when it
    ends. What it has *mapped* of its file the system may drop, but the model needs it all the same: it counts under
    the ceiling, and ending the engine doesn't free it.
    """

    buffers: Buffers = Factory(Buffers)
    _own: int = field(default=0, init=False)
    _mapped: int | None = field(default=None, init=False)
    _most_mapped: int = field(default=0, init=False)
    _now: Bytes | None = field(default=None, init=False)
    _at_start: Bytes | None = field(default=None, init=False)

    def line(self, text: str) -> None:
        """Process a line of its log."""
        self.buffers.line(text)

    def saw(self, footprint: Footprint, gpu: Bytes | None = None) -> None:
        """Record a measurement. `gpu`: what it has on devices with their own memory, in bytes; None: unknown."""
        self._now = Bytes(footprint.held + (gpu or 0))
        self._own = max(self._own, self._now)
        if footprint.droppable is not None:
            self._mapped = footprint.droppable
            self._most_mapped = max(self._most_mapped, self._mapped)

    @property
    def freeable(self) -> Bytes | None:
        """What ending it would free, in bytes, at the last measurement; None: not measured yet."""
        return self._now

    def gives_back(self, declared: int | None) -> Bytes | None:
        """What ending it frees, in bytes; None: not measured yet.

        Args:
            declared: What its config table says it takes, in bytes. Any part of that which isn't measured here must be
                elsewhere (in a container, on a server that its command only talks to) and is assumed to be freed too.
        """
        if self._now is None or self.cost is None:
            return None
        return Bytes(self._now + max((declared or 0) - self.cost, 0))

    @property
    def cost(self) -> Bytes | None:
        """What it counts for under the ceiling now, in bytes; None: not measured yet.

        The system's accounting divides a file that two engines have mapped between them.
        """
        if self._now is None:
            return None
        mapped = self.buffers.mapped if self._mapped is None else self._mapped
        return Bytes(self._most_own + mapped)

    @property
    def peak(self) -> Bytes | None:
        """What it takes when no other engine shares its file, in bytes: for the next run. None: not measured yet."""
        if self._now is None:
            return None
        return Bytes(self._most_own + max(self.buffers.mapped, self._most_mapped))

    def started(self) -> None:
        """Record that it is ready: the values so far are what it takes at its start. Only the first call counts."""
        if self._at_start is None:
            self._at_start = self.peak

    def start(self, prompts: int) -> Bytes | None:
        """What its next start is going to take, in bytes; None: it was not measured after it became ready.

        An engine that takes more once it is used (an image generator, for example) is expected to do so again; what
        may be cached prompts is not counted.

        Args:
            prompts: How many bytes of cached prompts it may have.
        """
        if self._at_start is None or self.peak is None:
            return None
        return max(self._at_start, Bytes(self.peak - prompts))

    @property
    def _most_own(self) -> int:
        # Untouched pages may still be used later, so the engine's own figure counts if it is higher.
        return max(self._own, self.buffers.own)
