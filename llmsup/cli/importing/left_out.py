"""Which top-level keys of llama-swap's file have no counterpart, and why; a model's keys are in `model`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...config.wording import dotted
from .values import items, text

_PLACES = {
    "startPort": "not needed: llama-server gets its own socket, and other commands a free port",
    "logLevel": "no counterpart: `llmsup serve -v` logs in more detail",
    "logTimeFormat": "no counterpart; see [server] log_format",
    "logToStdout": "not needed: `llmsup logs` shows what the engines and llmsup itself wrote",
    "logRequests": "not needed: llama-swap has dropped it, too",
    "metricsMaxInMemory": "no counterpart: llmsup keeps no table of requests",
    "captureBuffer": "no counterpart: llmsup keeps no bodies",
    "store": "no counterpart: llmsup keeps no table of requests",
    "ui": "no counterpart: llmsup has no web pages",
    "performance": "no counterpart: `llmsup ps` shows what each model takes",
    "sendLoadingState": "not needed: a stream that waits gets SSE comments; see [server] loading_comments",
    "includeAliasesInList": "no counterpart: aliases are answered to, not listed",
    "upstream": "no counterpart: /upstream/MODEL/ loads the model for every path",
    "profiles": "no counterpart: give a model the name as an alias",
    "selectors": "no counterpart: give the model that is meant the name as an alias",
    "matrix": "not needed: models are loaded side by side",
    "peers": "no counterpart: llmsup serves the models of this machine",
    "groups": "not needed: models are loaded side by side",
}
_TAKEN = (
    "models",
    "macros",
    "listen",
    "apiKeys",
    "healthCheckTimeout",
    "globalTTL",
    "unloadTimeout",
    "hooks",
    "routing",
)


def left_out(raw: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]], preloaded: set[str]) -> Iterator[str]:
    """A line for each top-level key that is not taken over.

    Args:
        models: The models that can be imported.
        preloaded: Names of models to load at the start.
    """
    if not models:
        yield "models: there are none."
    given = raw.get("models")
    for name in given if isinstance(given, dict) else ():
        if name not in models:
            yield f"{dotted(('models', name))}: it is not a table."
    for key in raw:
        if key in _PLACES:
            yield f"{key}: {_PLACES[key]}."
        elif key not in _TAKEN:
            yield f"{key}: no counterpart, or not known."
    hooks = raw.get("hooks")
    for key in hooks if isinstance(hooks, dict) else ():
        if key != "on_startup":
            yield f"hooks.{key}: no counterpart."
    if raw.get("routing"):
        yield f"routing: {_PLACES['groups']}."
    names = {*models, *(text(a) for s in models.values() for a in items(s.get("aliases")))}
    for name in sorted(preloaded - names):
        yield f"hooks.on_startup.preload: there is no model {name!r}."
