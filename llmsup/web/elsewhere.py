"""A model of a peer as an entry of `/v1/models`."""

from __future__ import annotations

from collections.abc import Iterable

from ..gateway.places import Placed, capabilities_of
from ..peers.peer import PeerState
from .shapes.models import ModelEntry, Status
from .shapes.peers import Places
from .status import rfc3339


def elsewhere_entry(placed: Placed, *, created: int, names: Iterable[str], admin: bool) -> ModelEntry:
    """One entry. What only a file here could tell is null: its sizes, and what it takes of this machine's memory.

    Args:
        names: What else it answers to.
        admin: Whether the caller may know why a peer doesn't answer, which tells where it is.
    """
    name, context = placed.name, placed.context_length
    return {
        "id": name,
        "object": "model",
        "created": created,
        "type": "model",
        "display_name": name,
        "created_at": rfc3339(created),
        "owned_by": "llmsup",
        "status": _status(placed, admin=admin),
        "peer": where(placed),
        "kind": placed.kind or "chat",
        "context_length": context,
        "size_bytes": None,
        "architecture": None,
        "quantization": None,
        "parameters": None,
        "capabilities": capabilities_of(placed.kind),
        "memory": None,
        "needs_bytes": None,
        "needs_source": None,
        "grows_bytes": None,
        "fits": None,
        "prompt_cache": {"able": "no", "reason": "its engine is not here"},
        "source": None,
        "without_projector": None,
        "ollama_only": None,
        "tags": [],
        "meta": {"n_ctx": context} if context else {},
        "aliases": placed.aliases,
        "names": list(names),
        "description": placed.spec.description,
    }


def where(placed: Placed) -> Places:
    """Where it is."""
    return {"peers": placed.peers, "down": placed.down, "loaded": placed.loaded, "hops": placed.hops}


def _status(placed: Placed, *, admin: bool) -> Status:
    """In the words that models here have. One is down only if all its peers are."""
    if len(placed.down) == len(placed.places):
        silent = "no peer that has it answers"
        why = "; ".join(f"{place.peer.name}: {place.reason}" for place in placed.places)
        return {"value": "failed", "reason": silent, "error": f"{silent} ({why})" if admin else silent}
    if at := placed.loaded_at:
        return {"value": "loaded", "reason": f"it is loaded at {' and '.join(at)}"}
    if at := placed.loading_at:
        return {"value": "loading", "reason": f"it is being loaded at {' and '.join(at)}"}
    awake = [place for place in placed.places if not place.down]
    at = [place.peer.name for place in awake]
    if all(place.peer.state in (PeerState.ASLEEP, PeerState.WAKING) for place in awake):
        sleeps = "sleeps, and a request wakes it" if len(at) == 1 else "sleep, and a request wakes one"
        return {"value": "unloaded", "reason": f"{' and '.join(at)} {sleeps}"}
    if placed.loaded is None:
        does = "doesn't" if len(at) == 1 else "don't"
        return {"value": "unloaded", "reason": f"{' and '.join(at)} {does} tell whether it is loaded"}
    return {"value": "unloaded", "reason": f"it is not loaded at {' or '.join(at)}"}
