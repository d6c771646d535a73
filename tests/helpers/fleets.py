"""A fleet whose engines are fakes, what it is given to serve, and one request of it; for clocks that jump."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from fake_run import AlwaysYes, Garage

from llmsup.catalog.entry import Entry
from llmsup.config.schema import ModelSpec
from llmsup.fleet.fleet import Fleet
from llmsup.fleet.model.model import Model
from llmsup.fleet.model.run import Run
from llmsup.fleet.model.supervisor import Supervisor
from llmsup.process.logbook import LogBook
from llmsup.units import NEVER, Seconds

LONG = Seconds(1_000_000)


def entry(name: str, *, refusal: str = "", **spec: Any) -> Entry:
    return Entry(spec=ModelSpec(name=name, path=f"/{name}.gguf", **{"ttl": NEVER, **spec}), refusal=refusal)


def entries(*these: Entry) -> dict[str, Entry]:
    return {each.name: each for each in these}


@pytest.fixture(name="garage")
def garage_of_fakes() -> Garage:
    return Garage()


def supervised(entry: Entry, nursery: trio.Nursery, garage: Garage) -> Model:
    """A model with its supervisor, on a machine that has memory for everything."""
    model = Model(entry, LogBook())
    nursery.start_soon(Supervisor(model, garage, AlwaysYes()).run)
    return model


@pytest.fixture(name="make")
async def make_models(nursery: trio.Nursery, garage: Garage) -> Callable[..., Model]:
    """Makes a supervised model, "m", of the engines of `garage`; keyword arguments go into its spec."""
    return lambda **spec: supervised(entry("m", **spec), nursery, garage)


@pytest.fixture(name="fleet")
async def fleet_of_fakes(nursery: trio.Nursery, garage: Garage) -> Fleet:
    fleet = Fleet(garage, AlwaysYes(), max_queue=lambda: 100, book=LogBook())
    await nursery.start(fleet.run)
    return fleet


async def use(fleet: Fleet, name: str, seconds: float = 1) -> str:
    """One request that takes some seconds of the engine; says what it was served with."""
    model = fleet.find(name)
    with fleet.enter(model) as lease:
        run = await lease.run(LONG)
        assert isinstance(run, Run)
        await trio.sleep(seconds)
        assert run.outcome is None, "the request was cut off"
        return model.spec.description
