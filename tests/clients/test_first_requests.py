"""What other programs ask first when llmsup is their server, and whether the answers have what they read.

The cases are data (tests/clients/cases), written by us from the programs' public sources, which each file names. A need
is a path and what must be there: `a.b[].c: str`, with `[]` for each element of a list that isn't empty, `?` behind what
may be missing or null, and a type, or `/` and a regular expression for the whole of a string.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from client_page import case_files, case_mark
from own_server import KEY, OwnServer

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TYPES: dict[str, Any] = {"str": str, "int": int, "num": (int, float), "bool": bool, "list": list, "dict": dict}

CASES = [
    pytest.param(case, id=f"{path.stem}: {case['name']}", marks=case_mark(file["client"], case))
    for path, file in case_files()
    for case in file["case"]
]


@pytest.mark.parametrize("case", CASES)
def test_a_first_request(real: OwnServer, plain: httpx.Client, case: dict[str, Any]) -> None:
    headers, body = dict(case["headers"]), case.get("body", "").encode()
    if case.get("encoding") == "zstd":
        headers["Content-Encoding"], body = "zstd", zstd.compress(body)
    if model := case.get("loaded"):
        key = {"Authorization": f"Bearer {KEY}"}
        plain.post(f"{real.url}/models/load", json={"model": model}, headers=key).raise_for_status()
    got = plain.request(case.get("method", "POST"), real.url + case["path"], headers=headers, content=body)
    assert got.status_code == 200, got.text
    if not case.get("streamed"):
        for need in case.get("needs", []):
            assert met(got.json(), need), (need, got.text)
        return
    events = list(events_of(got))
    for need in case.get("each", []):
        assert all(met(event, need) for event in events), (need, got.text)
    for need in case.get("needs", []):
        assert any(met(event, need) for event in events), (need, got.text)


def events_of(got: httpx.Response) -> Iterator[Any]:
    """A stream's events; a stream of Ollama's is a line for each."""
    if got.headers["content-type"].startswith("application/x-ndjson"):
        yield from map(json.loads, got.text.splitlines())
        return
    assert got.headers["content-type"].startswith("text/event-stream")
    for line in got.text.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line[6:])


def met(value: Any, need: str) -> bool:
    """Whether an answer has what is needed."""
    path, _, wanted = need.partition(": ")
    return _met(value, path.replace("[]", ".[]").split("."), wanted)


def _met(value: Any, path: list[str], wanted: str) -> bool:
    if not path:
        if wanted.startswith("/"):
            return isinstance(value, str) and re.fullmatch(wanted[1:], value) is not None
        return isinstance(value, TYPES[wanted]) and (wanted == "bool" or not isinstance(value, bool))
    name, optional = path[0].removesuffix("?"), path[0].endswith("?")
    if name == "[]":
        return isinstance(value, list) and (bool(value) or optional) and all(_met(v, path[1:], wanted) for v in value)
    if not name:
        return _met(value, path[1:], wanted)
    found = value.get(name) if isinstance(value, dict) else None
    return optional if found is None else _met(found, path[1:], wanted)


@pytest.mark.parametrize(
    ("need", "value", "is_met"),
    [
        ("a.b[].c: str", {"a": {"b": [{"c": "x"}]}}, True),
        ("a.b[].c: str", {"a": {"b": [{"c": "x"}, {"c": 1}]}}, False),
        ("a.b[].c: str", {"a": {"b": []}}, False),
        ("a.b[]?.c: str", {"a": {"b": []}}, True),
        ("a[][]: num", {"a": [[1, 0.5]]}, True),
        ("a[][]: num", {"a": [[1, "x"]]}, False),
        ("a?.b: int", {}, True),
        ("a?.b: int", {"a": {}}, False),
        ("a?.b: int", {"a": {"b": True}}, False),
        ("a: /x+", {"a": "xx"}, True),
        ("a: /x+", {"a": "xxy"}, False),
        ("a: str", None, False),
    ],
)
def test_what_a_need_is(need: str, value: Any, is_met: bool) -> None:
    """A need that anything meets would prove nothing."""
    assert met(value, need) is is_met
