"""The OpenAPI document, made of the table of operations and of the types of their answers."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from ... import __version__
from ...errors import AdminRequired, Error
from ..shapes.control import Name
from ..shapes.events import EVENTS
from .operations import EVERYWHERE, OPERATIONS, Operation, Stream
from .schemas import Schema, any_of, refusal, schemas

ABOUT = """Models of a llmsup: which there are, which are loaded and why, load and unload.

Sizes are in bytes, durations in seconds, times in seconds since 1970; null means "not known" where it isn't said
otherwise. More members may come: ignore those that you don't know. Names of models in paths may have their slashes
encoded, or not. What is said to models is not described here: those paths are OpenAI's, Anthropic's, Ollama's,
LM Studio's and llama-server's own."""

HEADERS: Schema = {
    "Retry-After": {
        "description": "Seconds after which the same may work.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-Should-Retry": {
        "description": "The same for OpenAI's and Anthropic's clients; false: waiting can't help.",
        "schema": {"enum": ["true", "false"]},
    },
}
"""Headers that refusals may have."""


def document(for_all_keys: Collection[str]) -> Schema:
    """The document. `for_all_keys`: the routes that don't need a key with `admin`."""
    types = list(_types())
    shown, named = schemas(types)
    known = {_key(type_): schema for type_, schema in zip(types, shown, strict=True)}
    paths: dict[str, dict[str, Schema]] = {}
    for operation in OPERATIONS:
        open_ = operation.path in for_all_keys
        paths.setdefault(path_of(operation), {})[operation.method] = _operation(operation, known, open_=open_)
    return {
        "openapi": "3.1.0",
        "info": {"title": "llmsup", "version": __version__, "description": ABOUT, "license": {"name": "MIT"}},
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}, {"x-api-key": []}, {}],
        "paths": paths,
        "components": {
            "schemas": named,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "Where keys are configured."},
                "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
            },
            "responses": _shared(paths),
            "headers": HEADERS,
        },
    }


def path_of(operation: Operation) -> str:
    """Return an operation's path as OpenAPI writes it."""
    return re.sub(r"<(\w+?)_?(?::\w+)?>", r"{\1}", operation.path)


def _types() -> Iterator[Any]:
    for operation in OPERATIONS:
        for given in operation.gives.values():
            yield from _each(given)
        yield from operation.body
    yield from EVENTS.values()
    yield Name


def _each(given: Any) -> tuple[Any, ...]:
    """The types of an answer in JSON."""
    return () if isinstance(given, Stream) else given if isinstance(given, tuple) else (given,)


def _key(type_: Any) -> str:
    return str(type_)


def _operation(operation: Operation, known: Mapping[str, Schema], *, open_: bool) -> Schema:
    errors = {*operation.errors, *EVERYWHERE} | (set() if open_ else {AdminRequired})
    parameters = [_in_query(name, text) for name, text in operation.query.items()]
    parameters += [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in operation.headers.items()
    ]
    if "<model:" in operation.path:
        schema = dict(known[_key(Name)])
        parameters.insert(0, {"name": "model", "in": "path", "required": True, "schema": schema})
    if "<id_>" in operation.path:
        parameters.insert(0, {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
    shown: Schema = {
        "operationId": re.sub(r"\W+", "_", f"{operation.method} {path_of(operation)}").strip("_"),
        "tags": [operation.tag],
        "summary": operation.summary,
        **({} if open_ else {"description": "Where keys have names, only for those with `admin`."}),
        **({"security": []} if operation.path == "/health" else {}),
        "parameters": parameters,
        "responses": dict(sorted(_answers(operation, known, errors).items())),
    }
    if operation.body:
        schema = any_of([known[_key(type_)] for type_ in operation.body])
        shown["requestBody"] = {"required": operation.body_wanted, "content": {"application/json": {"schema": schema}}}
    if operation.path == "/events":
        shown["x-events"] = {kind: known[_key(type_)] for kind, type_ in EVENTS.items()}
    return shown


def _in_query(name: str, text: str) -> Schema:
    return {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}


def _answers(operation: Operation, known: Mapping[str, Schema], errors: Collection[type[Error]]) -> dict[str, Schema]:
    answers: dict[str, Schema] = {}
    for status, given in operation.gives.items():
        if isinstance(given, Stream):
            content: Schema = {given.type: {"schema": {"type": "string"}}}
        else:
            content = {"application/json": {"schema": any_of([known[_key(type_)] for type_ in _each(given)])}}
        answers[str(status)] = {"description": HTTPStatus(status).phrase, "content": content}
    for status in {error.status for error in errors}:
        those = [error for error in errors if error.status == status]
        schema = refusal(those)
        if (before := answers.get(str(status))) is not None:
            schema = any_of([before["content"]["application/json"]["schema"], schema])
        answers[str(status)] = {
            "description": ", ".join(sorted({error.code for error in those})),
            "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS},
            "content": {"application/json": {"schema": schema}},
        }
    return answers


def _shared(paths: dict[str, dict[str, Schema]]) -> dict[str, Schema]:
    """Put refusals that several operations have into one place, and return them by name."""
    names: dict[str, str] = {}
    shared: dict[str, Schema] = {}
    for operations in paths.values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if "headers" in answer:
                    name = names.setdefault(str(answer), f"refusal-{status}-{len(names)}")
                    shared[name] = answer
                    operation["responses"][status] = {"$ref": f"#/components/responses/{name}"}
    return shared
