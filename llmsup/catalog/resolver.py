"""Resolves the name in a request to the one model that is meant."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping

from attrs import Factory, frozen

from ..errors import ModelNotFound
from .found import LeftOut
from .name_parts import bare, folded


@frozen
class Match:
    """The model that a name means, and the preset if the name was `model:preset`."""

    id: str
    preset: str = ""


MANY = 500
"""With more names than this, only given names are searched for similar ones, not those of files."""

_ONLY_SO = "A file is served if it is under one of [catalog] roots, or is a model's `path` in the config."

LONGEST = 4096
"""Characters up to which other spellings of a name are tried: longer than any path (PATH_MAX)."""

Tier = dict[str, set[Match]]
"""Names of one rank, each with everything that it could mean."""


@frozen
class Called:
    """What one model is called besides its id.

    Attributes:
        preset: The preset that its id implies, or "".
        paths: The paths of its file, as names: accepted, but not suggested.
        listed: Whether lists of models have it; if not, its names are suggested after those of others.
        aliases: Names that the config gives it.
        presets: Each can be requested as `model:preset`.
        also: Names derived from its file, each with the preset that it implies, or "". Several models may have the
            same one, and then none answers to it.
    """

    aliases: Iterable[str] = ()
    presets: Iterable[str] = ()
    also: Mapping[str, str] = Factory(dict)
    preset: str = ""
    paths: Iterable[str] = ()
    listed: bool = True


class Names:
    """All names of all models.

    A given name wins over one from a file. An exact match wins over one that differs in case, and that over another
    spelling (`name_parts.bare`). A name that then fits several models means none of them.
    """

    def __init__(self, models: Mapping[str, Called], left_out: Iterable[LeftOut] = ()) -> None:
        """`models`: by id; a name given twice is the first one's. `left_out`: what is not served, and why."""
        given: Tier = {}
        for id_, called in models.items():
            given.setdefault(id_, {Match(id_, called.preset)})
            for name in called.aliases:
                given.setdefault(name, {Match(id_)})
        found = _claimed((name, Match(id_, p)) for id_, called in models.items() for name, p in called.also.items())
        presets: Tier = {}
        for id_, called in models.items():
            for name in (id_, *called.aliases):
                for preset in called.presets:
                    presets.setdefault(f"{name}:{preset}", {Match(id_, preset)})
        found_presets: Tier = {}
        for id_, called in models.items():
            for name in (name for name, preset in called.also.items() if not preset):
                for preset in called.presets:
                    found_presets.setdefault(f"{name}:{preset}", set()).add(Match(id_, preset))
        paths = _claimed((path, Match(id_)) for id_, called in models.items() for path in called.paths)
        self._unlisted = {id_ for id_, called in models.items() if not called.listed}
        self._exact = (given, found, presets, found_presets, paths)
        self._folded = tuple(_by(folded, tier) for tier in self._exact)
        self._bare = tuple(_by(bare, tier) for tier in self._exact)
        self._why_not = {bare(name): left.reason for left in left_out for name in (str(left.path), *left.names)}

    def _candidates(self, name: str) -> set[Match]:
        for tier in self._exact:
            if name in tier:
                return tier[name]
        if len(name) <= LONGEST:
            for tiers, key in ((self._folded, folded(name)), (self._bare, bare(name))):
                for tier in tiers:
                    if key in tier:
                        return tier[key]
        return set()

    def find(self, name: str) -> Match | None:
        """The model that is meant; None if there is none, or several."""
        candidates = self._candidates(name)
        return next(iter(candidates)) if len(candidates) == 1 else None

    def is_free(self, name: str) -> bool:
        """Whether nothing answers to it; a name that several share isn't free."""
        return not self._candidates(name)

    def was_given(self, name: str) -> bool:
        """Whether it is an id, an alias, or one with a preset: no file that turns up can change what it means."""
        given, _, presets, *_ = self._exact
        return name in given or name in presets

    def own(self, id_: str, names: Iterable[str]) -> list[str]:
        """The names among these that mean this model and no other."""
        matches = ((name, self.find(name)) for name in names)
        return [name for name, match in matches if match is not None and match.id == id_]

    def resolve(self, name: str) -> Match:
        """The model that is meant.

        Raises:
            ModelNotFound: There is none, or several; the message names the nearest ones.
        """
        match = self.find(name)
        if match is not None:
            return match
        shown = name if len(name) <= 100 else f"{name[:100]}..."
        if candidates := self._candidates(name):
            which = ", ".join(sorted(repr(f"{m.id}:{m.preset}" if m.preset else m.id) for m in candidates))
            raise ModelNotFound(f"The name {shown!r} fits several models: {which}.", param="model")
        if len(name) <= LONGEST and (reason := self._why_not.get(bare(name))):
            raise ModelNotFound(f"There is a file for {shown!r}, but it is not served: {reason}.", param="model")
        hint = _ONLY_SO if name.startswith(("/", "~/")) else ""
        raise ModelNotFound(f"There is no model {shown!r}{self._instead(shown)}.", param="model", hint=hint)

    def _instead(self, name: str) -> str:
        """What there is instead: the most similar names, of different models, or any if none is similar."""
        given, found, presets, *_ = self._exact
        if not given:
            return ": there are no models at all"
        # Searching for similar names takes 0.03 ms a name, and blocks the event loop.
        tiers = (found, presets, given) if len(found) + len(presets) < MANY else (given,)
        known = {each.casefold(): (each, match) for tier in tiers for each, (match, *_) in reversed(tier.items())}
        near = difflib.get_close_matches(name.casefold(), known, n=12, cutoff=0.4)
        nearest: dict[Match, str] = {}
        for each, match in map(known.__getitem__, near):
            nearest.setdefault(match, each)  # each model's best match
        if nearest:
            shown = [nearest[match] for match in sorted(nearest, key=self._is_unlisted)]
            return f". The nearest names: {', '.join(map(repr, shown[:3]))}"
        some = sorted(given, key=lambda each: (self._is_unlisted(next(iter(given[each]))), each.casefold()))
        more = f" and {len(some) - 3} more" if len(some) > 3 else ""
        return f". There are: {', '.join(map(repr, some[:3]))}{more}"

    def _is_unlisted(self, match: Match) -> bool:
        return match.id in self._unlisted


def _claimed(names: Iterable[tuple[str, Match]]) -> Tier:
    """Names derived from files: several models may have the same."""
    tier: Tier = {}
    for name, match in names:
        tier.setdefault(name, set()).add(match)
    return tier


def _by(key: Callable[[str], str], names: Tier) -> Tier:
    """The same names, by a simplified spelling."""
    tier: Tier = {}
    for name, matches in names.items():
        tier.setdefault(key(name), set()).update(matches)
    return tier
