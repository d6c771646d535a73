"""The RPC workers below the models of `llmsup ps`."""

from __future__ import annotations

from typing import Any

import click
import pytest

from llmsup.cli import workers
from llmsup.cli.client import Client, Refused
from llmsup.units import Seconds

UP = {
    "worker": "box",
    "state": "up",
    "reason": "it answers at 127.0.0.1:4001",
    "ssh": "me@box",
    "models": ["big", "other"],
    "memory_bytes": 24 << 30,
    "used_bytes": 18 << 30,
}
FAILED = {**UP, "worker": "near", "state": "failed", "reason": "it said \x1bno.", "ssh": None, "models": []}
UNKNOWN = {**FAILED, "memory_bytes": None, "used_bytes": 0}


def plain(found: list[dict[str, Any]]) -> list[str]:
    return [click.unstyle(line).rstrip() for line in workers.lines(found)]


def test_a_table_and_what_is_wrong() -> None:
    assert plain([UP, UNKNOWN]) == [
        "",
        "RPC WORKER  STATE   REACHED                   MEMORY  MODELS",
        "box         up      ssh me@box  18.0 GiB of 24.0 GiB  big, other",
        "near        failed  here                    0 B of ?  -",
        "RPC worker near failed: it said \\x1bno.",
    ]


def test_what_a_model_says_of_it_is_not_said_again() -> None:
    told = ["big failed: model big: its RPC worker near can't be used: it said no. The next request retries it."]
    assert not any("failed:" in line for line in workers.lines([UNKNOWN], told))
    assert any("failed:" in line for line in workers.lines([{**UNKNOWN, "worker": "nea"}], told))


def test_no_workers_no_table() -> None:
    assert plain([]) == []


@pytest.mark.parametrize(("code", "found"), [("not_found", ()), ("forbidden", None)])
def test_an_older_server_has_none(code: str, found: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other refusal is told."""

    def get(_client: Client, _path: str, _patience: Seconds = Seconds(1)) -> Any:
        raise Refused("no", code, ())

    monkeypatch.setattr(Client, "get", get)
    client = Client("http://127.0.0.1:1")
    if found is None:
        with pytest.raises(Refused):
            workers.workers(client)
    else:
        assert workers.workers(client) == found
