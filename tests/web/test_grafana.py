"""etc/grafana.json: what its panels ask for is what /metrics has, by name and by label."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from peers_seen import serving_with, several
from prometheus_client.parser import text_string_to_metric_families
from serving import fake

from llmsup.config.schema import Server

FILE = Path(__file__).parents[2] / "etc" / "grafana.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
SCRAPES = frozenset(("instance", "job"))
"""Labels that Prometheus adds itself."""

NAME = re.compile(r"\bllmsup_\w+")


def questions() -> Iterator[tuple[str, str]]:
    """Every expression, with its legend, and the variables' own."""
    for panel in PANELS:
        for target in panel.get("targets", ()):
            yield target["expr"], target["legendFormat"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"], ""


def labels_in(expr: str, legend: str) -> set[str]:
    """The labels that an expression chooses or groups by, and that its legend shows."""
    grouped = re.findall(r"\b(?:by|without) \(([^)]*)\)", expr)
    return {
        *re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expr),
        *(name.strip() for names in grouped for name in names.split(",")),
        *re.findall(r"label_values\(.*, (\w+)\)", expr),
        *re.findall(r"{{(\w+)}}", legend),
    }


def unknown(known: dict[str, set[str]], expr: str, legend: str) -> set[str]:
    """What an expression asks for and isn't there; `known`: labels by name of what is scraped."""
    names = set(NAME.findall(expr))
    missing = names - set(known)
    for label in labels_in(expr, legend) - SCRAPES:
        missing |= {f"{name}{{{label}}}" for name in names & set(known) if label not in known[name]}
    return missing


async def scraped(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Every name that /metrics has, with the labels of its samples, once models, keys and peers are there."""
    server = Server(api_keys=("k",))
    async with serving_with(monkeypatch, fake("m"), peers=several(), server=server) as (served, _):
        key = [(b"authorization", b"Bearer k")]
        for method, path in (("POST", "/v1/chat/completions"), ("POST", "/models/unload")):
            assert (await served.client.ask(method, path, {"model": "m", "messages": []}, key)).status == 200
        text = (await served.client.ask("GET", "/metrics", headers=key)).body.decode()
    known: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        parts = {"counter": ("_total",), "summary": ("_sum", "_count")}.get(family.type, ("",))
        for part in parts:
            # One that nothing is known of yet has no sample, and with it no label that can be looked at.
            labels = {label for sample in family.samples for label in sample.labels}
            known[family.name + part] = labels or {"model", "mode"}
    return known


@pytest.mark.road("fast")
async def test_all_that_it_asks_for_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    known = await scraped(monkeypatch)
    assert len(known) > 20
    asked = list(questions())
    assert len(asked) > 20
    assert {(expr, *unknown(known, expr, legend)) for expr, legend in asked if unknown(known, expr, legend)} == set()


def test_what_is_not_there_is_seen() -> None:
    known = {"llmsup_model_loaded": {"model"}}
    assert unknown(known, 'sum by (model) (llmsup_model_loaded{instance="x"})', "{{model}}") == set()
    assert unknown(known, "rate(llmsup_model_loadd[5m])", "") == {"llmsup_model_loadd"}
    for expr, legend in (
        ('llmsup_model_loaded{reason=~"x"}', ""),
        ("sum by (model, reason) (llmsup_model_loaded)", ""),
        ("llmsup_model_loaded", "{{reason}}"),
        ("label_values(llmsup_model_loaded, reason)", ""),
    ):
        assert unknown(known, expr, legend) == {"llmsup_model_loaded{reason}"}


def test_it_can_be_imported_anywhere() -> None:
    """It names no data source and no number of one server, panels don't overlap, and each says what it shows."""
    assert DASHBOARD["id"] is None
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])
