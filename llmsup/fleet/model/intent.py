"""What operators, the config and the memory policy want of a model; what its requests want is in `queue`.

These are immutable values: each wish makes a new one from the last. The supervisor reads it and acts.
"""

from __future__ import annotations

from typing import Self

from attrs import evolve, frozen

from .states import Cause

SLEEP_WILL_DO = frozenset({Cause.IDLE, Cause.ROOM, Cause.PRESSURE})
"""What an engine may sleep for instead of being stopped: nobody wants it gone."""


@frozen
class StopRequest:
    """A request to end the run.

    Attributes:
        cause: In one word.
        force: Don't let the requests in flight finish.
        patient: Let them finish, however long that takes.
        last: Serve the waiting requests first, too.
    """

    reason: str
    cause: Cause = Cause.ASKED
    force: bool = False
    patient: bool = False
    last: bool = False


@frozen
class Intent:
    """What is wanted. A load and a stop can both be: then this run ends and another one follows.

    Attributes:
        load: Load it even if no request waits. This stays set until the model is ready, has failed, or is unloaded.
        no_eviction: Until a request waits, such a load must not evict other models: only a `preload` has asked for it.
        stop: Why and how the current run should end, or None.
        retiring: Why the model will be removed once it is no longer in use; "" if it stays.
        pin: Whether an operator wants it pinned, whatever the config says; None: the config decides.
    """

    load: bool = False
    no_eviction: bool = False
    stop: StopRequest | None = None
    retiring: str = ""
    pin: bool | None = None

    # Loads...

    @classmethod
    def of_new(cls, *, preload: bool) -> Self:
        """The intent for a new model."""
        return cls(load=preload, no_eviction=preload)

    def load_asked(self, *, no_eviction: bool, loaded: bool) -> Self:
        """A load was asked for. A later load that may not evict doesn't take back an earlier one that may.

        Args:
            no_eviction: Load it only if no other model has to be evicted for it.
            loaded: It is loaded already, and stays so.
        """
        no_eviction = no_eviction and (self.no_eviction or not self.load)
        return evolve(self, load=not loaded, no_eviction=no_eviction)

    def once_more(self) -> Self:
        """The load that was under way is to be retried, whoever wanted it."""
        return evolve(self, load=True)

    def back(self, *, pinned: bool) -> Self:
        """The engine ends, or has ended, without the model being unwanted: a pinned one is loaded again."""
        return evolve(self, load=self.load or pinned)

    def load_over(self) -> Self:
        """It is loaded, can't be loaded, or is no longer to be loaded."""
        return evolve(self, load=False)

    def pinned(self, pin: bool | None) -> Self:
        """An operator wants it pinned, or not pinned, or (None) as the config says."""
        return evolve(self, pin=pin)

    # Ends...

    def stopping(self, stop: StopRequest) -> Self:
        """The run is to end, for this reason unless it already has one. One that a sleep would do for gives way to one
        that wants the engine gone.
        """
        if self.stop is not None and (self.stop.cause not in SLEEP_WILL_DO or stop.cause in SLEEP_WILL_DO):
            return self
        return evolve(self, stop=stop)

    def unload_asked(self, reason: str, *, force: bool) -> Self:
        """An operator asks for an unload and waits for it: this replaces any other reason."""
        force = force or (self.stop is not None and self.stop.force)
        return evolve(self, stop=StopRequest(reason, force=force))

    def run_over(self) -> Self:
        """The run has ended."""
        return evolve(self, stop=None)

    def retired(self, reason: str) -> Self:
        """It is to be removed for good."""
        return evolve(self, load=False, retiring=reason)

    def kept(self) -> Self:
        """It is to stay after all."""
        return evolve(self, retiring="")
