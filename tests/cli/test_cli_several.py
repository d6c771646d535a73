"""Commands against a server in the same process: `load`, `unload` and Ollama's words, for several models."""

from __future__ import annotations

import json
from typing import Any

import trio
from click.testing import CliRunner, Result
from serving import Served, fake, serving

from llmsup.cli import main
from llmsup.fleet.model.states import State
from llmsup.units import NEVER


async def said(served: Served, *words: str) -> Result:
    url = f"http://127.0.0.1:{served.client.port}"
    return await trio.to_thread.run_sync(lambda: CliRunner().invoke(main, [*words, "--url", url]))


async def test_several_are_loaded_and_one_that_is_not_there_stops_none() -> None:
    async with serving(fake("a"), fake("b")) as served:
        result = await said(served, "load", "--ttl", "never", "a", "nothing", "b", "a")
        assert result.exit_code == 1
        assert [line.split(" loaded in ")[0] for line in result.stdout.splitlines()] == ["a", "b"]
        assert "There is no model 'nothing'" in result.stderr
        assert [served.model(name).ttl for name in "ab"] == [NEVER, NEVER]


async def test_json_is_a_list_for_several() -> None:
    async with serving(fake("a"), fake("b")) as served:
        one: dict[str, Any] = json.loads((await said(served, "load", "--json", "--pin", "a")).stdout)
        assert (one["model"], one["pinned"]) == ("a", True)
        several = json.loads((await said(served, "load", "--json", "a", "b")).stdout)
        assert [each["model"] for each in several] == ["a", "b"]
        gone = json.loads((await said(served, "stop", "--json", "a", "b")).stdout)
        assert [each["model"] for each in gone] == ["a", "b"]


async def test_what_a_load_says() -> None:
    async with serving(fake("a")) as served:
        assert (await said(served, "load", "--pin", "a")).stdout.endswith(", pinned\n")
        assert (await said(served, "load", "a")).stdout == "a is already loaded.\n"
        assert (await said(served, "load", "--no-pin", "a")).stdout == "a is already loaded, not pinned.\n"
        told = (await said(served, "load", "--ttl", "2h", "a")).stdout
        assert told == "a is already loaded, unloaded after 2 h idle.\n"
        told = (await said(served, "load", "--ttl", "never", "a")).stdout
        assert told == "a is already loaded, never unloaded for being idle.\n"


async def test_what_an_unload_says() -> None:
    async with serving(fake("a"), fake("b", pinned=True)) as served:
        await said(served, "load", "a", "b")
        result = await said(served, "unload", "--ttl", "10m", "a", "b")
        assert result.stdout.splitlines() == [
            "a will be unloaded once it has been idle for 10 m.",
            "b stays: its config has it pinned.",
        ]
        result = await said(served, "unload", "a", "nothing", "b")
        assert result.exit_code == 1
        assert [line.split(" unloaded")[0] for line in result.stdout.splitlines()] == ["a", "b"]
        assert (await said(served, "unload", "a")).stdout == "a was not loaded.\n"
        assert (await said(served, "unload", "--ttl", "0", "--all")).stdout == "No model was loaded.\n"
        await said(served, "load", "a")
        assert (
            await said(served, "unload", "--ttl", "0", "--all")
        ).stdout == "a will be unloaded as soon as it is idle.\n"
        await served.until("a", lambda model: model.state is State.UNLOADED)


async def test_ollamas_words() -> None:
    async with serving(fake("a", description="the first"), fake("b")) as served:
        assert (await said(served, "list")).stdout == (await said(served, "ls")).stdout
        shown = (await said(served, "show", "a")).stdout
        assert "description      the first\n" in shown
        assert shown.splitlines()[-1].startswith("a is unloaded")
        assert shown.endswith(": not requested yet.\n")
        assert json.loads((await said(served, "show", "--json", "a")).stdout)["id"] == "a"
        assert (await said(served, "show", "nothing")).exit_code == 1


async def test_ps_without_a_terminal() -> None:
    async with serving(fake("a")) as served:
        assert "No model is loaded." in (await said(served, "ps")).stdout
        await said(served, "load", "a")
        shown = (await said(served, "ps")).stdout
        assert shown.splitlines()[1].startswith("a      ready ")
        assert "\x1b" not in shown
