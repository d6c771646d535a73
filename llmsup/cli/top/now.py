"""What the server says now, as rows: the loaded models, then those that could be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import Factory, frozen

from ...units import Bytes, format_bytes
from .. import cells
from ..client import Client
from ..peers import asked
from ..ps import without_presets

Entry = dict[str, Any]

LATELY = 50
"""How many of the last requests are looked at for how fast models are."""

_STATES = {"unloaded": "-", "loading": "starting", "loaded": "ready"}
"""A model that isn't in `/running`, in the words of those that are; for a moment the two may differ."""

_ELSEWHERE = {"loaded": "ready there", "loading": "starting there", "failed": "down"}
"""Of a model that peers have, and this machine hasn't."""


@frozen
class Row:
    """A model.

    Attributes:
        running: Its entry of `/running`, if it is loaded or being loaded.
        model: Its entry of `/v1/models`; None for one that is not listed.
        speed: Tokens a second of its last answer that tells; None if none does.
    """

    name: str
    running: Entry | None
    model: Entry | None
    speed: float | None = None

    @property
    def state(self) -> str:
        """In a word."""
        if self.running is not None:
            return cells.state(self.running)
        status = self._status
        if status.get("no_engine"):
            return "no engine"
        if self.model and "peer" in self.model:
            return _ELSEWHERE.get(status["value"], "elsewhere")
        return _STATES.get(status["value"], str(status["value"]))

    @property
    def memory(self) -> str:
        """What it takes, or would take."""
        if self.running is not None:
            return cells.memory(self.running)
        needs = self.model["needs_bytes"] if self.model else None
        return cells.NOTHING if needs is None else f"needs {format_bytes(Bytes(needs))}"

    @property
    def why(self) -> str:
        """Why it is in its state, in words; "" if nobody knows."""
        if self.running is not None:
            words = self.running["waits_for"] if cells.is_waiting(self.running) else self.running.get("reason")
        else:
            status = self._status
            words = status.get("error") or status.get("no_engine") or self._misfit or status.get("reason")
        return str(words or "").removeprefix(f"{self.name} was unloaded: ").removeprefix(f"{self.name} ").rstrip(".")

    @property
    def _misfit(self) -> str:
        fits = self.model["fits"] if self.model else None
        return "it needs more memory than this machine has for models" if fits is False else ""

    @property
    def _status(self) -> Mapping[str, Any]:
        status: Mapping[str, Any] = self.model["status"] if self.model else {"value": "unloaded"}
        return status


@frozen
class Now:
    """One look at the server.

    Attributes:
        running: `/running`.
        models: The `data` of `/v1/models`.
        memory: `/memory`.
        peers: The `peers` of `/peers`.
        at: When it was, in Unix seconds.
        speeds: Tokens a second of loaded models' last answers, as far as these tell.
    """

    running: Sequence[Entry]
    models: Sequence[Entry]
    memory: Mapping[str, Any]
    at: float
    speeds: Mapping[str, float] = Factory(dict)
    peers: Sequence[Entry] = ()

    def rows(self, part: str = "") -> list[Row]:
        """The models whose names have this part: the loaded ones in the server's order, then the others by name."""
        listed = {str(model["id"]): model for model in self.models}
        others = {name: listed[name] for name in without_presets(listed)}
        rows = [
            Row(entry["model"], entry, others.pop(entry["model"], None), self.speeds.get(entry["model"]))
            for entry in self.running
        ]
        rows += [Row(name, None, model) for name, model in others.items()]
        return [row for row in rows if part.casefold() in row.name.casefold()]


def look(client: Client, before: Now | None, at: float, *, whole: bool) -> Now:
    """Ask the server. The list of all models is only read again if it may have changed, or for a `whole` look; the last
    requests, if there may be others.

    Raises:
        Error: As `Client.get` does.
    """
    running = client.get("/running")
    if before is None or whole or _states(running) != _states(before.running):
        models = client.get("/v1/models")["data"]
    else:
        models = before.models
    speeds: Mapping[str, float]
    if before is None or _used(running) != _used(before.running):
        speeds = _speeds(client.get(f"/requests?n={LATELY}")["requests"])
    else:
        speeds = before.speeds
    return Now(running, models, client.get("/memory"), at, speeds, asked(client))


def _speeds(requests: Sequence[Entry]) -> dict[str, float]:
    """`requests`: as the server has them, the last one first."""
    return {each["model"]: each["tokens_per_s"] for each in reversed(requests) if each["tokens_per_s"]}


def _used(running: Sequence[Entry]) -> list[tuple[str, float | None, int]]:
    """What changes with each request."""
    return [(entry["model"], entry["last_used"], entry["in_flight"]) for entry in running]


def _states(running: Sequence[Entry]) -> set[tuple[str, str]]:
    return {(entry["model"], entry["state"]) for entry in running}
