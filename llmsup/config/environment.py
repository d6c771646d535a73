"""`${env:NAME}` in the config's strings.

It does not know any key: every string may have one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from .wording import Place, Report

_REFERENCE = re.compile(r"\$\{env:([^}]*)\}")
_MEANT = re.compile(r"\$\{\s*env\s*[:.]", re.IGNORECASE)

UNSET: Final = object()
"""What a value becomes that needs a variable which is not set."""


def references(value: Any) -> frozenset[str]:
    """The variables that a value's strings refer to, at any depth."""
    if isinstance(value, str):
        return frozenset(_REFERENCE.findall(value))
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return frozenset().union(*map(references, items))


def fill(value: Any, environ: Mapping[str, str], report: Report, place: Place) -> Any:
    """Replace the references in a value's strings, at any depth.

    A variable that is not set is reported, and so is what was meant for a reference and is none. What holds it is left
    out, so that the rest can still be checked: an item from its table, but a list as a whole, for without the item it
    would mean something else.
    """
    if isinstance(value, str):
        unset = [name for name in _REFERENCE.findall(value) if name not in environ]
        for name in unset:
            report.add(f"environment variable {name!r} is not set", *place)
        if meant := _MEANT.search(_REFERENCE.sub("", value)):
            report.add(f'{meant[0]!r} begins no reference to a variable: write "${{env:NAME}}"', *place)
            return UNSET
        return UNSET if unset else _REFERENCE.sub(lambda match: environ[match[1]], value)
    if isinstance(value, dict):
        table = {key: fill(item, environ, report, (*place, key)) for key, item in value.items()}
        return {key: item for key, item in table.items() if item is not UNSET}
    if isinstance(value, list):
        items = [fill(item, environ, report, (*place, index)) for index, item in enumerate(value)]
        return UNSET if UNSET in items else items
    return value
