"""What can be done over the control API: one table, which `web.openapi` makes the document of.

A test compares it with the routes that there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import Factory, frozen

from ...errors import (
    BadRequest,
    BodiesFull,
    BodyTooLarge,
    BodyTooSlow,
    BridgeFailed,
    ConfigError,
    EngineDied,
    Error,
    ForbiddenOrigin,
    HeadTooLarge,
    InsufficientMemory,
    InvalidApiKey,
    InvalidJson,
    LoadTimeout,
    Loop,
    MalformedRequest,
    ModelFailed,
    ModelNotFound,
    ModelTooLarge,
    NotFound,
    OutOfResources,
    Paused,
    PeerFailed,
    PeerUnavailable,
    QueueFull,
    QueueTimeout,
    RequestTimeout,
    SetupError,
    ShuttingDown,
    StillRunning,
    TargetTooLong,
    TooManyConnections,
    Unloading,
    UnsupportedEncoding,
)
from ..shapes import control, history, memory, models, pause, peers, prompt_cache, prompts, rpc

TEXT = "text/plain; charset=utf-8"
EVENTS = "text/event-stream; charset=utf-8"
PROMETHEUS = "text/plain; version=1.0.0; charset=utf-8"


@frozen
class Stream:
    """An answer that is not JSON, of a content type. `endless`: it goes on until llmsup ends."""

    type: str
    endless: bool = False


@frozen
class Operation:
    """One method of one path.

    Attributes:
        path: As the app's routes have it.
        gives: What an answer of each status is: types of `web.shapes`, one of which it has, or a `Stream`.
        query: Parameters, and what they do.
        headers: Headers that mean something, and what.
        body: Types, one of which the body has; none if it has none.
        body_wanted: Whether there must be a body.
        errors: What it may be refused with, besides what any request may.
    """

    method: Literal["get", "post"]
    path: str
    tag: str
    summary: str
    gives: Mapping[int, Any]
    query: Mapping[str, str] = Factory(dict)
    headers: Mapping[str, str] = Factory(dict)
    body: tuple[Any, ...] = ()
    body_wanted: bool = True
    errors: tuple[type[Error], ...] = ()


BODY = (InvalidJson, BodyTooLarge, BodyTooSlow, UnsupportedEncoding, BodiesFull)
LOADS = (
    *(ModelNotFound, ShuttingDown, QueueFull, QueueTimeout, InsufficientMemory, ModelTooLarge, ModelFailed),
    *(LoadTimeout, EngineDied, Unloading, OutOfResources, Paused, PeerFailed, PeerUnavailable, Loop),
)
RELOAD = {"reload": "1 or true: look at the disk first (for keys with `admin`)."}
LLAMA_SWAP = {"format": "llama-swap: as an object with a member `running`, not as a list."}
HISTORY = {"no-history": "If it is there, lines that were written before are left out."}
SEEN = {"Last-Event-ID": "The number of the last event that the client has seen: those after it come first."}

OPERATIONS = (
    Operation("get", "/openapi.json", "llmsup", "This document", {200: dict[str, Any]}),
    *(
        Operation("get", path, "llmsup", "Whether llmsup is well", {200: control.Health, 503: control.Health})
        for path in ("/health", "/v1/health")
    ),
    *(
        Operation(
            "get",
            path,
            "models",
            "All models, and what is known of them",
            {200: models.ModelList},
            query=RELOAD,
            errors=(ShuttingDown,),
        )
        for path in ("/models", "/v1/models")
    ),
    Operation(
        "get",
        "/v1/models/<model:name>",
        "models",
        "One model",
        {200: models.ModelEntry},
        errors=(ModelNotFound, ShuttingDown),
    ),
    Operation(
        "get",
        "/running",
        "models",
        "The models in this machine's memory, most to least worth keeping; `/peers` has what is loaded elsewhere",
        {200: (list[models.RunningEntry], models.RunningInEnvelope)},
        query=LLAMA_SWAP,
    ),
    Operation(
        "post",
        "/models/load",
        "models",
        "Load a model",
        {200: (control.LoadDone, control.LoadBegun, memory.Rehearsal)},
        query={"dry_run": "1 or true: only tell what would have to go for it."},
        body=(control.Load,),
        errors=(*BODY, *LOADS),
    ),
    Operation(
        "post",
        "/models/unload",
        "models",
        "Unload a model, or all",
        {200: (control.UnloadDone, control.UnloadAllDone)},
        body=(control.Unload, control.UnloadAll),
        errors=(*BODY, ModelNotFound, StillRunning),
    ),
    Operation("get", "/pause", "models", "Whether llmsup is paused, and why", {200: pause.PauseState}),
    Operation(
        "post",
        "/pause",
        "models",
        "Unload all models, and refuse requests for a while",
        {200: pause.PauseDone},
        body=(pause.AskPause,),
        body_wanted=False,
        errors=(*BODY, ShuttingDown, StillRunning),
    ),
    Operation("post", "/resume", "models", "Serve requests again", {200: pause.Resumed}),
    Operation("get", "/rpc", "models", "The RPC workers, and which models have a part there", {200: list[rpc.Worker]}),
    Operation("get", "/unload", "llama-swap's", "Unload all models", {200: Stream(TEXT)}, errors=(StillRunning,)),
    Operation(
        "post",
        "/api/models/unload",
        "llama-swap's",
        "Unload all models",
        {200: control.Message},
        errors=(StillRunning,),
    ),
    Operation(
        "post",
        "/api/models/unload/<model:name>",
        "llama-swap's",
        "Unload a model",
        {200: Stream(TEXT)},
        errors=(ModelNotFound, StillRunning),
    ),
    Operation(
        "post",
        "/reload-config",
        "configuration",
        "Apply the config and what is on the disk",
        {200: control.Reloaded},
        errors=(ConfigError, SetupError, ShuttingDown),
    ),
    Operation(
        "get",
        "/reload-config",
        "configuration",
        "Whether what the config's file says is in force",
        {200: control.ConfigState},
    ),
    Operation("get", "/catalog", "configuration", "Which files are left out, and why", {200: control.Catalog}),
    Operation(
        "get", "/prompt-cache", "models", "The conversations that survive unloads", {200: prompt_cache.PromptCache}
    ),
    Operation(
        "post",
        "/prompt-cache/clear",
        "models",
        "Remove them, or those of one model",
        {200: prompt_cache.Cleared},
        body=(prompt_cache.Clear,),
        body_wanted=False,
        errors=(*BODY, ModelNotFound, ShuttingDown),
    ),
    Operation("get", "/bridge", "configuration", "The bridge's last run and its next", {200: control.Bridge}),
    Operation(
        "post",
        "/bridge",
        "configuration",
        "Run the bridge now",
        {200: control.BridgeRun},
        body=(control.RunBridge,),
        body_wanted=False,
        errors=(*BODY, BridgeFailed, ShuttingDown),
    ),
    Operation("get", "/peers", "observation", "The other servers whose models are served here", {200: peers.Peers}),
    Operation("get", "/memory", "observation", "Memory, and the last decisions about it", {200: memory.Memory}),
    Operation(
        "get",
        "/memory/<model:name>",
        "observation",
        "Why a model is loaded, or isn't",
        {200: memory.ModelMemory},
        errors=(ModelNotFound, PeerUnavailable),
    ),
    Operation(
        "get",
        "/prompts/<model:name>",
        "observation",
        "Which of a model's last prompts were computed again, and why",
        {200: prompts.Prompts},
        errors=(ModelNotFound,),
    ),
    Operation(
        "get",
        "/history",
        "observation",
        "Memory, loads and requests of the last hours",
        {200: history.History},
        query={"hours": "How many hours; 6 where it is left out, and at most what is kept."},
    ),
    Operation(
        "get",
        "/requests",
        "observation",
        "The last requests, newest first",
        {200: history.Requests},
        query={"n": "How many; 500 where it is left out, and at most.", "model": "Only those for this model."},
    ),
    Operation(
        "get",
        "/requests/<id_>",
        "observation",
        "What was asked and answered, of a model with `capture = true`",
        {200: history.CapturedRequest},
        errors=(NotFound,),
    ),
    Operation(
        "get",
        "/events",
        "observation",
        "What happens, as it happens",
        {200: Stream(EVENTS, endless=True)},
        headers=SEEN,
    ),
    Operation("get", "/logs", "observation", "Recent lines of all logs", {200: Stream(TEXT)}),
    Operation(
        "get",
        "/logs/<model:name>",
        "observation",
        "Recent lines of a model",
        {200: Stream(TEXT)},
        errors=(ModelNotFound,),
    ),
    Operation(
        "get",
        "/logs/stream",
        "observation",
        "Lines of all logs, as they are written",
        {200: Stream(TEXT, endless=True)},
        query=HISTORY,
    ),
    Operation(
        "get",
        "/logs/stream/<model:name>",
        "observation",
        "Lines of a model, as they are written",
        {200: Stream(TEXT, endless=True)},
        query=HISTORY,
        errors=(ModelNotFound,),
    ),
    Operation("get", "/metrics", "observation", "For Prometheus", {200: Stream(PROMETHEUS)}),
    Operation("get", "/usage", "observation", "What each key has used", {200: control.Usage}),
)

EVERYWHERE = (
    *(BadRequest, MalformedRequest, TargetTooLong, HeadTooLarge, RequestTimeout, InvalidApiKey, ForbiddenOrigin),
    *(TooManyConnections, Error),
)
"""What any request may be refused with."""

OTHERS_WORDS = {
    "/props": "llama-server's router",
    "/models/sse": "llama-server's router",
    "/api/events": "llama-swap",
    "/api/profiles": "llama-swap",
    "/api/profiles/active": "llama-swap",
    "/api/captures/<int:_number>": "llama-swap",
    "/api/performance": "llama-swap",
    "/api/inflight/<int:_number>/cancel": "llama-swap",
    "/api/metrics": "llama-swap",
    "/api/metrics/activity": "llama-swap",
    "/api/metrics/stats": "llama-swap",
}
"""The app's other routes: for clients of another server, whose words they have and whose documentation describes them.
"""

FOR_BROWSERS = frozenset(("/ui", "/ui/<name>"))
"""The page and its parts: for people, no API."""
