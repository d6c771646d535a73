"""What `llmsup check` says of peers, and of tables for models that are only at peers: all of it warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from ..config.peers import AT_PEERS
from ..config.schema import Config, ModelSpec
from ..config.wording import Place, did_you_mean
from .peer_look import Look, in_the_clear


def of_peers(config: Config, seen: Sequence[Look]) -> Iterator[tuple[str, Place]]:
    """What may pass by itself, as peers come and go; and keys that others can read: sentences without full stops."""
    for peer in seen:
        spec, place = config.peers[peer.name], ("peers", peer.name)
        if peer.problem:
            wakes = "; if its machine sleeps, a request wakes it" if spec.mac else ""
            yield f"peer {peer.name} can't be asked now: {peer.problem}{wakes}", (*place, "url")
        elif not peer.models:
            yield f"peer {peer.name} has no models", (*place, "url")
        for number, pattern in enumerate(spec.models if peer.models else ()):
            if not any(fnmatchcase(name.casefold(), pattern.casefold()) for name in peer.models):
                what = f"{pattern!r} fits none of the peer's models{did_you_mean(pattern, peer.models)}"
                yield what, (*place, "models", number)
        if unencrypted := in_the_clear(spec):
            yield unencrypted, (*place, "key")


def of_tables(tables: Iterable[ModelSpec], seen: Sequence[Look]) -> Iterator[tuple[str, Place]]:
    """Of tables whose models aren't here: those that no peer has now, and what of them is about engines only."""
    offered = list(dict.fromkeys(name for peer in seen for name in peer.names))
    silent = [peer.name for peer in seen if peer.problem]
    for table in tables:
        place = ("models", table.name)
        if not {table.name, *table.aliases}.intersection(offered):
            unknown = f" ({' and '.join(silent)} can't be asked)" if silent else ""
            what = f"{table.name!r} is not here, and no peer offers it now{unknown}"
            yield f"{what}{did_you_mean(table.name, offered)}", place
        if useless := sorted({key.partition(".")[0] for key in table.given} - AT_PEERS):
            keys, have = ", ".join(map(repr, useless)), "has" if len(useless) == 1 else "have"
            what = f"{table.name!r} is not here, and at peers {keys} {have} no effect: engines have settings there"
            yield what, (*place, useless[0]) if len(useless) == 1 else place
