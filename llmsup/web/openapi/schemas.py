"""JSON Schema of the types in `web.shapes`, with what their docstrings say of each member."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from inspect import cleandoc
from typing import Any, NotRequired, TypedDict

import msgspec

from ... import errors
from ...errors import Error

Schema = dict[str, Any]

REF = "#/components/schemas/{name}"

_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n     +.*)*)", re.MULTILINE)
"""A member in the Attributes section of a docstring, with the lines that go on behind it."""


class ErrorObject(TypedDict):
    """What went wrong.

    Attributes:
        message: For people; it names the remedy, where there is one.
        type: OpenAI's words.
        param: The member or the parameter at fault.
        code: For programs; it stays the same while messages change.
        log_tail: The last lines of an engine's or of the bridge's output, if that is at fault. Only an
            admin gets them.
        mistakes: All mistakes in the config, each with its place.
    """

    message: str
    type: str
    param: str | None
    code: str
    log_tail: NotRequired[list[str]]
    mistakes: NotRequired[list[str]]


class ErrorAnswer(TypedDict):
    """A refusal, in the shape of OpenAI's API (for requests with the header `anthropic-version`, of Anthropic's)."""

    error: ErrorObject


def schemas(types: Iterable[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    """Return a schema for each type, and the named ones that these refer to."""
    shown, named = msgspec.json.schema_components([*types, ErrorAnswer], ref_template=REF)
    for schema in named.values():
        _explain(schema)
    known = [each for name in errors.__all__ if issubclass(each := getattr(errors, name), Error)]
    error = named["ErrorObject"]["properties"]
    error["type"] |= {"enum": sorted({each.type for each in known})}
    error["code"] |= {"enum": sorted({each.code for each in known})}
    return list(shown)[:-1], named


def any_of(schemas: Sequence[Schema]) -> Schema:
    """Return the schema of what fits one of these."""
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def refusal(classes: Iterable[type[Error]]) -> Schema:
    """Return the schema of an answer that is one of these errors."""
    codes = sorted({each.code for each in classes})
    inner = {"properties": {"code": {"enum": codes}}}
    return {"allOf": [{"$ref": REF.format(name="ErrorAnswer")}, {"properties": {"error": inner}}]}


def _explain(schema: Schema) -> None:
    """Say of each member what the docstring says of it. What answers hold, they always hold: defaults don't matter."""
    about, _, attributes = cleandoc(schema.get("description", "")).partition("\n\nAttributes:\n")
    if about:
        schema["description"] = " ".join(about.split())
    members = schema.get("properties", {})
    for name, text in _ATTRIBUTE.findall(attributes):
        if name in members:
            members[name] = _described(members[name], " ".join(text.split()))
    for name, member in members.items():
        if "default" in member:
            del member["default"]
            schema["required"] = [*schema["required"], name]


def _described(member: Schema, text: str) -> Schema:
    return {**member, "description": text}
