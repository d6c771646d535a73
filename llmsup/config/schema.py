"""Every key of the config, as frozen values with their defaults.

`load` reads TOML into these.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import Factory, field, frozen

from ..units import Bytes, Seconds
from . import checks
from .engine_words import AUTO
from .tilde import expand, expand_all, expand_optional, expand_or_auto, expand_text

Kind = Literal["chat", "embedding", "rerank"]
Priority = Literal["high", "normal", "low"]

SECRET: Mapping[str, Any] = {"secret": True}
"""Marks a secret key: the variables that it refers to are withheld from every program we start."""

AS_TYPED: Mapping[str, Any] = {"as_typed": True}
"""Marks a key that is read by its type alone, though keys of that name elsewhere aren't."""

MiB = 1024**2
GiB = 1024**3


@frozen(kw_only=True)
class Server:
    """[server]: the one endpoint, and what a request may ask of it."""

    listen: str = field(default="127.0.0.1:5005", validator=checks.address)
    ollama_listen: str = field(default="", validator=checks.address_or_none)  # true: Ollama's own
    api_keys: tuple[str, ...] = field(default=(), validator=checks.keys, repr=False, metadata=SECRET)
    shutdown_grace: Seconds = Seconds(30)
    max_body: Bytes = field(default=Bytes(256 * MiB), validator=checks.positive)
    state_dir: Path = field(default=Path("~/.local/state/llmsup"), converter=expand, validator=checks.known_home)
    default_model: str = ""
    cors_origins: tuple[str, ...] = field(default=(), validator=checks.origins)
    hosts: tuple[str, ...] = field(default=(), validator=checks.hosts)
    certfile: str = field(default="", converter=expand_text, validator=checks.known_home)
    keyfile: str = field(default="", converter=expand_text, validator=checks.known_home)
    max_queue: int = field(default=1000, validator=checks.at_least(1))
    loading_comments: Seconds = field(default=Seconds(10), validator=checks.positive)
    log_format: Literal["text", "json"] = "text"
    fast: bool = True
    prompt_chains: bool = True
    watch_config: bool = True
    keep_awake: bool = True


@frozen(kw_only=True)
class Catalog:
    """[catalog]: where models are found."""

    roots: tuple[Path, ...] = field(
        default=(Path("~/.lmstudio/models"), Path("~/.cache/lm-studio/models")),
        converter=expand_all,
        validator=checks.known_home,
    )
    ollama: Path | None = field(
        default=Path("~/.ollama/models"), converter=expand_optional, validator=checks.known_home
    )
    rescan: Seconds = field(default=Seconds(300), validator=checks.positive)
    serve_all: bool = True


@frozen(kw_only=True)
class Settings:
    """[defaults]: settings for every model; each key can also be set in a [models.NAME] table."""

    engine: str = AUTO
    ttl: Seconds = Seconds(1800)
    start_timeout: Seconds = field(default=Seconds(600), validator=checks.positive)
    stall_timeout: Seconds = field(default=Seconds(180), validator=checks.positive)
    hang_timeout: Seconds = field(default=Seconds(300), validator=checks.positive)
    stop_grace: Seconds = field(default=Seconds(10), validator=checks.finite)  # an unload must end
    drain_timeout: Seconds = Seconds(30)
    queue_timeout: Seconds = Seconds(600)
    max_in_flight: int = field(default=0, validator=checks.at_least(0))  # 0 = no limit
    priority: Priority = "normal"
    pinned: bool = False
    preload: bool = False
    ctx_size: int = field(default=0, validator=checks.at_least(0))  # 0 = the engine's default
    parallel: int = field(default=0, validator=checks.at_least(0))
    max_ttl: Seconds = Seconds(86400)
    # no -1: llama.cpp has changed its meaning
    n_gpu_layers: int | Literal["auto"] = field(default="auto", validator=checks.at_least(0))
    devices: tuple[str, ...] = field(default=(), validator=checks.devices)  # empty = the engine's choice
    threads: int | Literal["auto"] = field(default="auto", validator=checks.at_least(1))
    cache_ram: Bytes = Bytes(2 * GiB)
    load_mode: Literal["auto", "mmap", "read", "direct"] = "auto"  # `load_modes.LoadMode`
    memory: Bytes | None = field(default=None, validator=checks.positive)  # declared footprint
    sleep: int | Literal["auto"] = field(default="auto", validator=checks.within(0, 2))  # 0 = never
    idle_paths: tuple[str, ...] = field(default=(), validator=checks.url_paths)
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = Factory(dict)
    sampling: Mapping[str, Any] = Factory(dict)


@frozen(kw_only=True)
class RequestEdits:
    """[models.NAME.request]: edits to every request's body, whatever the client sent."""

    set: Mapping[str, Any] = Factory(dict)
    strip: tuple[str, ...] = ()


@frozen(kw_only=True)
class ModelSpec(Settings):
    """[models.NAME]: one model, with [defaults] already applied."""

    name: str  # the table's name; not a key
    given: frozenset[str] = field(default=frozenset(), eq=False)  # the keys set in the table; not a key either
    path: str = field(default="", converter=expand_text, validator=checks.known_home)
    command: tuple[str, ...] = ()
    aliases: tuple[str, ...] = field(default=(), validator=checks.names)
    kind: Kind | None = None  # None: read from the file
    description: str = ""
    unlisted: bool = False
    health: str = field(default="/health", validator=checks.url_path)  # "" = ready when the port answers
    upstream_model: str = ""
    capture: bool = False  # keep what is asked and answered, in memory
    presets: Mapping[str, Mapping[str, Any]] = Factory(dict)
    request: RequestEdits = RequestEdits()
    rpc: tuple[str, ...] = field(default=(), validator=checks.names)  # [rpc.NAME] tables


@frozen(kw_only=True)
class Memory:
    """[memory]: how much models may use, and how memory is watched."""

    reserve: Bytes | Literal["auto"] = "auto"
    limit: Bytes | Literal["auto"] = field(default="auto", validator=checks.positive)
    interval: Seconds = field(default=Seconds(1), validator=[checks.positive, checks.finite])
    probe: tuple[str, ...] | Literal["auto"] = "auto"
    min_residency: Seconds | Literal["auto"] = "auto"
    evict_busy: Literal["never", "critical"] = "never"
    yield_to: tuple[str, ...] = field(default=(), validator=checks.names)  # programs, by name; globs


@frozen(kw_only=True)
class History:
    """[history]: what is remembered of the time before now."""

    keep: Seconds = field(default=Seconds(7 * 86400), validator=checks.finite)  # 0 = nothing is written down


@frozen(kw_only=True)
class Bridge:
    """[bridge]: how Ollama's models get into LM Studio's folder."""

    every: Seconds = field(default=Seconds(3600), validator=checks.positive)  # `inf` = off
    cron: str = field(default="", validator=checks.cron)  # instead of `every`
    command: tuple[str, ...] = ()  # empty = the built-in bridge
    target: Path | Literal["auto"] = field(default="auto", converter=expand_or_auto, validator=checks.known_home)
    timeout: Seconds = field(default=Seconds(600), validator=checks.positive)


@frozen(kw_only=True)
class PromptCacheSpec:
    """[prompt_cache]: conversations that are kept on the disk while their model is unloaded."""

    disk: Bytes = Bytes(20 * GiB)  # 0 = off
    writes_per_day: Bytes = field(default=Bytes(64 * GiB), validator=checks.positive)
    min_tokens: int = field(default=512, validator=checks.at_least(1))


@frozen(kw_only=True)
class EngineSpec:
    """[engines.NAME]: a named way to start a server."""

    name: str  # the table's name; not a key
    command: tuple[str, ...] = ()  # empty is a mistake, reported with all the others


@frozen(kw_only=True)
class KeySpec:
    """[keys.NAME]: one client's key, and what it may do."""

    name: str  # the table's name; not a key
    # of the key, "sha256:" and 64 hexadecimal digits; made from the variable if that is named instead
    hash: str = field(default="", validator=checks.key_hash)
    env: str = field(default="", validator=checks.variable, metadata=AS_TYPED)  # the variable that has the key
    models: tuple[str, ...] = field(default=("*",), validator=checks.names)  # globs
    admin: bool = False
    requests_per_minute: int = field(default=0, validator=checks.at_least(0))  # 0 = no limit
    max_in_flight: int = field(default=0, validator=checks.at_least(0))


@frozen(kw_only=True)
class PeerSpec:
    """[peers.NAME]: another server whose models are served here, too."""

    name: str  # the table's name; not a key
    url: str = field(default="", validator=checks.server_url)  # empty is a mistake, reported with all the others
    key: str = field(default="", validator=checks.key_or_none, repr=False, metadata=SECRET)
    models: tuple[str, ...] = field(default=("*",), validator=checks.names)  # globs
    priority: Priority = "normal"
    ca: str = field(default="", converter=expand_text, validator=checks.known_home)  # PEM; "": what the system trusts
    # of its certificate, instead of `ca`
    fingerprint: str = field(default="", converter=checks.plain_fingerprint, validator=checks.fingerprint)
    mac: str = field(default="", validator=checks.mac)  # to wake it
    wake_timeout: Seconds = field(default=Seconds(120), validator=[checks.positive, checks.finite])


@frozen(kw_only=True)
class RpcSpec:
    """[rpc.NAME]: a llama.cpp RPC worker, on which a model's engine can put a part of the model."""

    name: str  # the table's name; not a key
    url: str = field(default="", validator=checks.worker_address)  # of one that runs anyway
    command: tuple[str, ...] = ()  # to start it; that or `url`
    ssh: tuple[str, ...] = ()  # what follows `ssh` to get to its machine: "me@box"
    memory: Bytes | None = field(default=None, validator=checks.positive)  # None: what it says it has
    ttl: Seconds = Seconds(1800)
    start_timeout: Seconds = field(default=Seconds(60), validator=[checks.positive, checks.finite])
    stop_grace: Seconds = field(default=Seconds(5), validator=checks.finite)


@frozen(kw_only=True)
class Config:
    """The whole file."""

    server: Server = Factory(Server)
    catalog: Catalog = Factory(Catalog)
    defaults: Settings = Factory(Settings)
    models: Mapping[str, ModelSpec] = Factory(dict)
    memory: Memory = Factory(Memory)
    history: History = Factory(History)
    bridge: Bridge = Factory(Bridge)
    prompt_cache: PromptCacheSpec = Factory(PromptCacheSpec)
    engines: Mapping[str, EngineSpec] = Factory(dict)
    keys: Mapping[str, KeySpec] = Factory(dict)
    peers: Mapping[str, PeerSpec] = Factory(dict)
    rpc: Mapping[str, RpcSpec] = Factory(dict)
    secret_variables: frozenset[str] = field(default=frozenset(), eq=False)  # what secret keys refer to; not a key

    @property
    def wants_key(self) -> bool:
        """Whether requests need a key."""
        return bool(self.server.api_keys or self.keys)
