"""What the gateway leases for a request: a model with its engine here, or a server on another machine.

This is all that the gateway knows about models; how a backend gets ready to serve is its own business.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

from ..config.schema import ModelSpec
from ..engines.connection import Disconnected
from ..engines.pool import ConnectionPool
from ..errors import Error
from ..units import Seconds


class BackendRun(Protocol):
    """A period in which a backend serves without a break: for a model here, one run of its engine."""

    @property
    def pool(self) -> ConnectionPool:
        """The connections that requests are sent on."""

    @property
    def body_defaults(self) -> Mapping[str, Any]:
        """Request fields that the server was not started with; they are written into bodies that don't set them."""

    @property
    def listens(self) -> bool:
        """Whether it wants to be told what its answers say about their prompts (`answered`)."""

    @property
    def keeps_slots(self) -> bool:
        """Whether llmsup saves and restores its slots: their files are no client's business then."""

    def answered(self, computed: int, cached: int, seconds: float | None) -> None:
        """An answer is complete: `computed` tokens of its prompt had to be computed, which took `seconds` if that is
        known; `cached` had not.
        """

    async def ended_because(self, patience: float) -> Error | None:
        """Why it ended, as an error for the requests that it served; waits for up to `patience` seconds. None: it still
        runs. A new error each time.
        """

    async def died_of(self, patience: float) -> Error | None:
        """Like `ended_because`, but only if it died while it served requests; returns None as soon as it proves to be
        alive.
        """


class BackendLease(Protocol):
    """One request's lease, from its arrival to its last byte. Leaving it is synchronous, and may be done twice."""

    @property
    def served_by(self) -> BackendRun | None:
        """The run that serves the request; None while it waits, or if it was refused."""

    @property
    def waited(self) -> Seconds:
        """Seconds since the request came."""

    async def run(self, timeout: Seconds) -> BackendRun:
        """Wait until the request is served, for at most `timeout` seconds since it came. May be cancelled and called
        again: the place in the queue stays.

        Raises:
            QueueTimeout: It took longer.
            Error: It can't be served; the error says why.
        """

    def __enter__(self) -> Self:
        """Returns the lease itself."""

    def __exit__(self, *_: object) -> None:
        """End the lease, whether the request was waiting or being served."""


class Backend(Protocol):
    """What can be leased for a request. Leases are taken through the fleet, which decides who may wait."""

    @property
    def spec(self) -> ModelSpec:
        """Its name, and the settings for its requests."""

    @property
    def would_wait(self) -> bool:
        """Whether a request that comes now has to wait, rather than being served or refused at once."""

    def enter(self, ttl: Seconds = Seconds(0), client: str = "") -> BackendLease:
        """Take a lease.

        Args:
            ttl: Seconds for which to keep the backend loaded afterwards, at least.
            client: Whose request it is.

        Raises:
            Error: It can't be served, for this reason.
        """

    def keep(self, seconds: Seconds) -> None:
        """Keep what serves for so long after its last request, whatever its `ttl`, until the next call says otherwise:
        0 is as soon as it is idle. Nothing happens if nothing serves.
        """

    def look(self) -> BackendLease:
        """Take a lease for a read-only request: nothing is loaded for it, nor kept loaded.

        Raises:
            ModelNotLoaded: There is no server to ask.
        """

    async def explain(self, run: BackendRun, gone: Disconnected) -> Error:
        """Why a connection to one of its runs broke. No further request is sent to a run that has ended or can't be
        reached. `EngineDied` means that another run may succeed.
        """
