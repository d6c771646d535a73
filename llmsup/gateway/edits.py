"""What is changed in a body on its way to the engine: sampling, presets, `request.set` and `request.strip`.

This decides which members get which values; `body` does the editing.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ..config.schema import ModelSpec
from ..engines.sampling import request_fields
from .body import JsonBody


def changes(
    body: JsonBody,
    spec: ModelSpec,
    *,
    preset: str,
    defaults: Mapping[str, Any],
    generating: bool,
    renames: str = "",
) -> dict[str, Any]:
    """Return the members to change; None means to remove one.

    The client's own members override the preset, which overrides `defaults` (the sampling that the engine has no flags
    for); `request.strip` and then `request.set` override everything. `renames`: what the model is called where the body
    goes; "": as `upstream_model` says.
    """
    out: dict[str, Any] = {}
    if generating:
        wanted = {**defaults, **(request_fields(spec.presets[preset]) if preset else {})}
        out.update({name: value for name, value in wanted.items() if not body.sets(name)})
    for path in spec.request.strip:
        _strip(body, out, path.split("."))
    for path, value in spec.request.set.items():
        _set(body, out, path.split("."), value)
    if name := renames or spec.upstream_model:
        out["model"] = name
    return out


def _top(body: JsonBody, out: dict[str, Any], name: str) -> Any:
    """Return the member as it would be sent so far, as a copy that may be changed."""
    return copy.deepcopy(out[name]) if name in out else body.get(name)


def _strip(body: JsonBody, out: dict[str, Any], path: list[str]) -> None:
    if len(path) == 1:
        if path[0] in body or path[0] in out:
            out[path[0]] = None
        return
    top = _top(body, out, path[0])
    parent = top
    for name in path[1:-1]:
        parent = parent.get(name) if isinstance(parent, dict) else None
    if isinstance(parent, dict) and path[-1] in parent:
        del parent[path[-1]]
        out[path[0]] = top


def _set(body: JsonBody, out: dict[str, Any], path: list[str], value: Any) -> None:
    if len(path) == 1:
        out[path[0]] = value
        return
    top = _top(body, out, path[0])
    parent = top = top if isinstance(top, dict) else {}
    for name in path[1:-1]:
        if not isinstance(parent.get(name), dict):
            parent[name] = {}
        parent = parent[name]
    parent[path[-1]] = value
    out[path[0]] = top
