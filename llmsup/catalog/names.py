"""What models are called: from the name in a request to the one model that is meant.

It does not know what a model is, only its id and its other names.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from attrs import frozen

from ..errors import ModelNotFound


@frozen
class Match:
    """The model that a name means, and the preset if the name was `model:preset`."""

    id: str
    preset: str = ""


class Names:
    """All names of all models. An exact name wins, then one that differs only in case, if there is just one."""

    def __init__(self, models: Mapping[str, tuple[Iterable[str], Iterable[str]]]) -> None:
        """`models`: for each id its aliases and its presets."""
        self._exact: dict[str, Match] = {}
        self._folded: dict[str, set[Match]] = {}
        for id_, (aliases, _) in models.items():
            for name in (id_, *aliases):
                self._add(name, Match(id_))
        for id_, (aliases, presets) in models.items():
            for preset in presets:
                for name in (id_, *aliases):
                    if f"{name}:{preset}" not in self._exact:  # a model's own name wins over a preset's
                        self._add(f"{name}:{preset}", Match(id_, preset))

    def _add(self, name: str, match: Match) -> None:
        self._exact[name] = match
        self._folded.setdefault(name.casefold(), set()).add(match)

    def find(self, name: str) -> Match | None:
        """The model that is meant, or None if there is none, or if it could be several."""
        if name in self._exact:
            return self._exact[name]
        candidates = self._folded.get(name.casefold(), set())
        return next(iter(candidates)) if len(candidates) == 1 else None

    def resolve(self, name: str) -> Match:
        """The model that is meant.

        Raises:
            ModelNotFound: There is none, or it could be several; the message names the nearest.
        """
        match = self.find(name)
        if match is not None:
            return match
        shown = name if len(name) <= 100 else f"{name[:100]}..."
        if candidates := self._folded.get(name.casefold()):
            which = ", ".join(sorted(repr(f"{m.id}:{m.preset}" if m.preset else m.id) for m in candidates))
            raise ModelNotFound(f"The name {shown!r} fits several models: {which}.", param="model")
        if not self._exact:
            raise ModelNotFound(f"There is no model {shown!r}: no models are configured.", param="model")
        near = difflib.get_close_matches(shown.casefold(), self._folded, n=3, cutoff=0.4) or sorted(self._folded)[:3]
        known = {n.casefold(): n for n in reversed(self._exact)}
        nearest = ", ".join(repr(known[n]) for n in near)
        raise ModelNotFound(f"There is no model {shown!r}. The nearest names: {nearest}.", param="model")
