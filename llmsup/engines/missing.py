"""Which models no engine on this machine can run, so that this is reported before the first request fails."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..catalog.entry import Entry
from .selector import EngineSelector

NAMED = 3
"""The number of models that one line names."""


async def without_engine(selector: EngineSelector, entries: Iterable[Entry]) -> dict[str, str]:
    """Return the models without an engine, and why, with the remedy; those that can't be served anyway are left out.

    Each program is looked for once, however many models use it.
    """
    known: dict[object, str] = {}
    missing: dict[str, str] = {}
    for entry in entries:
        if entry.refusal:
            continue
        spec, found = entry.spec, entry.found
        alone, kinds = selector.kinds.alone(found) if found else "", selector.kinds.of(spec, found)
        alike = (spec.command, spec.engine, entry.engine, alone, kinds, bool(spec.path))
        if alike not in known:
            known[alike] = await selector.missing(spec, found, entry.engine)
        if known[alike]:
            missing[entry.name] = known[alike]
    return missing


def lines_of(missing: Mapping[str, str]) -> list[str]:
    """Return a line for each reason: "a, b and 13 more can't be started: there is no engine. Install …"."""
    lines = []
    for reason in dict.fromkeys(missing.values()):
        names = sorted((name for name, why in missing.items() if why == reason), key=str.casefold)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        lines.append(f"{', '.join(names[:NAMED])}{more} can't be started: {reason}")
    return lines
