"""Every key of the config, as frozen values with their defaults.

It does not know where the values come from: `load` reads TOML into these, and nobody reads the file later.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import Factory, field, frozen

from ..units import NEVER, Bytes, Seconds

Kind = Literal["chat", "embedding", "rerank"]
Priority = Literal["high", "normal", "low"]

MiB = 1024**2
GiB = 1024**3


@frozen(kw_only=True)
class Server:
    """[server]: the one endpoint, and what a request may ask of it."""

    listen: str = "127.0.0.1:5005"
    api_keys: tuple[str, ...] = ()
    shutdown_grace: Seconds = Seconds(30)
    max_body: Bytes = Bytes(256 * MiB)
    state_dir: Path = field(default=Path("~/.local/state/llmsup"))
    default_model: str = ""
    cors_origins: tuple[str, ...] = ()
    certfile: str = ""
    keyfile: str = ""
    max_queue: int = 1000
    loading_comments: Seconds = Seconds(10)
    log_format: Literal["text", "json"] = "text"


@frozen(kw_only=True)
class Catalog:
    """[catalog]: where models are found."""

    roots: tuple[Path, ...] = (Path("~/.lmstudio/models"), Path("~/.cache/lm-studio/models"))
    ollama: Path | None = Path("~/.ollama/models")
    rescan: Seconds = Seconds(300)
    serve_all: bool = True


@frozen(kw_only=True)
class Settings:
    """[defaults]: what every model can be told; each key can also stand in a [models.NAME] table."""

    engine: str = "auto"
    ttl: Seconds = Seconds(1800)
    start_timeout: Seconds = Seconds(600)
    stall_timeout: Seconds = Seconds(180)
    stop_grace: Seconds = Seconds(10)
    drain_timeout: Seconds = Seconds(30)
    queue_timeout: Seconds = Seconds(600)
    max_in_flight: int = 0  # 0 = no limit
    priority: Priority = "normal"
    pinned: bool = False
    preload: bool = False
    ctx_size: int = 0  # 0 = the engine's default
    parallel: int = 0
    max_ttl: Seconds = Seconds(86400)
    n_gpu_layers: int | Literal["auto"] = "auto"
    threads: int | Literal["auto"] = "auto"
    cache_ram: Bytes = Bytes(2 * GiB)
    memory: Bytes | None = None  # declared footprint
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = Factory(dict)
    sampling: Mapping[str, Any] = Factory(dict)


@frozen(kw_only=True)
class RequestEdits:
    """[models.NAME.request]: what is written into every body, whatever the client sent."""

    set: Mapping[str, Any] = Factory(dict)
    strip: tuple[str, ...] = ()


@frozen(kw_only=True)
class ModelSpec(Settings):
    """[models.NAME]: one model, with [defaults] already applied."""

    name: str  # the table's name; not a key
    path: str = ""
    command: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    kind: Kind | None = None  # None: read from the file
    description: str = ""
    unlisted: bool = False
    health: str = "/health"  # "" = ready when the port answers
    upstream_model: str = ""
    presets: Mapping[str, Mapping[str, Any]] = Factory(dict)
    request: RequestEdits = RequestEdits()


@frozen(kw_only=True)
class Memory:
    """[memory]: how much is ours, and how it is watched."""

    reserve: Bytes | Literal["auto"] = "auto"
    limit: Bytes | Literal["auto"] = "auto"
    interval: Seconds = Seconds(1)
    probe: tuple[str, ...] | Literal["auto"] = "auto"
    min_residency: Seconds = Seconds(30)
    evict_busy: Literal["never", "critical"] = "never"


@frozen(kw_only=True)
class Bridge:
    """[bridge]: how Ollama's models get into LM Studio's folder."""

    every: Seconds = Seconds(3600)  # `inf` = off
    cron: str = ""  # instead of `every`
    command: tuple[str, ...] = ()  # empty = the built-in bridge
    target: Path = Path("~/.cache/lm-studio/models/ollama")
    timeout: Seconds = Seconds(600)


@frozen(kw_only=True)
class EngineSpec:
    """[engines.NAME]: a named way to start a server."""

    name: str  # the table's name; not a key
    command: tuple[str, ...]


@frozen(kw_only=True)
class Config:
    """The whole file."""

    server: Server = Server()
    catalog: Catalog = Catalog()
    defaults: Settings = Settings()
    models: Mapping[str, ModelSpec] = Factory(dict)
    memory: Memory = Memory()
    bridge: Bridge = Bridge()
    engines: Mapping[str, EngineSpec] = Factory(dict)


__all__ = ["NEVER", "Bridge", "Catalog", "Config", "EngineSpec", "Kind", "Memory", "ModelSpec", "Priority", "RequestEdits", "Server", "Settings"]
