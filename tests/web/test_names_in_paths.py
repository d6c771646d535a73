"""A model's name in a path, on every route that has one: any name that can be asked for in a body can stand there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import trio
from click.testing import CliRunner
from serving import Served, fake, serving
from werkzeug.routing import IntegerConverter

import llmsup.tree
from llmsup.cli import main
from llmsup.cli.address import base_url
from llmsup.cli.client import model_path
from llmsup.gateway.api import ROUTES
from llmsup.web.app import App, NameInPath, build_app

NAMES = (
    "/home/me/models/a.gguf",
    "~/models/a.gguf",
    "https://huggingface.co/org/model",
    "hf.co//org///model",
    "org/model",
    "stream/of/words",
    "v1/v1/v1",
    "slash/at/the/end/",
    "100%",
    "a%2Fb",
    "a%252Fb",
    "a b?c#d&e=f",
    "größe+1",
    "../../etc",
)


NOT_NAMES = ("/requests/<id_>", "/ui/<name>")
"""What ends with something else than a model's name."""


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> list[App]:
    """The app that is served, once it is."""
    built: list[App] = []

    def remember(*parts: object) -> App:
        built.append(build_app(*parts))  # type: ignore[arg-type]  # whatever it is given
        return built[0]

    monkeypatch.setattr(llmsup.tree, "build_app", remember)
    return built


def routes(app: App) -> Iterator[tuple[str, str]]:
    """Method and beginning of each route that ends with a name; and of the one whose rest is the engine's."""
    yield "GET", "/upstream"
    for rule in app.url_map.iter_rules():
        if rule.rule in NOT_NAMES:
            continue
        if rule.arguments and not all(isinstance(each, IntegerConverter) for each in rule._converters.values()):
            assert all(isinstance(rule._converters[name], NameInPath) for name in rule.arguments), rule
            yield "POST" if "POST" in (rule.methods or ()) else "GET", rule.rule.partition("/<")[0]


async def ask(served: Served, method: str, path: str) -> int:
    with trio.fail_after(30):
        answer = await served.client.send(method, path)  # not to its end: /logs/stream has none
        await answer.close()
    return answer.status


@pytest.mark.parametrize("name", NAMES)
async def test_every_route_knows_every_name(app: list[App], name: str) -> None:
    """Encoded as a part of a path is, and as the commands do it."""
    async with serving(fake("m", aliases=(name,))) as served:
        tried = list(routes(app[0]))
        assert {prefix for _, prefix in tried} >= {"/v1/models", "/logs", "/logs/stream", "/memory"}
        for method, prefix in tried:
            rest = "/props?autoload=true" if prefix == "/upstream" else ""
            for path in (f"{prefix}/{quote(name, safe='')}", model_path(prefix, name)):
                assert await ask(served, method, path + rest) == 200, (method, path)
            assert await ask(served, method, f"{prefix}/nothing%2Fsuch{rest}") == 404


async def test_a_slash_that_is_encoded_parts_nothing() -> None:
    """It is in a name, or it is wrong; it makes no other path of one."""
    async with serving(fake("m")) as served:
        for method, path in (
            ("POST", "/v1%2Fchat%2Fcompletions"),
            ("GET", "/v1%2Fmodels"),
            ("GET", "/%2Fhealth"),
            ("GET", "/upstream%2Fm/props"),
        ):
            assert await ask(served, method, path) == 404, path


async def test_a_url_with_a_path_is_still_the_server(app: list[App]) -> None:
    """Whatever path of ours somebody has copied along, with and without a proxy's before it."""
    async with serving(fake("m")):
        paths = [
            re.sub("<[a-z_]+>", "x", rule.rule.replace("<model:name>", "org/m")) for rule in app[0].url_map.iter_rules()
        ]
        for path in (*paths, "/upstream/m/props", *(route.path.replace("*", "0") for route in ROUTES)):
            for base in ("http://box:81", "http://box:81/llm"):
                assert base_url(base + path) == base, path
    for proxys in ("http://box:81/api", "http://box:81/api/v1"):
        assert base_url(proxys) == "http://box:81/api"


@pytest.mark.parametrize("command", [["why"], ["logs"], ["logs", "-n", "3"], ["load"], ["unload"]])
async def test_the_commands_take_every_name(command: list[str]) -> None:
    async with serving(fake("m", aliases=NAMES)) as served:
        url = f"http://127.0.0.1:{served.client.port}"
        for name in NAMES:
            words = [*command, "--url", url, "--", name]
            result = await trio.to_thread.run_sync(CliRunner().invoke, main, words)
            assert result.exit_code == 0, (name, result.output)
