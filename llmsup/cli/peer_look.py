"""One look at each peer of a config, for `llmsup check`: what `serve` would say of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import trio
from attrs import frozen

from ..config.schema import PeerSpec
from ..errors import OutOfResources
from ..gateway.hosts import is_loopback
from ..peers.address import Door
from ..peers.asking.recognise import recognise
from ..peers.offer import PeerKind
from ..peers.question import NoAnswer, Questions
from ..peers.via import new_identity
from ..peers.watcher import ITSELF, let_in
from ..units import Seconds

PATIENCE = Seconds(5)
"""How long a peer may take for all its answers: somebody waits for `check`."""

ENCRYPT = (
    "its 'key' travels unencrypted to {host}: whoever is on the way can use it; write https:// into 'url', and let "
    "the peer have a certificate"
)


@frozen
class Look:
    """What was seen of a peer.

    Attributes:
        kind: What it is; None if it didn't tell.
        models: The names of its models; `let_in` are those that `models` in its table lets in.
        note: What it doesn't tell although it might, and what to do about that; "" if there is nothing to say.
        problem: Why it couldn't be asked, a clause; "" if it could.
    """

    name: str
    url: str
    kind: PeerKind | None = None
    models: tuple[str, ...] = ()
    let_in: tuple[str, ...] = ()
    note: str = ""
    problem: str = ""

    @property
    def names(self) -> Iterator[str]:
        """What its models are called here."""
        usual = [name.removesuffix(":latest") for name in self.let_in if self.kind == "ollama"]
        for name in dict.fromkeys((*self.let_in, *usual)):
            yield from (name, f"{self.name}/{name}")

    def lines(self) -> Iterator[str]:
        """For people, without full stops; only of one that answers."""
        count = f"{len(self.models)} model{'' if len(self.models) == 1 else 's'}"
        some = f", {len(self.let_in)} of which 'models' lets in" if len(self.let_in) < len(self.models) else ""
        yield f"peer {self.name}: {self.kind} at {self.url}, {count}{some}"
        if self.note:
            yield f"  {self.note}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "url": self.url,
            "kind": self.kind,
            "models": len(self.models),
            "let_in": len(self.let_in),
            "note": self.note or None,
            "problem": self.problem or None,
        }


def look_at(specs: Iterable[PeerSpec], identity: str = "") -> list[Look]:
    """Look at peers, at all of them at the same time. `identity`: of the llmsup whose peers they are, if it runs."""
    given = list(specs)
    return trio.run(_look_at, given, identity or new_identity()) if given else []


def in_the_clear(spec: PeerSpec) -> str:
    """What to say of a key that is sent so that others can read it; "" if there is nothing to say."""
    parts = urlsplit(spec.url)
    host = parts.hostname or ""
    if not spec.key or parts.scheme != "http" or is_loopback(host, certainly=True):
        return ""
    return ENCRYPT.format(host=host)


async def _look_at(specs: list[PeerSpec], identity: str) -> list[Look]:
    seen: dict[str, Look] = {}

    async def look(spec: PeerSpec) -> None:
        seen[spec.name] = await _look(spec, identity)

    async with trio.open_nursery() as nursery:
        for spec in specs:
            nursery.start_soon(look, spec)
    return [seen[spec.name] for spec in specs]


async def _look(spec: PeerSpec, identity: str) -> Look:
    door = Door(spec)
    pool = door.pool()
    questions = Questions(pool, door, identity)
    problem = f"it has not answered within {PATIENCE:g} s"
    try:
        with trio.move_on_after(PATIENCE):
            asker = await recognise(questions)
            report = await asker.ask(questions)
            if report.identity == identity:
                return Look(spec.name, spec.url, report.kind, problem=ITSELF)
            names = tuple(offer.name for offer in report.offers)
            allowed = tuple(let_in(spec, report.offers))
            return Look(spec.name, spec.url, report.kind, names, allowed, note="; ".join(report.notes))
    except (NoAnswer, OutOfResources) as error:
        problem = str(error)
    finally:
        await pool.close()
    return Look(spec.name, spec.url, problem=problem)
