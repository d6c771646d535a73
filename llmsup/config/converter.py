"""The strict cattrs converter, with a hook for every type in the schema.

On its own cattrs turns "5" into 5.0, true into 1.0 and "ab" into ('a', 'b'), so no type is left to it.
"""

from __future__ import annotations

import operator
import types
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, override

from ..units import Bytes, Seconds
from . import values
from .values import Hook
from .wording import did_you_mean, got


def literal(value: Any, type_: Any) -> Any:
    """Accept one of a literal's words."""
    words = get_args(type_)
    if type(value) is not str or value not in words:
        hint = did_you_mean(value, words) if type(value) is str else ""
        raise ValueError(f"expected one of {', '.join(map(repr, words))}, {got(value)}{hint}")
    return value


def union(value: Any, type_: Any) -> Any:
    """Accept the one type of the union, or its words ("auto"), or "" where the union includes None."""
    parts = get_args(type_)
    if type(value) is str:
        if not value and types.NoneType in parts:
            return None
        if any(value in get_args(part) for part in parts if get_origin(part) is Literal):
            return value
    (plain,) = (part for part in parts if part is not types.NoneType and not _is_word(part, parts))
    try:
        return converter.structure(value, plain)
    except ValueError as error:
        words = [word for part in parts if _is_word(part, parts) for word in get_args(part)]
        near = did_you_mean(value, words) if type(value) is str else ""
        raise ValueError(f"{error}{near or f' (or {words[0]!r})'}" if words else str(error)) from None


def _is_word(part: Any, parts: tuple[Any, ...]) -> bool:
    """Distinguish a word beside a type ("auto") from a Literal that is the type itself."""
    return get_origin(part) is Literal and types.NoneType not in parts


# Keys whose accepted values can't be told from their type; each means the same in every table.
_BY_KEY: Mapping[str, Hook] = {
    "api_keys": values.keys,
    "certfile": values.word,
    "command": values.command,
    "env": values.environment,
    "keyfile": values.word,
    "ollama_listen": values.ollamas,
    "path": values.word,
    "presets": values.presets,
    "probe": values.probe,
    "sampling": values.sampling,
    "set": values.body_table,
    "ssh": values.command,
    "strip": values.body_members,
}


def table_hook(cls: type[attrs.AttrsInstance]) -> Hook:
    """Make the hook for one of the schema's classes: it rejects unknown keys and checks each field separately.

    attrs alone would run the validators only once all types are right, and would stop at the first that fails.
    """
    attrs.resolve_types(cls)

    def field_hook(attribute: attrs.Attribute[Any]) -> Hook:
        read = _BY_KEY.get(attribute.name, converter.structure)
        if attribute.metadata.get("as_typed"):
            read = converter.structure

        def hook(value: Any, _type: Any) -> Any:
            value = read(value, attribute.type)
            if attribute.validator:
                attribute.validator(None, attribute, value)
            return value

        return hook

    overrides: dict[str, Any] = {a.name: override(struct_hook=field_hook(a)) for a in attrs.fields(cls)}
    build = make_dict_structure_fn(cls, converter, _cattrs_forbid_extra_keys=True, **overrides)
    return lambda value, type_: build(values.table(value, dict), type_)


def _is_literal(type_: Any) -> bool:
    return get_origin(type_) is Literal


def _is_union(type_: Any) -> bool:
    return get_origin(type_) in (Union, types.UnionType)


converter = Converter(detailed_validation=True)
_CLASSES: tuple[tuple[type, Hook], ...] = (
    (bool, values.exactly(bool, "true or false")),
    (int, values.exactly(int, "a whole number")),
    (str, values.string),
    (Path, values.path),
)
_TYPES: tuple[tuple[Any, Hook], ...] = (
    (Seconds, values.seconds),
    (Bytes, values.size),
    (tuple[str, ...], values.strings),
    (tuple[Path, ...], values.paths),
)
for _class, _hook in _CLASSES:
    converter.register_structure_hook(_class, _hook)
for _type, _hook in _TYPES:  # not classes, so they have to be recognised by a predicate
    converter.register_structure_hook_func(partial(operator.eq, _type), _hook)
converter.register_structure_hook_func(_is_literal, literal)
converter.register_structure_hook_func(_is_union, union)
converter.register_structure_hook_factory(attrs.has, table_hook)
