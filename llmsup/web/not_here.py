"""What is asked of an engine that is at a peer: the error says at which, and what to type."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import ModelNotFound
from ..fleet.fleet import Fleet
from ..peers.backend import RoutedBackend
from ..peers.run import PeerRun
from .backends import routed


@contextmanager
def told_where(fleet: Fleet, name: str, command: str) -> Iterator[None]:
    """Have the error for a model that isn't here say at which peer it is. For the control API only: it tells addresses.

    Args:
        command: What of llmsup's does the same there: "unload".

    Raises:
        ModelNotFound: As the block does.
    """
    try:
        yield
    except ModelNotFound:
        backend = routed(fleet, name)
        if backend is None or backend.model is not None or not backend.runs:
            raise
        raise _elsewhere(backend, command) from None


def _elsewhere(backend: RoutedBackend, command: str) -> ModelNotFound:
    runs = list(backend.runs.values())
    typed = [_typed(run, command) for run in runs if run.peer.kind == "llmsup" and not _behind(run)]
    hints = [f"{'Do it there' if len(runs) == 1 else 'Do it where you mean'}: {', or '.join(typed)}."] if typed else []
    asked = [run for run in runs if run.peer.kind == "llmsup" and _behind(run)]
    hints += [f"{run.where} says where that is: {_typed(run, command)}." for run in asked]
    others = [run for run in runs if run.peer.kind != "llmsup"]
    hints += [f"{each.where} is no llmsup, and has means of its own for that: {each.peer.spec.url}." for each in others]
    *names, last = (f"{run.where}, which has it from another server" if _behind(run) else run.where for run in runs)
    at = f"{', '.join(names)} and {last}" if names else last
    return ModelNotFound(f"{backend.name} has no engine here: it is at {at}.", hint=" ".join(hints), param="model")


def _behind(run: PeerRun) -> bool:
    """Whether the peer, too, only passes requests on."""
    offer = run.peer.offers.get(run.name)
    return offer is not None and offer.hops > 0


def _typed(run: PeerRun, command: str) -> str:
    return f"`llmsup {command} {shlex.quote(run.name)} --url {shlex.quote(run.peer.spec.url)}`"
