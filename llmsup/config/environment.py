"""`${env:NAME}` references in the config's strings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .wording import Place, Report

_REFERENCE = re.compile(r"\$\{env:([^}]*)\}")
_MEANT = re.compile(r"\$\{\s*env\s*[:.]", re.IGNORECASE)

UNSET: Final = object()
"""Stands for a value that needs a variable which is not set."""


def references(value: Any) -> frozenset[str]:
    """Return the variables that a value's strings refer to, at any depth."""
    if isinstance(value, str):
        return frozenset(_REFERENCE.findall(value))
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return frozenset().union(*map(references, items))


def fill(value: Any, environ: Mapping[str, str], report: Report, place: Place) -> Any:
    """Replace the references in a value's strings, at any depth.

    A variable that is not set is reported, and so is a malformed reference. The value that contains it is dropped, so
    that the rest can still be checked: from a table only the one item, but a list as a whole, since it would mean
    something else without the item.
    """
    if isinstance(value, str):
        unset = [name for name in _REFERENCE.findall(value) if name not in environ]
        for name in unset:
            report.add(f"environment variable {name!r} is not set", *place)
        if meant := _MEANT.search(_REFERENCE.sub("", value)):
            report.add(f'{meant[0]!r} is not a reference to a variable: write "${{env:NAME}}"', *place)
            return UNSET
        return UNSET if unset else _REFERENCE.sub(lambda match: environ[match[1]], value)
    if isinstance(value, dict):
        table = {key: fill(item, environ, report, (*place, key)) for key, item in value.items()}
        return {key: item for key, item in table.items() if item is not UNSET}
    if isinstance(value, list):
        items = [fill(item, environ, report, (*place, index)) for index, item in enumerate(value)]
        return UNSET if UNSET in items else items
    return value
