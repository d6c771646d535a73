"""Asks an engine whether it is ready or healthy."""

from __future__ import annotations

from functools import partial

import trio

from ...engines.address import UnixAddress
from ...engines.connection import Disconnected
from ...engines.dial import connect
from ...engines.launch import Launch
from ...engines.pool import PATIENCE as POOL_PATIENCE
from ...engines.pool import ConnectionPool
from ...errors import EngineBadAnswer, OutOfResources
from ...process.shortage import insist
from ...units import Seconds, format_seconds

PATIENCE = 5.0
"""Seconds that an engine normally gets to answer."""


class Health:
    """The health checks of one engine.

    Attributes:
        said: The result of the last check, for people.
        answered: It has answered at least once.
    """

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._question = f"GET {launch.health}" if launch.health else "its port"
        self.said = f"{self._question} never answered"
        self.answered = False

    async def answers(self, patience: float) -> bool:
        """Ask once, and wait up to `patience` seconds for the answer. Uses a connection of its own, so that nothing
        else can be in the way.

        Raises:
            OutOfResources: It could not be asked, which is not the engine's fault.
        """
        if isinstance(self._launch.address, UnixAddress) and not self._launch.address.path.exists():
            return False  # cheaper than a refused connection
        try:
            with trio.move_on_after(patience) as limit:
                return await self._ask()
        except OutOfResources as error:
            self.said = f"{self._question} could not be asked: {error}"
            raise
        if limit.cancelled_caught:
            self.said = f"{self._question} got no answer for {format_seconds(Seconds(patience))}"
        return False

    async def _ask(self) -> bool:
        probe = ConnectionPool.to(self._launch.address)
        try:
            if not self._launch.health:
                reach = partial(connect, self._launch.address)
                await trio.aclose_forcefully(await insist(reach, "connect to an engine", patience=POOL_PATIENCE))
                self.answered = True
                return True
            answer = await probe.request("GET", self._launch.health.encode(), [], b"")
        except (Disconnected, EngineBadAnswer, OSError):
            return False
        finally:
            await probe.close()
        self.said = f"{self._question} answered {answer.status}"
        if answer.status == 404:
            self.said += ': set `health` to a path that it serves, or to ""'
        self.answered = self.answered or answer.status == 200
        return answer.status == 200
