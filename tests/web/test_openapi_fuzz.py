"""The control API and its document, by schemathesis: whatever it makes up of that, good data and bad, gets an answer as
described; through a llmsup's own port, without keys and with them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import requests
import schemathesis
from described import described
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from own_server import OwnServer, fake, own_server
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from llmsup.config.keys import hash_of
from llmsup.web.openapi.document import path_of
from llmsup.web.openapi.operations import OPERATIONS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
EXAMPLES = 8

ENDLESS = {path_of(each) for each in OPERATIONS if any(getattr(given, "endless", 0) for given in each.gives.values())}
"""They have no end to wait for; `test_openapi` looks at their heads."""

KEYS = {
    "boss": {"hash": hash_of("sk-boss"), "admin": True},
    "user": {"hash": hash_of("sk-user"), "models": ["m"]},
}


NAMES = ["m", "other", "M", "m:wild"]


def steered(ids: Sequence[str] = ()) -> dict[str, Any]:
    """The document, with names of models that there are, times, and `ids` of requests: of texts that are made up, none
    is one.
    """
    whole = copy.deepcopy(described())
    schemas = whole["components"]["schemas"]
    places = [schemas[name]["properties"] for name in ("Load", "Unload")]
    for operations in whole["paths"].values():
        for operation in operations.values():
            for parameter in operation["parameters"]:
                if parameter["name"] == "model":
                    parameter["schema"] = {"enum": NAMES}
                if parameter["name"] == "id" and ids:
                    parameter["schema"] = {"enum": list(ids)}
    for place in places:
        place["model"] = {"enum": NAMES}
    schemas["AskPause"]["properties"]["for"] = {"enum": ["10ms", 0.01]}
    return whole


def operations(whole: dict[str, Any]) -> dict[str, Any]:
    """All that can be done, by method and path."""
    found: dict[str, Any] = {}
    for result in schemathesis.openapi.from_dict(whole).get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        found[f"{operation.method} {operation.path}"] = operation
    return found


ALL, STEERED = operations(described()), operations(steered())


@pytest.fixture(scope="module", params=["open", "keys"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """A llmsup with two models; for all, or for those who have a key."""
    keys = {"keys": KEYS} if request.param == "keys" else {"server": {"api_keys": []}}
    models = {"m": fake(presets={"wild": {"temperature": 2}}), "other": fake(capture=True)}
    with own_server(tmp_path_factory.mktemp("server"), models=models, **keys) as server:
        asked: Any = {"model": "other", "messages": [{"role": "user", "content": "hi"}]}
        url, headers = f"{server.url}/v1/chat/completions", {"x-api-key": "sk-boss"}
        requests.post(url, json=asked, headers=headers, timeout=60).raise_for_status()  # the one that is captured
        yield server


def captured(server: OwnServer) -> list[str]:
    """The ids of requests of which all is told."""
    told = requests.get(f"{server.url}/requests", headers={"x-api-key": "sk-boss"}, timeout=60).json()["requests"]
    return [each["id"] for each in told if each["captured"]]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, operation in ALL.items() if operation.path not in ENDLESS])
def test_what_is_made_up_is_answered_as_described(request: pytest.FixtureRequest, server: OwnServer, name: str) -> None:
    """Good data and bad."""
    operation = ALL[name]
    likely = operations(steered(captured(server)))[name] if "{id}" in name else STEERED[name]
    modes = [GenerationMode.POSITIVE]
    if operation.body or operation.query:
        modes.append(GenerationMode.NEGATIVE)  # in what else there is, everything is as good
    keys = ["sk-boss", "sk-user", "sk-wrong"] if "keys" in request.node.callspec.id else [""]
    answered: dict[str, set[int]] = {key: set() for key in keys}
    with requests.Session() as session:

        @settings(
            max_examples=EXAMPLES * len(modes),
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of([*(operation.as_strategy(mode) for mode in modes), likely.as_strategy()]))
        def ask(case: schemathesis.Case[Any]) -> None:
            for key, statuses in answered.items():
                answer = case.call_and_validate(
                    base_url=server.url, session=session, checks=CHECKS, headers={"x-api-key": key}, timeout=60
                )
                statuses.add(answer.status_code)

        ask()
    assert 200 in answered[keys[0]], "nothing has come of it"
    for key in keys[1:]:
        assert answered[key] <= {200, 400, 401, 403, 404}
    assert server.process.poll() is None
