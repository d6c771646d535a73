"""What there is and what is loaded, as Ollama tells it: no engine is asked."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import trio

from .... import __version__
from ....catalog.described import capabilities, preset_name
from ....catalog.entry import Entry
from ....catalog.name_parts import quant_in
from ....catalog.ollama.params import NAMES
from ....errors import MethodNotImplemented, ModelRequired
from ....fleet.model.model import Model
from ...access import is_page
from ...message import Reply, whole_reply
from ...places import Placed, capabilities_of
from ..dialect import Asked
from .dialect import json_reply, stamp

VERSION = "0.12.6"
"""Of the Ollama whose API is spoken here: clients refuse to work with old ones."""

_OURS = {ours: theirs for theirs, ours in NAMES.items()}

FAR = 300 * 365 * 86400
"""Seconds; Ollama has no "never" either."""


async def version(_asked: Asked) -> Reply:
    """`/api/version`. The second member, which clients ignore, tells llmsup from Ollama."""
    return json_reply({"version": VERSION, "llmsup": __version__})


async def root(asked: Asked) -> Reply:
    """`/`, by which Ollama's programs find out that it is there, before anything else; a browser is led to the page."""
    if is_page(asked.head):
        return whole_reply(303, [(b"location", b"/ui"), (b"vary", b"Accept"), (b"cache-control", b"no-cache")], b"")
    said = f"Ollama is running: its API, served by llmsup {__version__}\n"
    return whole_reply(200, [(b"content-type", b"text/plain; charset=utf-8")], said.encode())


async def tags(asked: Asked) -> Reply:
    """`/api/tags`: the models that are listed, with their presets."""
    models: list[dict[str, Any]] = []
    for model in asked.caller.usable(asked.fleet):
        await trio.lowlevel.checkpoint()  # hundreds of models must not hold up everybody's streams
        if not model.entry.refusal:
            models += [_listed(model, preset_name(model.spec.name, preset)) for preset in asked.listed(model)]
    for placed in asked.places().listed(asked.caller):
        await trio.lowlevel.checkpoint()
        models.append(_listed_elsewhere(placed))
    return json_reply({"models": models})


async def loaded(asked: Asked) -> Reply:
    """`/api/ps`."""
    usable = set(asked.caller.usable(asked.fleet))
    running = [
        model
        for model in asked.fleet.running()
        if model.run and model.run.loaded_at is not None and (model in usable or asked.caller.models is None)
    ]
    return json_reply({"models": [_running(model) for model in running]})


async def show(asked: Asked) -> Reply:
    """`/api/show`. Raises ModelRequired, ModelNotFound."""
    body = asked.body
    name = (body.get("model") or body.get("name")) if body else None
    if not isinstance(name, str) or not name:
        raise ModelRequired("The request names no model.", hint="GET /api/tags lists what there is.", param="model")
    match = await asked.known(name)
    if (placed := asked.elsewhere(match.id)) is not None:
        return json_reply(_shown_elsewhere(placed))
    model = asked.fleet.model(match.id)
    sampling = {**model.spec.sampling, **model.spec.presets.get(match.preset, {})}
    if model.context:
        sampling["num_ctx"] = model.context
    parameters = [f"{_OURS.get(key, key)} {msgspec.json.encode(value).decode()}" for key, value in _lines(sampling)]
    told = {
        "modelfile": f"FROM {model.entry.found.path if asked.caller.admin else name}\n" if model.entry.found else "",
        "parameters": "\n".join(parameters),
        "template": "",
        "details": _details(model.entry),
        "model_info": _info(model.entry),
        "capabilities": capabilities(model.served),
        "modified_at": stamp(_modified(model.entry)),
    }
    return json_reply(told)


async def refuse(asked: Asked) -> Reply:
    """What changes models. Raises MethodNotImplemented."""
    raise MethodNotImplemented(
        f"llmsup has no {asked.head.path[:100]}: it serves the models that are on the disk.",
        hint="Use Ollama itself, or put GGUF files into a folder that it looks at, and POST /reload-config.",
    )


def _lines(sampling: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """One for each value, as Ollama has of each string that ends an answer."""
    for key, value in sampling.items():
        yield from ((key, each) for each in (value if isinstance(value, list | tuple) else [value]))


def _listed(model: Model, name: str) -> dict[str, Any]:
    entry = model.entry
    size, modified = entry.found.size if entry.found else 0, _modified(entry)
    return {
        "name": name,
        "model": name,
        "modified_at": stamp(modified),
        "size": size,
        # Of which file and which state of it, as the hash of gigabytes would tell.
        "digest": hashlib.sha256(f"{model.spec.name} {size} {modified}".encode("utf-8", "replace")).hexdigest(),
        "details": _details(entry),
    }


def _listed_elsewhere(placed: Placed) -> dict[str, Any]:
    """Its file is not here, so there is no size, nor a hash of anything but its name. `peer` is llmsup's own."""
    return {
        "name": placed.name,
        "model": placed.name,
        "modified_at": stamp(0),
        "size": 0,
        "digest": hashlib.sha256(placed.name.encode("utf-8", "replace")).hexdigest(),
        "details": _NO_DETAILS,
        "peer": {"peers": placed.peers, "down": placed.down, "loaded": placed.loaded, "hops": placed.hops},
    }


def _shown_elsewhere(placed: Placed) -> dict[str, Any]:
    """What peers tell of it: its context, which clients look for under the name of its architecture."""
    context = placed.context_length
    return {
        "modelfile": "",
        "parameters": f"num_ctx {context}" if context else "",
        "template": "",
        "details": _NO_DETAILS,
        "model_info": {
            "general.architecture": "unknown",
            "general.basename": placed.name,
            **({"unknown.context_length": context} if context else {}),
        },
        "capabilities": capabilities_of(placed.kind),
        "modified_at": stamp(0),
    }


_NO_DETAILS: dict[str, Any] = {
    "parent_model": "",
    "format": "",
    "family": "",
    "families": [],
    "parameter_size": "",
    "quantization_level": "",
}


def _running(model: Model) -> dict[str, Any]:
    """Sizes are estimates where there is one: what the machine says has to be measured, and is in `/running`."""
    estimated = model.estimate
    listed = _listed(model, model.spec.name)
    listed.pop("modified_at")
    size = estimated.total if estimated else listed["size"]
    left = model.ttl if model.queue.busy else model.expires_at - trio.current_time()
    context = estimated.context.n_ctx_seq if estimated else 0
    expires = stamp(time.time() + min(max(left, 0.0), FAR))
    return {**listed, "size": size, "size_vram": size, "expires_at": expires, "context_length": context}


def _modified(entry: Entry) -> float:
    return entry.found.files[0].mtime_ns / 1e9 if entry.found and entry.found.files else 0.0


def _details(entry: Entry) -> dict[str, Any]:
    found = entry.found
    family = found.facts.architecture if found else ""
    return {
        "parent_model": "",
        "format": ("safetensors" if found.tensors else "gguf") if found else "",
        "family": family,
        "families": [family] if family else [],
        "parameter_size": _count(found.facts.parameters) if found else "",
        "quantization_level": (quant_in(found.path.stem) or found.facts.quantisation) if found else "",
    }


def _count(parameters: int) -> str:
    """134515008: "134.52M"."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if parameters >= size:
            return f"{parameters / size:.2f}{unit}" if unit == "M" else f"{parameters / size:.1f}{unit}"
    return str(parameters)


def _info(entry: Entry) -> dict[str, Any]:
    if entry.found is None:
        return {}
    facts = entry.found.facts
    own = {f"{facts.architecture}.{key}": value for key, value in facts.numbers.items()}
    if facts.context_length:
        own[f"{facts.architecture}.context_length"] = facts.context_length
    return {
        "general.architecture": facts.architecture,
        "general.basename": facts.name,
        "general.parameter_count": facts.parameters,
        **own,
    }
