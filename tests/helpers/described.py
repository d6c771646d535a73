"""The OpenAPI document, and a check that answers are as it says: no member is missing, and none is there besides."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

import jsonschema_rs
from serving import Got

from llmsup.web.app import FOR_ALL_KEYS
from llmsup.web.openapi.document import document


@cache
def described() -> dict[str, Any]:
    return document(FOR_ALL_KEYS)


@cache
def _closed() -> dict[str, Any]:
    """The named schemas, which here allow for nothing that they don't name."""
    schemas: dict[str, Any] = copy.deepcopy(described()["components"]["schemas"])
    for schema in schemas.values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return schemas


def fits(schema: dict[str, Any], value: Any) -> None:
    """Fail unless a value is as a schema of the document says, and nothing besides."""
    jsonschema_rs.validate({**schema, "components": {"schemas": _closed()}}, value)


def as_described(path: str, got: Got, method: str = "get") -> Any:
    """Fail unless an answer is as it is described; returns what is in it. `path`: as in the document."""
    answer = described()["paths"][path][method]["responses"][str(got.status)]
    if "$ref" in answer:
        answer = described()["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    assert got.headers["content-type"] in answer["content"], (path, got.headers["content-type"])
    if got.headers["content-type"] != "application/json":
        return got.body.decode()
    value = json.loads(got.body)
    fits(answer["content"]["application/json"]["schema"], value)
    return value
