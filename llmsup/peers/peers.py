"""All peers: keeps them in step with the config, watches them, and gives the fleet what they serve."""

from __future__ import annotations

import trio

from ..config.live import LiveConfig
from ..fleet.fleet import Fleet
from ..process.ring import Events
from ..process.watched import Watched
from .peer import Peer
from .via import new_identity


class Peers(Watched):
    """The peers of the config in force.

    Attributes:
        all: Them, by name, in the config's order. Whoever waits for `change` hears of anything new about any of them.
        identity: Which llmsup this is (`via`).
    """

    def __init__(self, config: LiveConfig, fleet: Fleet, events: Events) -> None:
        super().__init__()
        self.all: dict[str, Peer] = {}
        self.identity = new_identity()
        self._config = config
        self._fleet = fleet
        self._events = events

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch them, until cancelled."""
        task_status.started()
        await trio.sleep_forever()
