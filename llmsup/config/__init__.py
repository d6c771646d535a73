"""The config: the schema's frozen values, and how a file becomes them, reporting every mistake at once.

Once a file is loaded, nothing reads it again.
"""

from .checks import parse_listen
from .contact import Contact, load_contact
from .find import DEFAULT_PATH, find
from .load import load, parse, read_text, understand
from .sampling import PARAMETERS
from .schema import (
    Bridge,
    Catalog,
    Config,
    EngineSpec,
    KeySpec,
    Kind,
    Memory,
    ModelSpec,
    Priority,
    RequestEdits,
    Server,
    Settings,
)

__all__ = [
    "DEFAULT_PATH",
    "PARAMETERS",
    "Bridge",
    "Catalog",
    "Config",
    "Contact",
    "EngineSpec",
    "KeySpec",
    "Kind",
    "Memory",
    "ModelSpec",
    "Priority",
    "RequestEdits",
    "Server",
    "Settings",
    "find",
    "load",
    "load_contact",
    "parse",
    "parse_listen",
    "read_text",
    "understand",
]
