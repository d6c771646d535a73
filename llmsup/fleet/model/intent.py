"""What is wanted of a model, and why, apart from what its requests want.

It does not know what a model is: these are values, and each wish makes a new one of the last. The supervisor reads it,
and acts.
"""

from __future__ import annotations

from typing import Self

from attrs import evolve, frozen

from .states import Cause


@frozen
class StopRequest:
    """A wish to have the model unloaded.

    Attributes:
        cause: In one word.
        force: Don't let those who are served finish.
        patient: Let them finish, however long that takes.
        last: Serve those who wait, too.
    """

    reason: str
    cause: Cause = Cause.ASKED
    force: bool = False
    patient: bool = False
    last: bool = False


@frozen
class Intent:
    """What is wanted. Both may be: that this run ends, and that there is another one then.

    Attributes:
        load: It shall be loaded though no request waits, and isn't yet: a load that was asked for stays asked for
            until the model is ready, can't be had, or somebody unloads it.
        no_eviction: Nobody else goes for such a load, as long as no request waits: the last that was asked for was a
            `preload`.
        stop: That the run which is there shall end, and why.
        retiring: Why it goes for good once nobody needs it any more; "" if it stays.
    """

    load: bool = False
    no_eviction: bool = False
    stop: StopRequest | None = None
    retiring: str = ""

    # Loads...

    @classmethod
    def of_new(cls, *, preload: bool) -> Self:
        """What is wanted of a model that nobody has asked for yet."""
        return cls(load=preload, no_eviction=preload)

    def load_asked(self, *, no_eviction: bool, loaded: bool) -> Self:
        """Somebody wants it loaded. Who has asked for it outright is not made no_eviction by one who hasn't.

        Args:
            no_eviction: Only if nobody has to go for it.
            loaded: It is, and stays.
        """
        no_eviction = no_eviction and (self.no_eviction or not self.load)
        return evolve(self, load=not loaded, no_eviction=no_eviction)

    def once_more(self) -> Self:
        """The load that was under way is to be tried again, whoever wanted it."""
        return evolve(self, load=True)

    def back(self, *, pinned: bool) -> Self:
        """The engine goes, or is gone, though nobody wants the model unloaded: one that is pinned comes back."""
        return evolve(self, load=self.load or pinned)

    def load_over(self) -> Self:
        """It is loaded, can't be, or shall not be any more."""
        return evolve(self, load=False)

    # Ends...

    def stopping(self, stop: StopRequest) -> Self:
        """The run shall end, for this reason unless there is one already."""
        return self if self.stop is not None else evolve(self, stop=stop)

    def unload_asked(self, reason: str, *, force: bool) -> Self:
        """Somebody wants the run ended who is not to be kept waiting: that comes before other reasons."""
        force = force or (self.stop is not None and self.stop.force)
        return evolve(self, stop=StopRequest(reason, force=force))

    def run_over(self) -> Self:
        """The run has ended."""
        return evolve(self, stop=None)

    def retired(self, reason: str) -> Self:
        """It is to go for good."""
        return evolve(self, load=False, retiring=reason)

    def kept(self) -> Self:
        """It isn't, after all."""
        return evolve(self, retiring="")
