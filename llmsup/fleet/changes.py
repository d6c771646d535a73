"""What a reload changes: which models are added, removed, changed or unchanged."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from ..catalog.entry import Entry


@frozen(kw_only=True)
class Changes:
    """The models' names, by what a reload means for them.

    Attributes:
        changed: Something about them is different; their engines end only if they would be started differently now.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        named = (("added", self.added), ("removed", self.removed), ("changed", self.changed))
        return "; ".join(f"{what}: {_some(names)}" for what, names in named if names) or "nothing changed"


def compare(before: Mapping[str, Entry], after: Mapping[str, Entry]) -> Changes:
    """The difference between two sets of models."""
    both = [name for name in after if name in before]
    return Changes(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name in both if before[name] != after[name]),
        unchanged=tuple(name for name in both if before[name] == after[name]),
    )


def _some(names: tuple[str, ...], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
