"""What requests are served by, as whoever has one sees it: a model with its engine here, or on another machine.

The seam in front of `model`, and all of it that the gateway knows. It does not know how a backend comes to serve.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self

from ..config.schema import ModelSpec
from ..engines.connection import Disconnected
from ..engines.pool import Pool
from ..errors import Error
from ..units import Seconds


class BackendRun(Protocol):
    """As long as it serves without a break: for a model here, one run of its engine."""

    @property
    def pool(self) -> Pool:
        """The connections that requests go out on."""

    @property
    def body_defaults(self) -> Mapping[str, Any]:
        """Request fields that aren't known there, and are written into bodies that don't set them."""

    async def ended_because(self, patience: float) -> Error | None:
        """Why it ended, as those are told whom it served, waited for up to `patience` seconds; None: it goes on. A new
        error each time.
        """

    async def died_of(self, patience: float) -> Error | None:
        """The same if it died under those whom it served, else None; and no longer than it takes to see that it lives,
        or to be seen to.
        """


class BackendLease(Protocol):
    """One request's lease, from its first moment to its last; leaving it is synchronous, and may be done twice."""

    @property
    def served_by(self) -> BackendRun | None:
        """What serves the request; None: it waits, or was refused."""

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
        """It gives itself."""

    def __exit__(self, *_: object) -> None:
        """Give the place up, wherever it is."""


class Backend(Protocol):
    """What can be leased for a request. It is entered through the fleet, which knows who may wait."""

    @property
    def spec(self) -> ModelSpec:
        """Its name, and what its requests are given and allowed."""

    @property
    def would_wait(self) -> bool:
        """Whether a request that comes now has to wait, rather than being served or refused at once."""

    def enter(self, ttl: Seconds = Seconds(0), client: str = "") -> BackendLease:
        """Take a lease. `ttl`: keep what serves for at least so many seconds after it; `client`: whose request it is.

        Raises:
            Error: It can't be served, for this reason.
        """

    def keep(self, seconds: Seconds) -> None:
        """Keep what serves for so long after its last request, whatever its `ttl`, until the next call says otherwise:
        0 is as soon as it is idle. Nothing happens if nothing serves.
        """

    def look(self) -> BackendLease:
        """Take a lease for one who only looks: nothing is loaded for it, nor kept loaded.

        Raises:
            ModelNotLoaded: There is nobody who could be asked.
        """

    async def explain(self, run: BackendRun, gone: Disconnected) -> Error:
        """Why a connection to a run of its broke. From then on nobody enters a run that is over or can't be reached.
        `EngineDied` is for what another run may do better.
        """
