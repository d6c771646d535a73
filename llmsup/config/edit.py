"""Changes to a config file that a person wrote: a table added or removed, and every other line left as it is.

Each change is checked by reading the result: if it says anything but what it should, nothing is changed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Any

from .write import Table, dotted_name


def with_table(text: str, table: Table) -> str:
    """Return a file's text with another table at its end.

    Raises:
        ValueError: It can't stand there; the message says why.
    """
    before = tomllib.loads(text)
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    new = f"{text}{gap}{table.text()}"
    name = dotted_name(table.name)
    if _at(before, table.name) is not None:
        raise ValueError(f"there is a [{name}] already")
    try:
        after = tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        raise ValueError(f"[{name}] can't be added below, as its other tables are written in one line") from None
    if _without(after, table.name) != _without(before, table.name):
        raise ValueError(f"[{name}] would change something else")
    return new


def without_table(text: str, name: Sequence[str]) -> str:
    """Return a file's text without a table. Comments that stand behind its last key stay.

    Raises:
        LookupError: There is no such table.
        ValueError: It isn't written as a table of its own; the message says so.
    """
    before = tomllib.loads(text)
    if _at(before, name) is None:
        raise LookupError(f"there is no [{dotted_name(name)}]")
    lines = text.splitlines(keepends=True)
    headers = [number for number, line in enumerate(lines) if _table_in(line) is not None]
    for start in headers:
        if _table_in(lines[start]) != _nested(name):
            continue
        end = min((number for number in headers if number > start), default=len(lines))
        while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
            end -= 1
        above = lines[:start]
        while above and not above[-1].strip():
            above.pop()
        new = "".join((*above, *lines[end:]))
        try:
            after = tomllib.loads(new)
        except tomllib.TOMLDecodeError:
            continue
        if after == _without(before, name):
            return new
    raise ValueError(f"[{dotted_name(name)}] isn't written as a table of its own")


def _table_in(line: str) -> dict[str, Any] | None:
    """Return what a line says if it is a table's header; in a text of several lines it may only look like one."""
    if not line.lstrip().startswith("[") or line.lstrip().startswith("[["):
        return None
    try:
        return tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None


def _nested(name: Sequence[str]) -> dict[str, Any]:
    return {name[0]: _nested(name[1:])} if name else {}


def _at(tables: dict[str, Any], name: Sequence[str]) -> Any:
    found: Any = tables
    for step in name:
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _without(tables: dict[str, Any], name: Sequence[str]) -> dict[str, Any]:
    """Return the same tables without one, and without those that are left empty around it."""
    first, *rest = name
    inner = tables.get(first)
    others = {key: value for key, value in tables.items() if key != first}
    if not rest or not isinstance(inner, dict):
        return others
    inner = _without(inner, rest)
    return {**others, first: inner} if inner else others
