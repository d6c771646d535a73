"""The data of each kind of event in `/events`."""

from __future__ import annotations

from typing import TypedDict

from ...fleet.model.states import Cause, State
from ...memory.policy.decision import Kind
from ...memory.policy.inputs import Level
from .control import BridgeRun
from .peers import PeerStateName
from .prompt_cache import Moved
from .prompts import ComputedAgain
from .rpc import WorkerState


class Event(TypedDict):
    """What all events have."""

    at: float


class ModelEvent(Event):
    """A model came into another state."""

    model: str
    before: State
    state: State
    reason: str


class LoadEvent(Event):
    """A model is loaded."""

    model: str
    seconds: float


class UnloadEvent(Event):
    """A model was unloaded, or its engine ended."""

    model: str
    cause: Cause
    reason: str
    freed_bytes: int | None


class SleepEvent(Event):
    """A model's engine sleeps instead of having been unloaded. `level`: 1: its weights stay in the machine's memory; 2:
    only its process stays.
    """

    model: str
    level: int
    cause: Cause
    reason: str


class WakeEvent(Event):
    """A model's engine was woken."""

    model: str
    seconds: float


class DecisionEvent(Event):
    """Something was decided about memory; `/memory` has the numbers."""

    decision: Kind
    model: str | None
    reason: str
    victims: list[str]


class PressureEvent(Event):
    """The pressure on the machine's memory changed."""

    before: Level
    level: Level
    reason: str
    shortfall_bytes: int


class BridgeEvent(Event, BridgeRun):
    """The bridge has run."""


class PromptCacheEvent(Event, Moved):
    """Something became of a model's conversations."""


class ConfigEvent(Event):
    """The config's file was read again. If it is not applied, `reason` says why, and nothing was changed."""

    applied: bool
    reason: str
    mistakes: list[str]


class PauseEvent(Event):
    """llmsup was paused, or resumed; `until`: when the pause ends by itself, null: when it is ended."""

    paused: bool
    reason: str
    until: float | None


class RouteEvent(Event):
    """A model's requests go to another server than before; `peer`: which one, null: this llmsup."""

    model: str
    peer: str | None
    reason: str


class PeerEvent(Event):
    """A peer came into another state: it answers, or doesn't, or is being woken."""

    peer: str
    before: PeerStateName
    state: PeerStateName
    reason: str


class PromptEvent(Event, ComputedAgain):
    """A prompt was computed again."""

    model: str


class RpcEvent(Event):
    """An RPC worker was started, is up, has died or was ended."""

    worker: str
    state: WorkerState
    reason: str


EVENTS = {
    "model": ModelEvent,
    "load": LoadEvent,
    "unload": UnloadEvent,
    "sleep": SleepEvent,
    "wake": WakeEvent,
    "decision": DecisionEvent,
    "pressure": PressureEvent,
    "prompt_cache": PromptCacheEvent,
    "bridge": BridgeEvent,
    "config": ConfigEvent,
    "pause": PauseEvent,
    "prompt": PromptEvent,
    "route": RouteEvent,
    "peer": PeerEvent,
    "rpc": RpcEvent,
}
"""What follows `event:`, and the shape of what follows `data:`."""
