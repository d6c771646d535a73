"""One table of the file read into one class of the schema, reporting its mistakes and keeping the rest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

import attrs
from attrs import frozen
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
)

from .converter import converter
from .environment import UNSET, fill, references
from .wording import Place, Report, did_you_mean, got

T = TypeVar("T", bound=attrs.AttrsInstance)

NOT_KEYS = ("name", "given", "secret_variables")
"""Fields that come from the table itself, not from one of its keys."""


@frozen
class Read(Generic[T]):
    """A table that was read.

    Attributes:
        value: The values read; a key with a mistake has its default.
        given: The keys that are set in it.
        bad: The keys with a mistake; further reports about them would only be noise.
        secrets: The environment variables that its secret keys refer to.
    """

    value: T
    given: frozenset[str]
    bad: frozenset[str]
    secrets: frozenset[str] = frozenset()

    def has(self, key: str) -> bool:
        """Tell whether the key is set in the table and could be read."""
        return key in self.given and key not in self.bad


def read_table(
    cls: type[T],
    raw: Any,
    place: Place,
    environ: Mapping[str, str],
    report: Report,
    *,
    fixed: Mapping[str, Any] | None = None,
) -> Read[T]:
    """Read `raw` into `cls`; `fixed` are fields that don't come from the file.

    Two passes: the first finds every mistake, the second reads the rest, so that checks between keys can run.
    """
    fixed = fixed or {}
    if type(raw) is not dict:
        report.add(f"expected a table, {got(raw)}", *place)
        return Read(cls(**fixed), frozenset(), frozenset(field.name for field in attrs.fields(cls)))
    table, bad = {}, set()
    for key, value in raw.items():
        before = len(report.lines)
        filled = fill(value, environ, report, (*place, key))
        if len(report.lines) > before:
            bad.add(key)
        if filled is not UNSET:
            table[key] = filled
    # if two keys had the same name, the second would silently win
    renamed = [key for key in NOT_KEYS if key in table]
    for key in renamed:
        report.add(_unknown(key, cls), *place)
        del table[key]
    try:
        value = converter.structure({**table, **fixed}, cls)
    except ClassValidationError as error:
        for where, what in _mistakes(error):
            report.add(what, *place, *where)
        bad |= _at_fault(error)
        left = {key: item for key, item in table.items() if key not in bad}
        value = converter.structure({**left, **fixed}, cls)
    secret = {field.name for field in attrs.fields(cls) if field.metadata.get("secret")}
    secrets = frozenset().union(*(references(item) for key, item in raw.items() if key in secret))
    return Read(value, frozenset(raw), frozenset(bad), secrets)


def _mistakes(error: BaseException) -> Iterator[tuple[Place, str]]:
    """Flatten cattrs' tree of errors; its own formatter discards the reasons."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        noted, bare = error.group_exceptions()
        for inner, note in noted:
            step = note.name if isinstance(note, AttributeValidationNote) else note.index
            for where, what in _mistakes(inner):
                yield (step, *where), what
        for inner in bare:
            yield from _mistakes(inner)
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield (), _unknown(key, error.cl)
    else:
        yield (), str(error)


def _at_fault(error: ClassValidationError) -> set[str]:
    """Return the keys of this table that contain a mistake, at any depth."""
    noted, bare = error.group_exceptions()
    unknown = {key for inner in bare if isinstance(inner, ForbiddenExtraKeysError) for key in inner.extra_fields}
    return unknown | {note.name for _, note in noted}


def _unknown(key: str, cls: type[Any]) -> str:
    known = [field.name for field in attrs.fields(cls) if field.name not in NOT_KEYS]
    return f"unknown key {key!r}{did_you_mean(key, known)}"
