"""The errors that cross rooms: each has an HTTP status, a code and a hint.

`web` turns them into JSON, `cli` into lines.
"""

from __future__ import annotations

from .base import Error
from .download import DownloadCut, DownloadFailed
from .engine import EngineBadAnswer, EngineDied, LoadTimeout, ModelFailed
from .request import (
    AdminRequired,
    BadRequest,
    BodyTooLarge,
    BodyTooSlow,
    ForbiddenOrigin,
    HeadTooLarge,
    InvalidApiKey,
    InvalidJson,
    MalformedRequest,
    MethodNotAllowed,
    MethodNotImplemented,
    ModelNotFound,
    ModelRequired,
    NotFound,
    QueueFull,
    RateLimited,
    RequestTimeout,
    TargetTooLong,
    TlsWanted,
    UnsupportedEncoding,
    VersionNotSupported,
)
from .setup import Collected, ConfigError, ConfigUnreadable, SetupError, SetupErrors
from .unavailable import (
    BodiesFull,
    BridgeFailed,
    InsufficientMemory,
    ModelNotLoaded,
    ModelTooLarge,
    OutOfResources,
    QueueTimeout,
    ShuttingDown,
    StillRunning,
    TooManyConnections,
    Unloading,
)

__all__ = [
    "AdminRequired",
    "BadRequest",
    "BodiesFull",
    "BodyTooLarge",
    "BodyTooSlow",
    "BridgeFailed",
    "Collected",
    "ConfigError",
    "ConfigUnreadable",
    "DownloadCut",
    "DownloadFailed",
    "EngineBadAnswer",
    "EngineDied",
    "Error",
    "ForbiddenOrigin",
    "HeadTooLarge",
    "InsufficientMemory",
    "InvalidApiKey",
    "InvalidJson",
    "LoadTimeout",
    "MalformedRequest",
    "MethodNotAllowed",
    "MethodNotImplemented",
    "ModelFailed",
    "ModelNotFound",
    "ModelNotLoaded",
    "ModelRequired",
    "ModelTooLarge",
    "NotFound",
    "OutOfResources",
    "QueueFull",
    "QueueTimeout",
    "RateLimited",
    "RequestTimeout",
    "SetupError",
    "SetupErrors",
    "ShuttingDown",
    "StillRunning",
    "TargetTooLong",
    "TlsWanted",
    "TooManyConnections",
    "Unloading",
    "UnsupportedEncoding",
    "VersionNotSupported",
]
