"""Memory, and what was decided about it, as the control API shows it."""

from __future__ import annotations

from typing import Literal, TypedDict

from ...config.schema import Priority
from ...fleet.model.history import What
from ...fleet.model.states import Cause, State
from ...memory.cost.cost import Source
from ...memory.machine.reading import Reading
from ...memory.policy.decision import Kind
from ...memory.policy.decision import Left as Word
from ...memory.policy.inputs import Level
from .backends import Backend, Route
from .models import RunningFacts
from .pause import Pause
from .prompt_cache import Kept


class Loaded(TypedDict):
    """A model that has memory, as decisions see it.

    Attributes:
        grows_bytes: What it may come to hold on top, for cached prompts.
        freeable_bytes: What would come back if it were unloaded.
        devices: What of its footprint is on devices with their own memory, by pool.
        loss_seconds: What its going would cost: the expected seconds of its reload.
        save_seconds: How long saving its conversations should take before it goes; its memory comes back that much
            later. Nothing is saved under critical pressure.
        stays: Why it would not be unloaded now even if its memory were wanted; null: it would.
    """

    model: str
    footprint_bytes: int
    footprint_source: Source | None
    grows_bytes: int
    freeable_bytes: int
    devices: dict[str, int]
    priority: Priority
    pinned: bool
    in_flight: int
    loss_seconds: float | None
    save_seconds: float
    idle_seconds: float | None
    stays: str | None


class Device(TypedDict):
    """A device with its own memory, such as a GPU; or an RPC worker.

    Attributes:
        pool: What its memory is called here and in reasons.
        name: What its driver calls it.
        committed_bytes: What the loaded models count for there.
        free_bytes: What is free there; null: unknown.
        level: "warn" while other programs press for it, so that nothing more is loaded there.
        since: Since when; null: from the start.
        shortfall_bytes: What is to be freed there for that to end.
    """

    pool: str
    name: str
    total_bytes: int
    committed_bytes: int
    free_bytes: int | None
    level: Literal["normal", "warn"]
    since: float | None
    reason: str
    shortfall_bytes: int


class Waiting(TypedDict):
    """A load that waits for memory.

    Attributes:
        bytes: What it wants.
        devices: What of that it wants on devices with their own memory, by pool.
        seconds: How long it has waited.
        reason: What it waits for.
    """

    model: str
    bytes: int
    devices: dict[str, int]
    source: Source
    grows_bytes: int
    seconds: float | None
    reason: str


class Weighed(TypedDict):
    """A model as a decision saw it.

    Attributes:
        rank: Its priority; the lowest goes first.
        loss_seconds: The expected seconds of its reload; null: beyond all bounds.
        delay_seconds: By how much later its memory comes back because its conversations are saved first.
        stays: Why it could not be chosen; null: it could.
    """

    model: str
    footprint_bytes: int
    freeable_bytes: int
    rank: int
    loss_seconds: float | None
    delay_seconds: float
    stays: str | None


class Decision(TypedDict):
    """A decision about memory, with everything that it was made from.

    Attributes:
        decision: Of a load: let in, let in once others are gone, kept waiting, or refused for good; under pressure: who
            goes, or "leave": nobody.
        model: The model to be loaded; null under pressure.
        reason: For people, with the numbers.
        left: With "leave": why, in a word.
        victims: Who goes, the least important first.
        delay_seconds: By how much later their memory is expected to come back because conversations are saved first.
        paused: With "wait": whose later requests wait until this load has had its turn.
        holders: With "wait": who has the memory.
        room_bytes: What was free under the ceiling; negative if more is promised than there is.
        weighed: Who was considered, the least worth keeping first.
    """

    decision: Kind
    model: str | None
    reason: str
    left: Word | None
    bytes: int
    victims: list[str]
    delay_seconds: float
    paused: list[str]
    holders: list[str]
    level: Level
    ceiling_bytes: int
    room_bytes: int
    available_bytes: int | None
    missing_bytes: int
    weighed: list[Weighed]


class DecisionRecord(Decision):
    """A decision, and its effect.

    Attributes:
        freed_bytes: What its victims gave back; null if none is gone yet, or it could not be measured.
        seconds: How long that took; null if none is gone yet.
    """

    at: float
    freed_bytes: int | None
    seconds: float | None


class Memory(TypedDict):
    """The machine's memory, who has how much of it, and the last decisions.

    Attributes:
        ceiling_bytes: What all models together may have.
        reserve_bytes: What is kept free for everything else.
        committed_bytes: What the loaded models count for.
        kept_bytes: What is kept for what they may still come to hold, until a load needs it.
        available_bytes: What can be had without swapping.
        since: Since when the level is what it is; null: from the start.
        shortfall_bytes: What is to be freed for the pressure to end.
        nothing_unloaded: Why no model is unloaded although memory is short; null if one is, or if it isn't short.
        problem: Why memory can't be read as configured.
        paused: Why no model is served now; null if they are.
        readings: The last reading of the machine.
        devices: The devices with their own memory, RPC workers among them.
    """

    ceiling_bytes: int
    reserve_bytes: int
    committed_bytes: int
    kept_bytes: int
    available_bytes: int | None
    level: Level
    since: float | None
    reason: str
    shortfall_bytes: int
    nothing_unloaded: str | None
    problem: str | None
    paused: Pause | None
    readings: Reading | None
    devices: list[Device]
    models: list[Loaded]
    waiting: list[Waiting]
    decisions: list[DecisionRecord]


Would = Literal["load", "wait", "already_loaded", "loading", "never_fits"]


class Victim(TypedDict):
    """A model that would make way.

    Attributes:
        frees: What would come back.
    """

    model: str
    frees: int
    reason: str


class Rehearsal(TypedDict):
    """What a load would come to now.

    Attributes:
        needs: What it takes to start.
        free: How much is free for it, while nobody goes.
        victims: Who would be unloaded for it, the least important first.
        sentence: All of it, for people.
        decision: The decision, as it would be made; null: there is nothing to decide.
    """

    model: str
    would: Would
    needs: int
    free: int
    victims: list[Victim]
    sentence: str
    decision: Decision | None


class Counts(TypedDict):
    """What has become of a model since llmsup started.

    Attributes:
        unloads: By cause.
        refaults: How often it was wanted again soon after it had to make room.
        waited_seconds: What its requests waited, all together.
    """

    loads: int
    unloads: dict[Cause, int]
    refaults: int
    requests: int
    waited_seconds: float | None


class HistoryEntry(TypedDict):
    """Something that happened to a model.

    Attributes:
        cause: Of an unload, in a word.
        decision: The decision behind it, if it was about memory.
    """

    at: float
    what: What
    cause: Cause | None
    reason: str
    freed_bytes: int | None
    decision: Decision | None


class PressureNow(TypedDict):
    """The pressure on the machine's memory; see `Memory`."""

    level: Level
    reason: str
    nothing_unloaded: str | None


class Context(TypedDict):
    """How many tokens of context were asked for, and are served; null if unknown."""

    wanted: int | None
    served: int | None


class NextLoad(TypedDict):
    """What the next load is expected to be like.

    Attributes:
        seconds: How long it takes, with what is in the page cache now.
        mode: `load_mode`.
        cached_share: How much of the file is there, from 0 to 1; null: that can't be told.
    """

    seconds: float | None
    mode: str
    cached_share: float | None


class ModelMemory(RunningFacts):
    """Why a model is where it is; see `RunningEntry`, too.

    Attributes:
        since: When it came into its state.
        min_residency: How long a model is kept at least, where that is configured.
        loaded: What decisions see of it; null: it has no memory.
        failure: Why it failed, the last time.
        here: Whether it has an engine here, at times; else only peers have it, and nothing but `backends` and `routes`
            tells anything.
        backends: Who serves it, if that is not this llmsup alone.
        routes: The last decisions between them, the oldest first.
    """

    state: State
    here: bool
    backends: list[Backend]
    routes: list[Route]
    since: float | None
    next_load: NextLoad
    counts: Counts
    min_residency: float | None
    loaded: Loaded | None
    pressure: PressureNow
    failure: str | None
    context: Context
    prompt_cache: Kept
    history: list[HistoryEntry]
