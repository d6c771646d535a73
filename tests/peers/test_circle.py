"""Llmsups that are each other's peers: each serves what all have, and none takes its own models for another's."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve
from serving import Served, fake, serving

from llmsup.config.schema import Bridge, Config, PeerSpec, Server
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
