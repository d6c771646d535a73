"""GET /openapi.json: every route is described, and real answers are as it says, in whatever state models are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from changing import Setting
from described import as_described, described, fits
from event_stream import following
from serving import fake, serving

import llmsup.tree
from llmsup.config.schema import Server
from llmsup.gateway.routes import Routes
from llmsup.units import Seconds
from llmsup.web.app import FOR_ALL_KEYS, App, build_app
from llmsup.web.openapi.operations import FOR_BROWSERS, OPERATIONS, OTHERS_WORDS

AUTOMATIC = {"HEAD", "OPTIONS"}


async def test_every_route_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing that there isn't; those in another server's words are named as such."""
    built: list[App] = []

    def remember(*parts: object) -> App:
        built.append(build_app(*parts))  # type: ignore[arg-type]  # whatever it is given
        return built[-1]

    monkeypatch.setattr(llmsup.tree, "build_app", remember)
    async with serving() as served:
        assert (await served.client.get("/openapi.json")).json == described()
        assert (await served.client.get("/openapi.json")).headers["content-type"] == "application/json"
    rules = [(rule.rule, method) for rule in built[0].url_map.iter_rules() for method in rule.methods or ()]
    there = {(path, method.lower()) for path, method in rules if method not in AUTOMATIC}
    ours = {(operation.path, operation.method) for operation in OPERATIONS}
    assert len(ours) == len(OPERATIONS)
    assert {each for each in there if each[0] not in {*OTHERS_WORDS, *FOR_BROWSERS}} == ours
    assert {*OTHERS_WORDS, *FOR_BROWSERS} <= {path for path, _ in there}
    gateway = Routes()
    for path, method in ours:
        at = path.replace("<model:name>", "m")
        assert gateway.find(method.upper(), at, at.encode(), b"") is None, (
            "the gateway answers it, and the app never does"
        )
    assert {path for path in FOR_ALL_KEYS if path not in {*OTHERS_WORDS, *FOR_BROWSERS}} <= {path for path, _ in ours}


def test_it_is_openapi() -> None:
    """Every schema is one, every reference leads somewhere, and ids are unique."""
    whole = described()
    assert whole["openapi"] == "3.1.0"
    for schema in whole["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator({**schema, "components": whole["components"]})
    for ref in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(whole)):
        place: Any = whole
        for part in ref.split("/"):
            place = place[part]
    ids = [operation["operationId"] for path in whole["paths"].values() for operation in path.values()]
    assert len(set(ids)) == len(ids)


def test_docstrings_name_members_that_there_are() -> None:
    """Else what they say of them is lost."""
    from inspect import cleandoc

    from llmsup.web.openapi.schemas import _ATTRIBUTE
    from llmsup.web.shapes import control, events, memory, models, peers

    count = 0
    for module in (control, events, memory, models, peers):
        for shape in vars(module).values():
            if isinstance(shape, type) and shape.__module__ == module.__name__:
                told = cleandoc(shape.__doc__ or "").partition("\n\nAttributes:\n")[2]
                for name, _ in _ATTRIBUTE.findall(told):
                    assert name in shape.__annotations__, (shape, name)
                    count += 1
    assert count > 50


async def test_answers_are_as_described(tmp_path: Path) -> None:
    """Of models that are unloaded, loading, loaded, failed, or can't be served; of loads, unloads and refusals."""
    setting = Setting(tmp_path)
    setting.add("org/model/m")
    setting.add("org/other/broken").write_bytes(b"GGUF is what this is not")
    slow = _command("--never-ready", "--progress", "--print", "loading it")
    dies = _command("--exit-after", "0", "--exit-code", "3", "--print", "no such file")
    setting.write(
        f"[models.slow]\ncommand = {slow}\n[models.dies]\ncommand = {dies}\n"
        "[models.preset]\npath = 'org/model/m.gguf'\naliases = ['p']\npresets.wild.temperature = 2\n"
        "[models.gone]\npath = 'org/nowhere/x.gguf'\n"
    )
    async with setting.serving() as served:
        client = served.client

        async def load(model: str, **more: Any) -> Any:
            return as_described("/models/load", await client.post("/models/load", model=model, **more), "post")

        async with following(served) as follower:
            assert (await load("preset"))["success"]
            assert (await load("slow", wait=False))["state"] in ("waiting", "starting")
            assert (await load("dies"))["error"]["code"] == "model_failed"
            assert (await load("nosuch"))["error"]["code"] == "model_not_found"
            assert (await load(""))["error"]["code"] == "invalid_request"
            await served.until("slow", lambda model: model.state == "starting")
            for path in ("/models", "/v1/models"):
                listed = as_described(path, await client.get(path))["data"]
                assert {entry["status"]["value"] for entry in listed} >= {"loaded", "loading", "failed"}
            for entry in listed:
                as_described("/v1/models/{model}", await client.get(f"/v1/models/{entry['id']}"))
            for query in ("", "?format=llama-swap"):
                as_described("/running", await client.get(f"/running{query}"))
            assert as_described("/memory", await client.get("/memory"))["decisions"]
            for model in ("preset", "slow", "dies", "nosuch"):
                as_described("/memory/{model}", await client.get(f"/memory/{model}"))
                as_described("/logs/{model}", await client.get(f"/logs/{model}"))
            for path in (
                "/health",
                "/v1/health",
                "/reload-config",
                "/catalog",
                "/usage",
                "/metrics",
                "/logs",
                "/bridge",
            ):
                as_described(path, await client.get(path))
            assert as_described("/catalog", await client.get("/catalog"))["left_out"]
            as_described("/reload-config", await client.post("/reload-config"), "post")
            assert as_described("/bridge", await client.post("/bridge"), "post")["success"]
            for body in ({"model": "slow", "force": True}, {"model": "nosuch"}, {}, {"all": True}):
                as_described("/models/unload", await client.post("/models/unload", **body), "post")
            told = await follower.until("unload", model="preset")
        shapes = described()["paths"]["/events"]["get"]["x-events"]
        assert {event.kind for event in told} >= {"model", "load", "unload", "decision", "bridge"}
        for event in told:
            fits(shapes[event.kind], event.data)
        setting.file.write_text("[server]\nlissten = 1\n")
        refused = await client.post("/reload-config")
        assert as_described("/reload-config", refused, "post")["error"]["mistakes"]
        assert as_described("/reload-config", await client.get("/reload-config"))["mistakes"]
        assert as_described("/health", await client.get("/health"))["problems"]
        as_described("/unload", await client.get("/unload"))
        as_described("/api/models/unload", await client.post("/api/models/unload"), "post")
        for model in ("preset", "nosuch"):
            path = "/api/models/unload/{model}"
            as_described(path, await client.post(path.format(model=model)), "post")


def _command(*switches: str) -> str:
    return json.dumps(list(fake("x", *switches).command or ()))


async def test_a_load_that_waits_for_memory_is_as_described() -> None:
    """What it waits for, everywhere where that is told, and the decisions with their numbers."""
    from llmsup.config.schema import Bridge, Config, Memory
    from llmsup.units import NEVER, Bytes

    gib = 1024**3
    models = [fake(name, memory=Bytes(gib), pinned=True, queue_timeout=Seconds(1)) for name in ("a", "b")]
    config = Config(
        models={model.name: model for model in models},
        memory=Memory(limit=Bytes(gib * 3 // 2), reserve=Bytes(0)),
        bridge=Bridge(every=NEVER),
    )
    async with serving(config=config) as served:
        client, events = served.client, served.fleet.events
        assert (await client.post("/models/load", model="a")).status == 200
        as_described("/models/load", await client.post("/models/load", model="b", wait=False), "post")
        await events.until(lambda: any(each.data.get("decision") == "wait" for each in events.since(0)))
        told = as_described("/memory", await client.get("/memory"))
        assert [each["model"] for each in told["waiting"]] == ["b"]
        assert any(decision["weighed"] for decision in told["decisions"])
        running = as_described("/running", await client.get("/running"))
        assert {each["model"]: bool(each["waits_for"]) for each in running} == {"a": False, "b": True}
        assert as_described("/memory/{model}", await client.get("/memory/b"))["waits_for"]
        [entry] = [e for e in as_described("/v1/models", await client.get("/v1/models"))["data"] if e["id"] == "b"]
        assert entry["status"]["waits_for"]


ENDLESS = [operation for operation in OPERATIONS if any(getattr(g, "endless", 0) for g in operation.gives.values())]


@pytest.mark.parametrize("operation", ENDLESS, ids=lambda operation: operation.path)
async def test_streams_are_as_described(operation: Any) -> None:
    """Their heads, and that what comes is text: they have no end to wait for."""
    async with serving(fake("m")) as served:
        assert (await served.client.get("/running")).status == 200  # something for the log
        answer = await served.client.send("GET", operation.path.replace("<model:name>", "m"))
        headers = {name.lower().decode(): value.decode() for name, value in answer.headers}
        assert (answer.status, headers["x-accel-buffering"]) == (200, "no")
        assert headers["content-type"] == operation.gives[200].type
        assert "content-length" not in headers
        await answer.close()


@pytest.mark.parametrize("keys", [(), ("k",)], ids=["open", "keys"])
async def test_other_methods_are_refused(keys: tuple[str, ...]) -> None:
    """On every path: 405 with those that there are; without a key, where one is wanted, 401 before anything is done."""
    async with serving(fake("m"), server=Server(api_keys=keys)) as served:
        for path, operations in described()["paths"].items():
            at = path.replace("{model}", "m")
            got = await served.client.ask("DELETE", at, {"model": "m"}, [(b"x-api-key", b"k")])
            assert (got.status, got.error["code"]) == (405, "method_not_allowed"), path
            assert {name.upper() for name in operations} <= set(got.headers["allow"].split(", ")), path
            if keys and path != "/health":
                for method in operations:
                    bare = await served.client.ask(method.upper(), at)
                    assert bare.status == 401, path
                    as_described(path, bare, method)
        assert not served.fleet.running()
