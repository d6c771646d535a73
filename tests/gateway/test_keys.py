"""Keys with names over HTTP: what each may use, how much, and what it used; in the words of every API."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
import trio
from attrs import evolve
from changing import Setting, reload
from click.testing import CliRunner, Result
from real_engines import llama_server, smollm2
from serving import PATIENCE, Client, Got, fake, recorded, serving

from llmsup.cli import main
from llmsup.config.keys import hash_of
from llmsup.config.live import LiveConfig
from llmsup.config.schema import Bridge, Config, EngineSpec, GiB, KeySpec, Memory, ModelSpec, Server
from llmsup.engines.http import Headers
from llmsup.errors import BadRequest, RateLimited
from llmsup.gateway.access import RequestGuard
from llmsup.gateway.discretion import quiet
from llmsup.gateway.keyring import STRANGER, Caller
from llmsup.gateway.message import RequestHead, for_engine
from llmsup.gateway.metering import Meter
from llmsup.gateway.usage import Tally
from llmsup.units import NEVER, Bytes, Seconds

ONE = [{"role": "user", "content": "hi"}]


def named(name: str, key: str = "", **more: Any) -> KeySpec:
    """A key's table; the key itself is `sk-NAME` unless it is given."""
    return KeySpec(name=name, hash=hash_of(key or f"sk-{name}"), **more)


def config(*keys: KeySpec, models: tuple[ModelSpec, ...] = (), api_keys: tuple[str, ...] = ()) -> Config:
    return Config(
        server=Server(api_keys=api_keys),
        models={model.name: model for model in models},
        bridge=Bridge(every=NEVER),
        keys={key.name: key for key in keys},
    )


def bearer(key: str) -> Headers:
    return [(b"authorization", f"Bearer {key}".encode())]


async def ask(client: Client, key: str, method: str, path: str, body: Any = None) -> Got:
    return await client.ask(method, path, body, bearer(key))


# Who it is...


def head(*headers: tuple[bytes, bytes], path: str = "/v1/models") -> RequestHead:
    return RequestHead(method="GET", path=path, raw_path=path.encode(), headers=list(headers), client="10.0.0.7")


@pytest.mark.parametrize("header", [b"x-api-key", b"api-key", b"x-goog-api-key"])
def test_a_key_may_be_sent_as_any_api_does(header: bytes) -> None:
    """And no engine ever gets it, under whichever name."""
    guard = RequestGuard(LiveConfig(config(named("laptop"))), loopback=True)
    caller = guard.check(head((header, b"sk-laptop")))
    assert (caller.name, caller.identity, caller.admin) == ("laptop", "key laptop", False)
    assert for_engine([(header, b"sk-laptop"), (b"authorization", b"x"), (b"x", b"y")]) == [(b"x", b"y")]


def test_a_useless_authorization_does_not_hide_the_key() -> None:
    """Some clients always send one."""
    guard = RequestGuard(LiveConfig(config(named("laptop"))), loopback=True)
    for useless in (b"Bearer", b"Bearer  ", b"Basic !!!", b"Other x"):
        assert guard.check(head((b"authorization", useless), (b"x-api-key", b"sk-laptop"))).name == "laptop"


def test_a_key_of_any_kind_is_of_its_kind() -> None:
    """Those in api_keys and the server's own may do everything; nobody's key is kept, and a stranger may do nothing."""
    guard = RequestGuard(LiveConfig(config(named("l", models=()), api_keys=("all",))), loopback=True, token="own")
    callers = {key: guard.check(head(*bearer(key))) for key in ("sk-l", "all", "own")}
    assert {key: caller.admin for key, caller in callers.items()} == {"sk-l": False, "all": True, "own": True}
    assert {key: caller.name for key, caller in callers.items()} == {"sk-l": "l", "all": "api_keys", "own": ""}
    assert callers["all"].models is callers["own"].models is None
    assert callers["sk-l"].models == ()
    assert not re.search(r"sk-l|all\b|own", repr(guard).replace("own=", ""))
    assert guard.check(head(path="/health")) is STRANGER


def test_a_reload_applies_keys() -> None:
    live = LiveConfig(config(named("old")))
    guard = RequestGuard(live, loopback=True)
    assert guard.check(head(*bearer("sk-old"))).name == "old"
    live.replace(config(named("new", key="sk-old")))
    assert guard.check(head(*bearer("sk-old"))).name == "new"
    live.replace(config())
    assert guard.check(head(*bearer("sk-old"))).admin


# Which models...


MODELS = (fake("qwen-small", aliases=("tiny",)), fake("secret"), fake("other", presets={"wild": {"temperature": 2}}))
REQUESTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "openai": ("/v1/chat/completions", {"messages": ONE}),
    "openai, embeddings": ("/v1/embeddings", {"input": "x"}),
    "anthropic": ("/v1/messages", {"messages": ONE, "max_tokens": 5}),
    "llama.cpp": ("/completion", {"prompt": "x"}),
    "ollama": ("/api/chat", {"messages": ONE, "stream": False}),
    "ollama, show": ("/api/show", {}),
    "lmstudio": ("/api/v0/chat/completions", {"messages": ONE}),
    "upstream": ("/upstream/{model}/v1/chat/completions", {"messages": ONE}),
}


def wording(path: str, got: Got) -> str:
    """An error's message, after a look at whether it has its API's own shape."""
    error = got.json["error"]
    if path.startswith(("/api/chat", "/api/show")):
        assert set(got.json) == {"error"}
        return str(error)
    if path.startswith("/v1/messages"):
        assert got.json["type"] == "error"
        assert error["type"] == {404: "not_found_error", 429: "rate_limit_error"}[got.status]
    if path.startswith("/completion") and got.status == 404:
        assert error["type"] == "not_found_error"
    if path.startswith("/api/v0"):
        assert error["type"] == {404: "model_not_found", 429: "invalid_request"}[got.status]
    assert error["code"] == {404: "model_not_found", 429: "rate_limit_exceeded"}[got.status]
    return str(error["message"])


async def test_a_model_out_of_reach_does_not_exist() -> None:
    """In every API's words, just as one that there isn't; nothing is loaded for it, and no name is given away."""
    async with serving(config=config(named("laptop", models=("qwen*",)), models=MODELS)) as served:
        for path, body in REQUESTS.values():
            said = []
            for model in ("secret", "nosuch"):
                at = path.format(model=model)
                got = await ask(served.client, "sk-laptop", "POST", at, {"model": model, **body})
                assert got.status == 404, at
                said.append(wording(at, got).replace(model, "X"))
            assert said[0] == said[1], path
            assert "laptop" in said[0]
            assert not re.search("qwen|other|secret", said[0]), path
        for path in ("/upstream/secret", "/upstream/secret/", "/slots?model=secret", "/v1/models/secret"):
            assert (await ask(served.client, "sk-laptop", "GET", path)).status == 404, path
        assert served.fleet.running() == []
        got = await ask(served.client, "sk-laptop", "POST", "/v1/chat/completions", {"model": "TINY", "messages": ONE})
        assert got.status == 200


async def test_lists_show_a_key_what_it_may_use() -> None:
    """Of all APIs; a preset where only that is meant."""
    keys = (named("laptop", models=("QWEN*", "other:wild")), named("none", models=()), named("all"))
    async with serving(config=config(*keys, models=MODELS)) as served:
        lists: dict[str, Callable[[Any], list[str]]] = {
            "/v1/models": lambda shape: [entry["id"] for entry in shape["data"]],
            "/models": lambda shape: [entry["id"] for entry in shape["data"]],
            "/api/tags": lambda shape: [entry["name"] for entry in shape["models"]],
            "/api/v0/models": lambda shape: [entry["id"] for entry in shape["data"]],
            "/api/v1/models": lambda shape: [entry["key"] for entry in shape["models"]],
        }
        for path, ids in lists.items():
            shown = {
                key.name: sorted(ids((await ask(served.client, f"sk-{key.name}", "GET", path)).json)) for key in keys
            }
            assert shown == {
                "laptop": ["other:wild", "qwen-small"],
                "none": [],
                "all": ["other", "other:wild", "qwen-small", "secret"],
            }, path
        for model, status in (("other:wild", 200), ("other", 404)):
            got = await ask(served.client, "sk-laptop", "POST", "/v1/completions", {"model": model, "prompt": "x"})
            assert got.status == status, model
        assert (await ask(served.client, "sk-none", "GET", "/api/ps")).json == {"models": []}
        assert [m["name"] for m in (await ask(served.client, "sk-all", "GET", "/api/ps")).json["models"]] == ["other"]


@pytest.mark.parametrize("road", ["fast"], indirect=True)
def test_names_that_patterns_fit(road: str) -> None:
    """Ids, aliases, names from files, whatever their case, and presets of those."""
    from llmsup.catalog.resolver import Called
    from llmsup.gateway.keyring import names

    called = Called(aliases=("gpt",), presets={"wild": {}}, also={"Stem-Q4": "", "llama3:8b": "llama3:8b"})
    assert list(names("org/m", called)) == ["org/m", "gpt", "Stem-Q4"]
    assert list(names("org/m", called, "wild")) == [
        "org/m", "org/m:wild", "gpt", "gpt:wild", "Stem-Q4", "Stem-Q4:wild"
    ]  # fmt: skip
    assert "llama3:8b" in list(names("org/m", called, "llama3:8b"))


async def test_whoever_waits_for_memory_hears_nothing_of_models_out_of_reach() -> None:
    """Not who has it, nor who made way: in no error, whether in a stream or outside, and in no list."""
    big = {"memory": Bytes(GiB), "queue_timeout": Seconds(3)}
    models = (fake("secret", "--tokens", 10_000, "--tps", 50, **big), fake("mine", **big), fake("secret-2"))
    keys = (named("user", models=("mine",)), named("boss", admin=True))
    settings = evolve(
        config(*keys, models=models),
        memory=Memory(limit=Bytes(GiB * 3 // 2), reserve=Bytes(0)),
    )
    settings = evolve(settings, server=evolve(settings.server, loading_comments=Seconds(0.5)))
    async with serving(config=settings) as served, trio.open_nursery() as nursery:
        got: dict[str, Got] = {}

        async def chat(key: str, *, stream: bool) -> None:
            body = {"model": "mine", "messages": ONE, "stream": stream}
            got[f"{key}, {stream}"] = await ask(served.client, key, "POST", "/v1/chat/completions", body)

        async def hold() -> None:
            body = {"model": "secret", "messages": ONE, "stream": True}
            await ask(served.client, "sk-boss", "POST", "/v1/chat/completions", body)

        nursery.start_soon(hold)
        await served.until("secret", lambda model: model.queue.in_flight)
        async with trio.open_nursery() as asking:
            for key in ("sk-user", "sk-boss"):
                for stream in (False, True):
                    asking.start_soon(partial(chat, key, stream=stream))
            events = served.fleet.events
            await events.until(lambda: any(each.data.get("decision") == "wait" for each in events.since(0)))
            waits_for = {
                key: (await ask(served.client, key, "GET", "/v1/models/mine")).json["status"]["waits_for"]
                for key in ("sk-user", "sk-boss")
            }
        nursery.cancel_scope.cancel()
        caller = Caller(name="user", models=("mine",))
        quoted = BadRequest("`ttl` must be a number, not a string 'secret'.")
        assert caller.discreet(served.fleet, quoted) is quoted
        spared = caller.spared(served.fleet, "secret: secret-2, x/secret and secret.")
    assert "(in memory: secret)" in waits_for["sk-boss"]
    assert "(in memory: another model)" in waits_for["sk-user"]
    for stream in (False, True):
        for key, word in (("sk-boss", "secret"), ("sk-user", "another model")):
            text = got[f"{key}, {stream}"].body.decode()
            assert "insufficient_memory" in text
            assert f"(in memory: {word})" in text
    assert spared == "another model: another model, x/secret and another model."


LINE = "loading --password hunter2"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat", "/completion"])
async def test_an_engines_words_are_for_admins(path: str) -> None:
    """Neither its log nor its command is in an error, before an answer or in a stream, whichever API words it."""
    models = (
        fake("early", "--print", LINE, "--exit-after", 0, "--exit-code", 3),
        fake("midway", "--print", LINE, "--tokens", 1000, "--tps", 500, "--die-after-chunks", 3),
    )
    body = {"messages": ONE, "prompt": "hi", "input": "hi", "max_tokens": 9000}
    async with serving(config=config(named("user"), named("boss", admin=True), models=models)) as served:
        for model in ("early", "midway"):
            for stream in (False, True):
                for key in ("sk-boss", "sk-user"):
                    got = await ask(served.client, key, "POST", path, {**body, "model": model, "stream": stream})
                    assert "hunter2" not in got.body.decode() or key == "sk-boss", got
                    if model == "early":
                        assert ("log_tail" in got.json.get("error", {})) == (key == "sk-boss" and path != "/api/chat")
                        assert "exited with code 3" in got.body.decode()


async def test_a_models_state_quotes_its_engine_for_admins() -> None:
    """In lists, and of one model, while it loads and after it failed."""
    models = (
        fake("dies", "--print", LINE, "--exit-after", 0, "--exit-code", 3),
        fake("slow", "--print", LINE, "--never-ready"),
        ModelSpec(name="gone", path="/home/boss/no such/model.gguf"),
    )
    async with serving(config=config(named("user"), named("boss", admin=True), models=models)) as served:
        assert (await ask(served.client, "sk-user", "POST", "/v1/completions", {"model": "dies"})).status == 503
        await ask(served.client, "sk-boss", "POST", "/models/load", {"model": "slow", "wait": False})
        await served.until("slow", lambda model: any("hunter2" in line for line in model.book.tail()))
        gone = await ask(served.client, "sk-user", "POST", "/v1/completions", {"model": "gone"})
        assert "/home" not in gone.error["message"]
        for path in ("/v1/models", "/v1/models/dies", "/v1/models/slow", "/v1/models/gone"):
            got = {key: (await ask(served.client, key, "GET", path)).body.decode() for key in ("sk-user", "sk-boss")}
            assert ("hunter2" if path != "/v1/models/gone" else "/home/boss") in got["sk-boss"]
            for secret in ("hunter2", "/home", "no such/", "log_tail", "last_line"):
                assert secret not in got["sk-user"], path
        status = (await ask(served.client, "sk-user", "GET", "/v1/models/dies")).json["status"]
        assert "exited with code 3" in status["error"]
        assert "Its log tells more, to a key with `admin`." in status["error"]


@pytest.mark.parametrize(
    ("text", "quieted"),
    [
        ("It exited. It said: error: /x", "It exited. Its log tells more, to a key with `admin`."),
        ("model org/m: '/a b/c.gguf' is no file.", "model org/m: '(a path)' is no file."),
        ("model m: /a b/c.gguf is no file.", "model m: (a path) is no file."),
        ("can't use ~/x/mm.gguf.", "can't use (a path)."),
        ("org/m waits for 1.5 GiB (in memory: a/b).", "org/m waits for 1.5 GiB (in memory: a/b)."),
    ],
)
def test_neither_words_nor_paths(text: str, quieted: str) -> None:
    assert quiet(text) == quieted


async def test_ls_with_a_key_that_is_not_for_the_control_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows the models, and says nothing of files; what is left out can't be asked for."""
    async with serving(config=config(named("user", models=("qwen*",)), models=MODELS)) as served:
        monkeypatch.setenv("LLMSUP_API_KEY", "sk-user")
        url = f"http://127.0.0.1:{served.client.port}"

        async def ls(*words: str) -> Result:
            return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, ["ls", *words, "--url", url]))

        done = await ls()
        assert done.exit_code == 0, done.output
        assert "qwen-small" in done.output
        assert "secret" not in done.output
        assert [each["id"] for each in json.loads((await ls("--json")).output)] == ["qwen-small"]
        refused = await ls("--left-out")
        assert refused.exit_code == 1
        assert "may not use the control API" in refused.output


# The control API...


CONTROL = (
    ("GET", "/running"),
    ("POST", "/models/load"),
    ("POST", "/models/unload"),
    ("POST", "/reload-config"),
    ("GET", "/unload"),
    ("POST", "/api/models/unload"),
    ("POST", "/api/models/unload/qwen-small"),
    ("POST", "/api/v1/models/load"),
    ("POST", "/api/v1/models/unload"),
    ("GET", "/memory"),
    ("GET", "/memory/qwen-small"),
    ("GET", "/metrics"),
    ("GET", "/events"),
    ("GET", "/logs"),
    ("GET", "/logs/stream/qwen-small"),
    ("GET", "/catalog"),
    ("GET", "/bridge"),
    ("POST", "/bridge"),
)


async def test_the_control_api_is_for_admins() -> None:
    """A key without `admin` gets 403 from all of it; what clients look at before they ask a model is for all."""
    async with serving(config=config(named("user"), named("boss", admin=True), models=MODELS)) as served:
        for method, path in CONTROL:
            got = await ask(
                served.client, "sk-user", method, path, {"model": "qwen-small"} if method == "POST" else None
            )
            assert (got.status, got.error["code"]) == (403, "admin_required"), path
            assert "admin = true" in got.error["message"]
        assert served.fleet.running() == []
        for path in ("/", "/health", "/v1/health", "/props", "/models", "/v1/models/tiny", "/usage", "/api/version"):
            assert (await ask(served.client, "sk-user", "GET", path)).status == 200, path
        assert (await ask(served.client, "sk-user", "GET", "/no/such")).status == 404
        assert (await ask(served.client, "sk-user", "PUT", "/running")).status == 405
        for method, path in (("GET", "/running"), ("GET", "/metrics"), ("POST", "/api/models/unload")):
            assert (await ask(served.client, "sk-boss", method, path)).status == 200, path
        for key in ("", "sk-wrong"):
            assert (await ask(served.client, key, "GET", "/running")).status == 401


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_an_unload_in_ollamas_words_is_for_admins(path: str) -> None:
    """Other keys may load a model, which asking it does as well; what they can't unload isn't loaded instead."""
    keys = named("user"), named("boss", admin=True)
    async with serving(config=config(*keys, models=MODELS)) as served:
        nothing = {"model": "qwen-small"}
        got = await ask(served.client, "sk-user", "POST", path, {**nothing, "keep_alive": 0})
        assert (got.status, "admin = true" in got.json["error"]) == (403, True)
        assert served.fleet.running() == []
        assert (await ask(served.client, "sk-user", "POST", path, nothing)).json["done_reason"] == "load"
        assert (await ask(served.client, "sk-user", "POST", path, {**nothing, "keep_alive": 0})).status == 403
        assert len(served.fleet.running()) == 1
        got = await ask(served.client, "sk-boss", "POST", path, {**nothing, "keep_alive": 0})
        assert (got.status, got.json["done_reason"]) == (200, "unload")
        await served.until("qwen-small", lambda model: model.run is None)


def test_every_path_of_the_app_is_for_admins_or_named() -> None:
    """A new route is closed to other keys unless somebody opens it; those that are open exist."""
    from llmsup.web.app import FOR_ALL_KEYS

    open_ = {path for path in FOR_ALL_KEYS if path not in {path for _, path in CONTROL}}
    assert open_ == FOR_ALL_KEYS


# How much...


async def test_so_many_requests_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    """In any minute, not in each by the clock; whoever comes too early learns when to come again."""
    caller, tally = Caller(name="k", requests_per_minute=3), Tally()
    for _ in range(3):
        tally.enter(caller)
        await trio.sleep(10)
    with pytest.raises(RateLimited, match="3 requests a minute") as error:
        tally.enter(caller)
    assert error.value.retry_after == 30
    await trio.sleep(29.9)
    with pytest.raises(RateLimited):
        tally.enter(caller)
    await trio.sleep(0.1)
    tally.enter(caller)
    with pytest.raises(RateLimited) as error:
        tally.enter(caller)
    assert error.value.retry_after == pytest.approx(10)
    assert (tally.requests, tally.refused) == (4, 3)
    await trio.sleep(3600)
    for _ in range(3):
        tally.enter(caller)
    assert len(tally._recent) == 3


async def test_a_lower_limit_counts_those_before(autojump_clock: trio.testing.MockClock) -> None:
    """A reload changes it; the last ones are what matters then."""
    tally = Tally()
    for _ in range(10):
        tally.enter(Caller(name="k", requests_per_minute=100))
        await trio.sleep(1)
    with pytest.raises(RateLimited) as error:
        tally.enter(Caller(name="k", requests_per_minute=2))
    assert error.value.retry_after == 58


async def test_too_many_in_each_apis_words() -> None:
    """429 with Retry-After, in its shape, before the body is looked at; other keys go on, and looks don't count."""
    keys = (named("slow", requests_per_minute=1), named("other"))
    async with serving(config=config(*keys, models=MODELS)) as served:
        body = {"model": "secret", "messages": ONE}
        assert (await ask(served.client, "sk-slow", "GET", "/v1/models")).status == 200
        assert (await ask(served.client, "sk-slow", "POST", "/v1/chat/completions", body)).status == 200
        for path, fields in REQUESTS.values():
            if path == "/api/show":  # asks no engine
                continue
            at = path.format(model="secret")
            got = await ask(served.client, "sk-slow", "POST", at, {"model": "secret", **fields})
            assert (got.status, at) == (429, at)
            assert "requests_per_minute" in wording(at, got)
            assert 1 <= int(got.headers["retry-after"]) <= 60
            assert got.headers["x-should-retry"] == "true"
        assert (await ask(served.client, "sk-slow", "GET", "/v1/models")).status == 200
        assert (await ask(served.client, "sk-other", "POST", "/v1/chat/completions", body)).status == 200


async def test_a_get_that_uses_a_model_counts() -> None:
    """A look doesn't; what loads a model, or keeps it, does, and is refused before anything is loaded for it."""
    async with serving(config=config(named("slow", requests_per_minute=1), models=(fake("m"), fake("n")))) as served:

        async def get(path: str) -> int:
            return (await ask(served.client, "sk-slow", "GET", path)).status

        assert await get("/props?model=m") == 503  # a look loads nothing
        assert await get("/props?model=m&autoload=true") != 429
        assert served.model("m").state == "ready"
        assert await get("/props?model=m") != 429
        for path in ("/props?model=n&autoload=true", "/upstream/n/props?autoload=true", "/upstream/n/page"):
            assert await get(path) == 429, path
        assert not served.model("n").run


async def test_so_many_at_a_time() -> None:
    """Over all models, those that wait included; one that has left has made room."""
    slow = fake("slow", "--tps", 0.001)
    async with (
        serving(config=config(named("two", max_in_flight=2), models=(slow, fake("quick")))) as served,
        trio.open_nursery() as nursery,
    ):

        async def hold(scope: trio.CancelScope) -> None:
            with scope:
                await ask(served.client, "sk-two", "POST", "/v1/chat/completions", {"model": "slow", "messages": ONE})

        scopes = [trio.CancelScope(), trio.CancelScope()]
        for scope in scopes:
            nursery.start_soon(hold, scope)
        await served.until("slow", lambda model: model.queue.in_flight == 2)
        quick = {"model": "quick", "messages": ONE}
        got = await ask(served.client, "sk-two", "POST", "/v1/chat/completions", quick)
        assert (got.status, got.error["code"], got.headers["retry-after"]) == (429, "rate_limit_exceeded", "1")
        assert "2 requests in flight" in got.error["message"]
        scopes[0].cancel()
        await served.until("slow", lambda model: model.queue.in_flight == 1)
        assert (await ask(served.client, "sk-two", "POST", "/v1/chat/completions", quick)).status == 200
        nursery.cancel_scope.cancel()


async def test_openais_client_knows_its_errors() -> None:
    """Its own classes for 403, 404 and 429."""
    keys = (named("user", models=("qwen*",), requests_per_minute=1),)
    async with serving(config=config(*keys, models=MODELS)) as served:

        def run() -> None:
            url = f"http://127.0.0.1:{served.client.port}"
            with openai.OpenAI(base_url=f"{url}/v1", api_key="sk-user", max_retries=0, timeout=PATIENCE) as client:
                assert [model.id for model in client.models.list()] == ["qwen-small"]
                with pytest.raises(openai.NotFoundError):
                    client.chat.completions.create(model="secret", messages=[{"role": "user", "content": "hi"}])
                with pytest.raises(openai.RateLimitError):
                    client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}])
                with pytest.raises(openai.PermissionDeniedError):
                    client.get("/../running", cast_to=object)

        await trio.to_thread.run_sync(run)


# What was used...


async def usage(client: Client, key: str) -> dict[str, Any]:
    shape = (await ask(client, key, "GET", "/usage")).json
    return {entry.pop("key"): entry for entry in shape["keys"]}


async def test_usage_is_counted_by_key() -> None:
    """Requests, tokens and time, in `/usage` and `/metrics`; a key without `admin` sees its own."""
    keys = (named("laptop"), named("boss", admin=True))
    models = (fake("m", "--tokens", 3), fake("timed", "--tokens", 1, "--timings"))
    async with serving(config=config(*keys, models=models, api_keys=("old", "older"))) as served:

        async def chat(key: str, model: str, **more: Any) -> None:
            body = {"model": model, "messages": ONE, **more}
            assert (await ask(served.client, key, "POST", "/v1/chat/completions", body)).status == 200

        await chat("sk-laptop", "m")
        await chat("sk-laptop", "timed", stream=True)
        await chat("sk-laptop", "m", stream=True)  # tells nothing
        assert (await ask(served.client, "sk-laptop", "POST", "/v1/completions", {"model": "no"})).status == 404
        await ask(served.client, "sk-laptop", "POST", "/api/chat", {"model": "m", "messages": ONE, "stream": False})
        for key in ("old", "older"):
            await chat(key, "m")
        for name in ("m", "timed"):
            await served.until(name, lambda model: not model.queue.busy)
        mine = await usage(served.client, "sk-laptop")
        assert set(mine) == {"laptop"}
        seconds, last = mine["laptop"].pop("seconds"), mine["laptop"].pop("last_used")
        assert seconds > 0
        assert last > 1e9
        assert mine["laptop"] == {
            "requests": 5,
            "refused": 0,
            "in_flight": 0,
            "tokens_in": 1 + 24 + 1,
            "tokens_out": 3 + 53 + 3,
            "requests_without_tokens": 1,
        }
        everything = await usage(served.client, "sk-boss")
        assert set(everything) == {"api_keys", "laptop"}
        assert everything["api_keys"]["requests"] == 2
        text = (await ask(served.client, "sk-boss", "GET", "/metrics")).body.decode()
        assert 'llmsup_key_requests_total{key="laptop"} 5.0' in text
        assert 'llmsup_key_tokens_out_total{key="laptop"} 59.0' in text


async def test_without_keys_nothing_is_counted() -> None:
    """And what a client sends as its key counts for nothing."""
    async with serving(fake("m")) as served:
        got = await ask(served.client, "sk-any", "POST", "/v1/chat/completions", {"model": "m", "messages": ONE})
        assert got.status == 200
        assert (await served.client.get("/usage")).json["keys"] == []


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        ({"usage": {"prompt_tokens": 7, "completion_tokens": 2}}, (7, 2)),
        ({"usage": {"prompt_tokens": 7, "total_tokens": 7}, "data": [{"embedding": [0.25] * 5000}]}, (7, 0)),
        ({"choices": ["x" * 9000], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}, (7, 2)),
        ({"usage": {"input_tokens": 3, "cache_read_input_tokens": 4, "output_tokens": 2}}, (7, 2)),
        ({"timings": {"cache_n": 4, "prompt_n": 3, "prompt_ms": 1.5, "predicted_n": 2}}, (7, 2)),
        ({"input_tokens": 7}, None),  # Anthropic's count_tokens: nothing was computed
        ({"text": 'say "prompt_tokens": 5, "completion_tokens": 5'}, None),
        ({"text": "hi"}, None),
    ],
)
@pytest.mark.parametrize("piece", [1, 100, 100_000])
def test_what_answers_tell(answer: dict[str, Any], tokens: tuple[int, int] | None, piece: int) -> None:
    """Wherever in it, in whatever pieces it comes; what a text only quotes doesn't count."""
    meter, data = Meter(lambda: 0.0), json.dumps(answer).encode()
    for start in range(0, len(data), piece):
        meter.saw(data[start : start + piece])
    assert meter.tokens == tokens


def test_anthropics_streams_tell_at_both_ends() -> None:
    meter = Meter(lambda: 0.0)
    meter.saw(b'data: {"type":"message_start","message":{"usage":{"input_tokens":7,"output_tokens":0}}}\n\n')
    for _ in range(500):
        meter.saw(b'data: {"type":"content_block_delta","delta":{"text":"token "}}\n\n')
    meter.saw(b'data: {"type":"message_delta","usage":{"output_tokens":500}}\n\n')
    assert meter.tokens == (7, 500)


# What is kept to ourselves...


async def test_keys_are_neither_logged_nor_passed_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The name is, in the log."""
    record = tmp_path / "record"
    caplog.set_level(logging.DEBUG)
    key = "sk-very-secret"
    models = (fake("m", "--record", record),)
    async with serving(config=config(named("laptop", key), models=models)) as served:
        names = (b"x-api-key", b"api-key", b"x-goog-api-key")
        for headers in (bearer(key), *([(name, key.encode())] for name in names)):
            for path in ("/v1/chat/completions", "/upstream/m/v1/chat/completions"):
                got = await served.client.ask("POST", path, {"model": "m", "messages": ONE}, headers)
                assert got.status == 200
            await served.client.ask("GET", "/usage", None, headers)
        everything = [f"{entry.name} {entry.getMessage()}" for entry in caplog.records]
    assert any("POST /v1/chat/completions m for laptop: 200" in line for line in everything)
    assert not any(key in line or hash_of(key).removeprefix("sha256:") in line for line in everything)
    assert key not in record.read_text()
    assert recorded(record, "request")


async def test_a_file_that_changed_changes_keys(tmp_path: Path) -> None:
    """With a reload; no model is touched."""
    setting = Setting(tmp_path)
    setting.add("org/model/m")
    async with setting.serving() as served:
        assert (await served.client.get("/v1/models")).status == 200
        setting.write(f"[keys.laptop]\nhash = '{hash_of('sk-laptop')}'\nadmin = true\n")
        assert (await reload(served))["unchanged"]
        assert (await served.client.get("/v1/models")).status == 401
        assert (await ask(served.client, "sk-laptop", "GET", "/v1/models")).status == 200
        setting.write("[keys.laptop]\nhash = 'sk-laptop'\n")
        got = await ask(served.client, "sk-laptop", "POST", "/reload-config")
        assert got.status == 422
        assert "keys.laptop.hash" in str(got.error["mistakes"])
        assert "sk-laptop" not in str(got.error)
        assert (await ask(served.client, "sk-laptop", "GET", "/v1/models")).status == 200


async def test_a_real_engine_tells_its_tokens() -> None:
    """In every API, streamed or not: what it counted is what is counted here."""
    chat = ModelSpec(name="chat", path=str(smollm2()), engine="llama-server", ctx_size=512, parallel=1, threads=1)
    embedder = evolve(chat, name="embed", kind="embedding", args=("--pooling", "mean"))
    chat = evolve(chat, sampling={"temperature": 0})  # a sampled answer may end early
    engines = {"llama-server": EngineSpec(name="llama-server", command=(str(llama_server()),))}
    async with serving(config=evolve(config(named("laptop"), models=(chat, embedder)), engines=engines)) as served:
        total = (0, 0)

        async def used(path: str, **body: Any) -> tuple[int, int]:
            """What one request adds."""
            nonlocal total
            body = {"model": "chat", **body}
            got = await ask(served.client, "sk-laptop", "POST", path, body)
            assert got.status == 200, got.body
            await served.until(body["model"], lambda model: not model.queue.busy)
            mine = (await usage(served.client, "sk-laptop"))["laptop"]
            before, total = total, (mine["tokens_in"], mine["tokens_out"])
            return total[0] - before[0], total[1] - before[1]

        say: dict[str, Any] = {"messages": ONE, "max_tokens": 4}
        first = await used("/v1/chat/completions", **say)
        assert first[0] > 1
        assert first[1] == 4
        assert await used("/v1/chat/completions", **say, stream=True) == first
        assert await used("/v1/messages", **say) == first
        assert await used("/v1/messages", **say, stream=True) == first
        assert await used("/v1/responses", input="hi", max_output_tokens=4) == first
        assert await used("/v1/responses", input="hi", max_output_tokens=4, stream=True) == first
        assert await used("/api/chat", messages=ONE, options={"num_predict": 4}) == first
        assert await used("/api/v0/chat/completions", **say) == first
        prompt = {"prompt": "Once upon a time " * 100, "n_predict": 4}
        plain = await used("/completion", **prompt)
        assert plain[0] > 100
        assert plain[1] == 4
        assert await used("/completion", **prompt, stream=True) == plain
        vectors = await used("/v1/embeddings", model="embed", input=["Once upon a time"] * 20)
        assert vectors[0] > 20
        assert vectors[1] == 0
        assert await used("/v1/messages/count_tokens", messages=ONE) == (0, 0)
        assert (await usage(served.client, "sk-laptop"))["laptop"]["requests_without_tokens"] == 1
