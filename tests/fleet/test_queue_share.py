"""Who may wait: `max_queue` counts those who would wait, and no client can fill the queue."""

from __future__ import annotations

import pytest
import trio
from fake_run import AlwaysYes, Garage
from fleets import LONG, entries, entry
from serving import fake, serving

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, Server
from llmsup.errors import ModelFailed, QueueFull
from llmsup.fleet.backend import BackendLease
from llmsup.fleet.fleet import Fleet
from llmsup.fleet.model.outcome import FailedToStart
from llmsup.fleet.model.states import State
from llmsup.gateway.access import RequestGuard
from llmsup.gateway.message import RequestHead
from llmsup.process.logbook import LogBook


async def with_queue(nursery: trio.Nursery, max_queue: int) -> Fleet:
    """Two models: "busy" serves one at a time, "idle" any number."""
    fleet = Fleet(Garage(load_time=0), AlwaysYes(), max_queue=lambda: max_queue, book=LogBook())
    await nursery.start(fleet.run)
    fleet.apply(entries(entry("busy", max_in_flight=1), entry("idle")))
    return fleet


def fill(fleet: Fleet, model: str, client: str) -> int:
    """As many requests of one client as are let in; says how many."""
    count = 0
    while True:
        try:
            fleet.enter(fleet.models[model], client=client)
        except QueueFull:
            return count
        count += 1


async def ready(fleet: Fleet, model: str) -> BackendLease:
    """One request that is served, and goes on."""
    lease = fleet.enter(fleet.models[model])
    await lease.run(LONG)
    return lease


async def test_a_full_queue_turns_nobody_away_who_would_not_wait(nursery: trio.Nursery) -> None:
    """Ten wait for a busy model; an idle one that is loaded serves whoever comes."""
    fleet = await with_queue(nursery, 10)
    await ready(fleet, "busy")
    (await ready(fleet, "idle")).__exit__()
    assert fill(fleet, "busy", client="") == 10
    for _ in range(30):
        assert (await ready(fleet, "idle")) is not None
    with pytest.raises(QueueFull, match=r"10 requests .*\(max_queue\)"):
        fleet.enter(fleet.models["busy"])


async def test_who_would_be_refused_anyway_is_told_why(nursery: trio.Nursery) -> None:
    """A model that can't be loaded is no matter of the queue."""
    fleet = await with_queue(nursery, 1)
    await ready(fleet, "busy")
    fill(fleet, "busy", client="")
    fleet.models["idle"].become(State.FAILED, "it is broken")
    fleet.models["idle"].failure = FailedToStart("broken")
    fleet.models["idle"].backoff.failed()
    with pytest.raises(ModelFailed, match="broken"):
        fleet.enter(fleet.models["idle"])


@pytest.mark.parametrize(("max_queue", "alone", "second"), [(1000, 501, 250), (100, 51, 25), (2, 2, 0), (1, 1, 0)])
async def test_no_client_fills_the_queue(nursery: trio.Nursery, max_queue: int, alone: int, second: int) -> None:
    """Each may have as many as it leaves; over all models together."""
    fleet = await with_queue(nursery, max_queue)
    await ready(fleet, "busy")
    assert fill(fleet, "busy", "greedy") == alone
    assert fill(fleet, "idle", "greedy") == 0
    assert fill(fleet, "idle", "second") == second
    assert fill(fleet, "busy", "greedy") == 0


async def test_the_last_places_are_for_newcomers(nursery: trio.Nursery) -> None:
    """After a client that took all it could, fifty others still find a place each; and the message says whose fault."""
    fleet = await with_queue(nursery, 200)
    await ready(fleet, "busy")
    fill(fleet, "busy", "greedy")
    for number in range(50):
        fleet.enter(fleet.models["busy"], client=f"other {number}")
    with pytest.raises(QueueFull, match=r"101 requests from this client .* 49 places are left") as error:
        fleet.enter(fleet.models["busy"], client="greedy")
    assert error.value.retry_after is not None


def head(*headers: tuple[bytes, bytes], client: str = "10.0.0.7") -> RequestHead:
    return RequestHead(method="POST", path="/", raw_path=b"/", headers=list(headers), client=client)


def test_a_client_is_its_key_or_its_address() -> None:
    """A made-up key makes no new client where no keys are wanted; and a key is not kept."""

    def guard(*keys: str) -> RequestGuard:
        return RequestGuard(LiveConfig(Config(server=Server(api_keys=keys))), loopback=True)

    bearer = (b"authorization", b"Bearer sk-1")
    free, keyed = guard(), guard("sk-1", "sk-2")
    assert free.check(head(bearer)).identity == free.check(head()).identity == ""
    first = keyed.check(head(bearer)).identity
    assert first == keyed.check(head((b"x-api-key", b"sk-1"), client="10.0.0.8")).identity
    assert first not in ("", keyed.check(head((b"x-api-key", b"sk-2"))).identity)
    assert "sk-1" not in first


async def test_a_loaded_model_answers_while_the_queue_is_full() -> None:
    """Over HTTP, and the client is told apart by its address."""
    async with (
        serving(fake("idle"), fake("slow", "--load-time", 60), server=Server(max_queue=1)) as served,
        trio.open_nursery() as nursery,
    ):
        assert (await served.client.chat("idle")).status == 200
        nursery.start_soon(served.client.chat, "slow")
        await served.until("slow", lambda m: m.queue.waiting)
        assert served.model("slow").queue.waiting_of("address 127.0.0.1") == 1
        assert (await served.client.chat("idle")).status == 200
        assert (await served.client.chat("slow")).error["code"] == "queue_full"
        nursery.cancel_scope.cancel()
