"""What the gateway leases for a request: a model with its engine here, or a server on another machine.

This is all that the gateway knows about models; how a backend gets ready to serve is its own business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self

from attrs import Factory, define

from ..config.schema import ModelSpec
from ..engines.connection import Disconnected
from ..engines.http import HeaderLines
from ..engines.pool import ConnectionPool
from ..errors import Error
from ..units import Seconds


@define(eq=False)
class Trail:
    """Where a request has come from, and where it has been: for a backend that may send it to several servers.

    Attributes:
        via: The identities of the llmsups that it has come through, the oldest first.
        remembers: Tells how many tokens of its prompt the prompt cache of a server should still have, by the name of
            that ("" is here); None: that isn't known of any.
        tries: How often it has been sent, or a load been begun for it.
        failed: Who has failed it, and how, in that order.
    """

    via: tuple[str, ...] = ()
    remembers: Callable[[str], int] | None = None
    tries: int = 0
    failed: dict[str, Error] = Factory(dict)


class BackendRun(Protocol):
    """A period in which a backend serves without a break: for a model here, one run of its engine."""

    @property
    def where(self) -> str:
        """The name of the peer that serves; "" for an engine here, for which nothing of the next four is asked."""

    @property
    def renames(self) -> str:
        """What the model is called there, to be put into bodies; "" to leave the name that they have."""

    def refuses(self, status: int) -> bool:
        """Note that it has answered, with this status; returns whether it is not the client's fault that there is no
        better answer, so that another server may have one.
        """

    def broke(self, reason: str, detail: str = "") -> Error:
        """Note that it has failed a request, for this reason, a clause about "it"; returns that as an error.

        Args:
            detail: The same for whoever may know where it is.
        """

    def directed(
        self, target: bytes, headers: HeaderLines, via: tuple[str, ...], *, by_path: bool
    ) -> tuple[bytes, HeaderLines]:
        """Path with query, and headers, as that server is to get them.

        Args:
            via: The llmsups that the request has come through.
            by_path: The client has named the model in front of the path, so that it is an engine's own.
        """

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

    @property
    def awaits(self) -> str:
        """What it waits for, if that is not its model's load: "waking studio"; else ""."""

    @property
    def others(self) -> bool:
        """Whether another server could have the request, if this one refuses it."""

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

    @property
    def places(self) -> str:
        """The names of the other servers that have it, for people, without their addresses; "" for a model here."""

    @property
    def spreads(self) -> bool:
        """Whether several servers may have it, so that it wants to know of a request's trail."""

    def enter(self, ttl: Seconds = Seconds(0), client: str = "", trail: Trail | None = None) -> BackendLease:
        """Take a lease.

        Args:
            ttl: Seconds for which to keep the backend loaded afterwards, at least.
            client: Whose request it is.
            trail: Of the request, if the backend spreads them.

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
