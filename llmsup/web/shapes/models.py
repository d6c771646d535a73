"""Models as the control API shows them."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

from ...catalog.described import ModelKind
from ...catalog.found import Source as Origin
from ...config.schema import Priority
from ...memory.cost.cost import Source
from .pause import Pause
from .peers import Places
from .prompt_cache import Able

RunningState = Literal["starting", "ready", "sleeping", "draining", "stopping"]

StatusValue = Literal["unloaded", "loading", "loaded", "sleeping", "failed"]


class Status(TypedDict):
    """Whether a model is loaded.

    Attributes:
        reason: Why it is in this state, for people.
        progress: How much of it is loaded, 0 to 1; null if the engine doesn't say. Only while it is loading, as are the
            next three.
        last_line: The last line that its engine wrote.
        waits_for: What memory it waits for, and who has it; null if it doesn't.
        seconds: How long the load has taken.
        error: Why it failed, or can't be served.
        servable: false: it can't be served as it is, whatever is tried.
        retry_in: Seconds until it may be started again.
        log_tail: The last lines of the engine that failed; only for an admin, like `last_line`.
        no_engine: Why no engine on this machine can run it.
    """

    value: StatusValue
    reason: str
    progress: NotRequired[float | None]
    last_line: NotRequired[str]
    waits_for: NotRequired[str | None]
    seconds: NotRequired[float | None]
    error: NotRequired[str]
    servable: NotRequired[bool]
    retry_in: NotRequired[float | None]
    log_tail: NotRequired[list[str]]
    no_engine: NotRequired[str]


class Estimate(TypedDict):
    """What a model is estimated to take in memory, by its file's header."""

    weights_bytes: int
    kv_bytes: int
    recurrent_bytes: int
    compute_bytes: int
    draft_bytes: int
    projector_bytes: int
    engine_bytes: int
    total_bytes: int


class Facts(TypedDict):
    """What is known of a model without loading it.

    Attributes:
        context_length: In tokens, of one request.
        size_bytes: Of its files.
        parameters: How many it has.
        capabilities: What it can do, in Ollama's words.
        memory: An estimate of what it takes; null where none can be made.
        needs_bytes: What it counts for when it is loaded.
        grows_bytes: What it may come to hold on top of that, for cached prompts.
        fits: Whether it can be loaded on this machine at all.
        prompt_cache: Whether its conversations survive an unload.
        source: Where it was found; null: it has a command and no file.
        without_projector: Why it runs without its projector.
        ollama_only: Why only Ollama's own engine can run it.
        names: What else it answers to.
    """

    kind: ModelKind
    context_length: int | None
    size_bytes: int | None
    architecture: str | None
    quantization: str | None
    parameters: int | None
    capabilities: list[str]
    memory: Estimate | None
    needs_bytes: int | None
    needs_source: Source | None
    grows_bytes: int | None
    fits: bool | None
    prompt_cache: Able
    source: Origin | None
    without_projector: str | None
    ollama_only: str | None
    aliases: list[str]
    names: list[str]
    description: str


class RouterFacts(TypedDict):
    """What llama-server's router tells of a model besides.

    Attributes:
        meta: n_ctx, n_params and others, as far as they are known.
    """

    tags: list[str]
    meta: dict[str, Any]


class AtPeers(TypedDict, total=False):
    """Whether others have a model.

    Attributes:
        peer: Where it is, if it isn't on this machine.
        peers: The peers that have it, too, if it is on this machine; only there if any has.
        peers_down: Those of `peers` that don't answer now; only there if any doesn't.
    """

    peer: Places
    peers: list[str]
    peers_down: list[str]


class ModelEntry(Facts, RouterFacts, AtPeers):
    """A model, or a preset of one, in the words of OpenAI's API, Anthropic's and llama-server's.

    Attributes:
        peer: Where it is, if it isn't on this machine.
        peers: The peers that have it, too, if it is on this machine; only there if any has.
        peers_down: Those of `peers` that don't answer now; only there if any doesn't.
    """

    id: str
    object: Literal["model"]
    created: int
    type: Literal["model"]
    display_name: str
    created_at: str
    owned_by: str
    status: Status


class OllamaEntry(TypedDict):
    """A model in the second list that llama-server has, in Ollama's members; most are empty there."""

    name: str
    model: str
    modified_at: str
    size: str
    digest: str
    type: Literal["model"]
    description: str
    tags: list[str]
    capabilities: list[str]
    parameters: str
    details: dict[str, Any]


class ModelList(TypedDict):
    """The models that the caller may use, by name.

    Attributes:
        models: The same as `data`.
        has_more: For Anthropic's clients; all are here.
    """

    object: Literal["list"]
    data: list[ModelEntry]
    models: list[OllamaEntry]
    has_more: Literal[False]
    first_id: str | None
    last_id: str | None


class LoadFacts(TypedDict):
    """How a model was loaded, the last time.

    Attributes:
        mode: How its weights came into memory; null: that isn't known.
        bytes_per_second: How fast.
        cached_share: How much of its file was in the page cache before, from 0 to 1.
        why: Why in that way.
    """

    mode: str | None
    bytes: int
    bytes_per_second: int
    cached_share: float | None
    why: str | None


class RunningFacts(TypedDict):
    """A model that has an engine or is getting one; see `RunningEntry`."""

    model: str
    pid: int | None
    proxy: str | None
    cmd: str | None
    ttl: float | None
    in_flight: int
    waiting: int
    loaded_at: float | None
    last_used: float | None
    expires_at: float | None
    load_seconds: float | None
    load: LoadFacts | None
    footprint_bytes: int | None
    footprint_source: Source | None
    priority: Priority
    pinned: bool
    restarts: int
    description: str
    reason: str
    progress: float | None
    workers: list[str]
    waits_for: str | None


class RunningEntry(RunningFacts):
    """A model that has an engine or is getting one.

    Attributes:
        proxy: Where its engine listens.
        cmd: The engine's command line.
        ttl: How long it may be idle; null: for ever.
        in_flight: Requests that it works on.
        waiting: Requests that wait for it.
        expires_at: When it will be unloaded if nobody asks it anything; null: not before it is idle, or never.
        footprint_bytes: What it counts for in memory; null while it waits to be let in.
        restarts: How often its engine crashed lately.
        progress: How much of it is loaded, 0 to 1; null if the engine doesn't say.
        workers: The RPC workers that have a part of it.
        waits_for: What memory it waits for, and who has it; null if it doesn't.
    """

    state: RunningState


class RunningInEnvelope(TypedDict):
    """`/running` as llama-swap has it; `paused` is ours, and only there while no model is served: why that is."""

    running: list[RunningEntry]
    paused: NotRequired[Pause]
