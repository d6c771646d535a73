"""Llmsups that are each other's peers: each serves what all have, and none takes its own models for another's."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from fake_peer import FakePeer, said
from serving import Served, fake, serving

from llmsup.config.schema import Bridge, Config, PeerSpec, Server
from llmsup.peers.via import VIA
from llmsup.units import NEVER

PATIENCE = 120
"""Seconds after which a test counts as hung: what is new needs a few rounds of questions."""


async def offered(served: Served) -> dict[str, int]:
    """What its peer offers it, and over how many others."""
    (peer,) = (await served.client.get("/peers")).json["peers"]
    return {model["name"]: model["hops"] for model in peer["models"]}


@pytest.mark.road("fast")
@pytest.mark.parametrize("count", [2, 3])
async def test_what_one_has_all_serve(tmp_path: Path, count: int) -> None:
    async with AsyncExitStack() as stack:
        machines: list[Served] = []
        for number in range(count):
            own: dict[str, Any] = {"server": Server(state_dir=tmp_path / str(number)), "bridge": Bridge(every=NEVER)}
            config = Config(models={f"m{number}": fake(f"m{number}")}, **own)
            machines.append(await stack.enter_async_context(serving(config=config)))
        for number, machine in enumerate(machines):
            port = machines[(number + 1) % count].client.port
            peers = {"next": PeerSpec(name="next", url=f"http://127.0.0.1:{port}")}
            machine.tree.config.replace(evolve(machine.tree.config.now, peers=peers))
        for number, machine in enumerate(machines):
            others = {f"m{(number + 1 + hops) % count}": hops for hops in range(count - 1)}
            with trio.fail_after(PATIENCE):
                while await offered(machine) != others:  # noqa: ASYNC110 -- asked over HTTP
                    await trio.sleep(0.2)
        for machine in machines:
            for number in range(count):
                assert (await machine.client.chat(f"m{number}")).status == 200
            assert (await machine.client.chat("nobody's")).status == 404
        for number, machine in enumerate(machines):  # a round later, too
            assert f"m{number}" not in await offered(machine)


@pytest.mark.road("fast")
async def test_a_server_that_is_no_llmsup_is_found_once(tmp_path: Path) -> None:
    """What one has from an Ollama comes back to it from nobody, over however many others."""
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(FakePeer({"/v1/models": said({"data": [{"id": "far"}]})}).listening())
        machines: list[Served] = []
        for number in range(3):
            config = Config(server=Server(state_dir=tmp_path / str(number)), bridge=Bridge(every=NEVER))
            machines.append(await stack.enter_async_context(serving(config=config)))
        ports = {f"m{number}": machine.client.port for number, machine in enumerate(machines)}
        for number, machine in enumerate(machines):
            others = {name: port for name, port in ports.items() if name != f"m{number}"}
            others |= {"plain": plain.port} if number == 0 else {}
            peers = {name: PeerSpec(name=name, url=f"http://127.0.0.1:{port}") for name, port in others.items()}
            machine.tree.config.replace(evolve(machine.tree.config.now, peers=peers))

        async def whose(machine: Served) -> dict[str, list[str]]:
            told = (await machine.client.get("/peers")).json["peers"]
            return {peer["name"]: [model["name"] for model in peer["models"]] for peer in told}

        with trio.fail_after(PATIENCE):
            for number in (1, 2):  # each from the first, and by way of the other
                while not all((await whose(machines[number])).values()):  # noqa: ASYNC110 -- asked over HTTP
                    await trio.sleep(0.2)
        first = machines[0].tree.serving.identity.encode()
        told = (await machines[1].client.ask("GET", "/v1/models", headers=[(VIA, first)])).json["data"]
        assert [(each["id"], each["peer"]["origins"]) for each in told] == [("far", [first.decode()])]
        assert await whose(machines[0]) == {"m1": [], "m2": [], "plain": ["far"]}
