"""What the rest of the control API takes and gives."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from ...fleet.model.states import State

Name = Annotated[str, Meta(min_length=1, description="A model's id, or any other name that it answers to.")]


class Health(TypedDict):
    """llmsup's own health; a model's is `/health?model=NAME`.

    Attributes:
        problems: What keeps models from being served, for people.
    """

    status: Literal["ok", "shutting down"]
    problems: NotRequired[list[str]]


class LeftOut(TypedDict):
    """A file that is not served on its own, and why."""

    path: str
    reason: str


class Catalog(TypedDict):
    """What was found on the disk.

    Attributes:
        models: How many.
        complete: Whether all files have been read; until then there may be more models.
        read: How many files the present scan has read, of `of`.
    """

    models: int
    complete: bool
    read: int
    of: int
    left_out: list[LeftOut]


class Reloaded(TypedDict):
    """What a reload has changed; models by name.

    Attributes:
        changed: Something about them is different; those that would be started differently now are started again.
        refused: Models that are listed but can't be served, and why.
        settings: Names of other settings that changed and are in force now: "keys", "server.cors_origins".
        restart_needed: Settings that changed, and take effect only when llmsup is started again.
    """

    added: list[str]
    removed: list[str]
    changed: list[str]
    unchanged: list[str]
    refused: dict[str, str]
    settings: list[str]
    restart_needed: list[str]


class ConfigState(TypedDict):
    """The config's file, and whether what it says is in force.

    Attributes:
        file: null: this server reads none.
        watched: Whether it is applied when it changes (`server.watch_config`).
        since: Since when what is in force is that.
        problem: Why what the file says now is not in force; null if it is.
        mistakes: Those in the file, with their places.
    """

    file: str | None
    watched: bool
    since: float
    problem: str | None
    mistakes: list[str]


class Load(TypedDict):
    """Which model to load.

    Attributes:
        wait: Whether to answer when it is ready (the default), or at once.
        ttl: How long it may be idle instead of its own ttl, in seconds or as "2h", "never"; until it is unloaded.
        pinned: Whether it is neither to make room nor to be unloaded when idle, whatever the config says; until it is
            unloaded by hand.
    """

    model: Name
    wait: NotRequired[bool | None]
    ttl: NotRequired[float | str | None]
    pinned: NotRequired[bool | None]


class LoadDone(TypedDict):
    """The model is loaded."""

    success: Literal[True]
    model: str
    seconds: float


class LoadBegun(TypedDict):
    """With `"wait": false`: the load has begun, and its state is this."""

    success: Literal[True]
    model: str
    state: State


class Unload(TypedDict):
    """Which model to unload.

    Attributes:
        force: Whether to cut off requests in flight; else they may finish within `drain_timeout`.
        ttl: Not now, but once it has been idle for so long, in seconds or as "10m"; the answer comes at once.
        all: false; see `UnloadAll`.
    """

    model: Name
    force: NotRequired[bool | None]
    ttl: NotRequired[float | str | None]
    all: NotRequired[Literal[False] | None]


class UnloadAll(TypedDict):
    """All models are to be unloaded; `force` and `ttl` as in `Unload`."""

    all: Literal[True]
    force: NotRequired[bool | None]
    ttl: NotRequired[float | str | None]


class Freed(TypedDict):
    """What an unload gave back.

    Attributes:
        freed_bytes: What was held; 0: nothing was loaded.
    """

    success: Literal[True]
    freed_bytes: int
    seconds: float


class UnloadDone(Freed):
    """The model is not loaded any more; its memory is back."""

    model: str


class UnloadAllDone(Freed):
    """No model is loaded any more; these were."""

    models: list[str]


class Message(TypedDict):
    """llama-swap's answer to an unload."""

    msg: Literal["ok"]


class KeyUsage(TypedDict):
    """What a key has used since llmsup started.

    Attributes:
        key: Its name in [keys]; "api_keys" for those in server.api_keys.
        refused: Requests that were refused for a limit of the key.
        in_flight: Requests that go on now.
        tokens_in: Tokens of prompts, as far as engines told.
        tokens_out: Tokens of answers, as far as engines told.
        requests_without_tokens: Answers that told no tokens.
        seconds: Of all requests, waiting included.
        last_used: When the last one began.
    """

    key: str
    requests: int
    refused: int
    in_flight: int
    tokens_in: int
    tokens_out: int
    requests_without_tokens: int
    seconds: float
    last_used: float | None


class Usage(TypedDict):
    """What keys have used; a key without `admin` sees its own line only.

    Attributes:
        since: Since when it is counted.
    """

    since: float
    keys: list[KeyUsage]


class Skipped(TypedDict):
    """A model of Ollama's that has no link, and why."""

    model: str
    reason: str


class BridgeRun(TypedDict):
    """One run of the bridge.

    Attributes:
        command: The user's program; null: the built-in bridge.
        exit_code: The program's, -N for signal N; null if there was none, or it was killed after its timeout.
        made: Links that are new or lead elsewhere now, by path under the target.
        kept: How many links were left as they were.
        problems: What couldn't be done and why; the rest was done.
        note: Why there was nothing to do.
        lines: The last lines that the program printed.
        error: Why it failed.
    """

    success: bool
    started_at: float
    seconds: float
    command: str | None
    dry_run: bool
    exit_code: int | None
    made: list[str]
    removed: list[str]
    kept: int
    skipped: list[Skipped]
    problems: list[str]
    note: str | None
    lines: list[str]
    error: str | None


class Bridge(TypedDict):
    """The bridge from Ollama's models to LM Studio.

    Attributes:
        running: It runs now.
        schedule: When it runs: a cron line, or the time between runs.
        next_run: null: it is off.
        target: The folder of its links.
    """

    running: bool
    schedule: str
    next_run: float | None
    target: str | None
    last_run: BridgeRun | None


class RunBridge(TypedDict):
    """How to run the bridge.

    Attributes:
        dry_run: Whether to change nothing, and only tell.
    """

    dry_run: NotRequired[bool | None]
