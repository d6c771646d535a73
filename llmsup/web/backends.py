"""Where the requests of a model go that peers have, too; and what is told of one that only they have."""

from __future__ import annotations

from ..errors import ModelNotFound, PeerUnavailable
from ..fleet.fleet import Fleet
from ..peers.backend import RoutedBackend
from ..peers.choice import Candidate
from ..peers.decisions import Decided, Tally
from .shapes import backends as shapes
from .shapes.models import RunningFacts
from .status import rounded


def routed(fleet: Fleet, name: str) -> RoutedBackend | None:
    """Return what sends a model's requests to several servers, or to peers; None if it is only here, or nowhere."""
    try:
        backend = fleet.backend(fleet.resolve(name).id)
    except (ModelNotFound, PeerUnavailable):
        return None  # it may be a model that is about to go
    return backend if isinstance(backend, RoutedBackend) else None


def backends_as_json(backend: RoutedBackend | None) -> list[shapes.Backend]:
    """The servers that have it."""
    if backend is None:
        return []
    tallies, nothing = backend.routed.tallies, Tally()
    return [
        {
            "peer": where or None,
            "now": None if known is None else _weighed(known),
            "reason": why or None,
            "requests": tallies.get(where, nothing).requests,
            "reasons": [
                {"reason": reason, "requests": count}
                for reason, count in tallies.get(where, nothing).reasons.most_common()
            ],
        }
        for where, known, why in backend.seen()
    ]


def routes_as_json(backend: RoutedBackend | None) -> list[shapes.Route]:
    """The last decisions between them, the oldest first."""
    return [] if backend is None else [_route(decided) for decided in backend.routed.last]


def _route(decided: Decided) -> shapes.Route:
    choice = decided.choice
    return {
        "at": decided.at,
        "peer": choice.where or None,
        "reason": choice.reason,
        "weighed": [_weighed(each) for each in choice.order],
    }


def _weighed(known: Candidate) -> shapes.Weighed:
    return {
        "peer": known.where or None,
        "loaded": known.loaded,
        "loading": known.loading,
        "busy": known.busy,
        "slots": known.slots,
        "fits": known.fits,
        "load_seconds": rounded(known.load_seconds),
        "latency_seconds": round(known.latency, 6),
        "remembers": known.remembers,
        "asleep": known.asleep,
    }


def facts_elsewhere(backend: RoutedBackend) -> RunningFacts:
    """The facts of a model that has no engine here: hardly any."""
    spec = backend.spec
    places = ", ".join(f"{run.where} ({run.peer.spec.url})" for run in backend.runs.values())
    return {
        "model": backend.name,
        "pid": None,
        "proxy": None,
        "cmd": None,
        "ttl": None,
        "in_flight": sum(run.peer.ours[run.name] for run in backend.runs.values()),
        "waiting": 0,
        "loaded_at": None,
        "last_used": None,
        "expires_at": None,
        "load_seconds": None,
        "load": None,
        "footprint_bytes": None,
        "footprint_source": None,
        "priority": spec.priority,
        "pinned": False,
        "restarts": 0,
        "description": spec.description,
        "reason": f"it has no engine here, and is served from elsewhere: {places or 'no peer has it any more'}",
        "progress": None,
        "waits_for": None,
        "workers": [],
    }
