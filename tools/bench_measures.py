"""The measurements under load: added latency, the cost of a streamed chunk, and memory over many requests."""

from __future__ import annotations

import json
from collections.abc import Sequence

import psutil
import trio

from tools.bench_drive import Client, Failed, Request, Stream, load, stream_once
from tools.bench_samples import Samples
from tools.bench_ways import MODEL, Way

TOKENIZE = Request("/tokenize", {"model": MODEL, "content": "The quick brown fox jumps over the lazy dog."})
ALONE, MANY, CROWD = 1, 16, 64


def chat(model: str, tokens: int) -> Request:
    """A request for a streamed answer of exactly so many tokens, the same every time."""
    messages = [{"role": "user", "content": "Tell me about the sea."}]
    body = {"model": model, "messages": messages, "max_tokens": tokens, "stream": True}
    return Request("/v1/chat/completions", {**body, "seed": 1, "temperature": 0, "ignore_eos": True})


def turns(ways: Sequence[Way], rounds: int) -> list[Way]:
    """The ways in turn, each round starting with another one, so that noise and order affect all alike."""
    return [ways[(number + n) % len(ways)] for number in range(rounds) for n in range(len(ways))]


def memory(way: Way) -> float:
    """MiB of the process's private memory."""
    uss: int = psutil.Process(way.pid).memory_full_info().uss
    return uss / 2**20


async def latency(samples: Samples, ways: Sequence[Way], *, rounds: int) -> None:
    """Small requests, in each round first over one connection, then over many."""
    for way in ways:
        done = await load(way.address, TOKENIZE, connections=MANY, seconds=1)  # also to warm up
        samples.add("first burst", way.name, 1000 * max(done.latencies, default=0))
        samples.fail(way.name, done.errors)
        samples.add("memory", way.name, memory(way))
    for way in turns(ways, rounds):
        for connections, seconds in ((ALONE, 0.5), (MANY, 1.0), (CROWD, 1.0)):
            used = way.cpu()
            done = await load(way.address, TOKENIZE, connections=connections, seconds=seconds)
            asked = len(done.latencies) + len(done.errors)
            samples.add(f"cpu {connections}", way.name, 1e6 * (way.cpu() - used) / asked)
            samples.add(f"latency {connections}", way.name, *(1000 * each for each in done.latencies))
            samples.add(f"rate {connections}", way.name, len(done.latencies) / done.seconds)
            samples.add("requests", way.name, asked)
            samples.fail(way.name, done.errors)
        samples.add("memory", way.name, memory(way))


async def large(samples: Samples, ways: Sequence[Way], model: str, *, rounds: int) -> None:
    """A body of a megabyte, there and back: the fake engine echoes it."""
    request = Request("/v1/chat/completions", {"model": model, "messages": [], "text": "x" * 2**20})
    for warm in (False, True):
        for way in turns(ways, rounds if warm else 1):
            done = await load(way.address, request, connections=ALONE, seconds=0.5)
            samples.fail(way.name, done.errors)
            if warm:
                samples.add("large", way.name, *(1000 * each for each in done.latencies))


async def streams(samples: Samples, ways: Sequence[Way], *, rounds: int, tokens: int) -> None:
    """The real engine's streams, one at a time."""
    for warm in (False, True):
        for way in turns(ways, rounds if warm else 1):
            got = await stream_once(way.address, chat(MODEL, tokens))
            if warm:
                samples.add("first chunk", way.name, 1000 * got.first)
                samples.add("tokens", way.name, (got.events - 1) / (got.seconds - got.first))


async def first_chunks(samples: Samples, ways: Sequence[Way], model: str, *, pairs: int) -> None:
    """How much later a stream begins than directly, in pairs: each difference is of two streams right after each other,
    over connections that are kept, so that what disturbs both doesn't count. The order of the two alternates.
    """
    direct, *others = ways
    request = chat(model, 0)
    clients = {way.name: Client(way.address) for way in ways}
    try:
        for way in ways:
            await clients[way.name].stream(request)
        for number in range(pairs):
            for way in others:
                first: dict[str, float] = {}
                for each in (direct, way) if number % 2 else (way, direct):
                    first[each.name] = (await clients[each.name].stream(request)).first
                samples.add("first over direct", way.name, 1000 * (first[way.name] - first[direct.name]))
    finally:
        for client in clients.values():
            await client.close()


async def chunks(
    samples: Samples, ways: Sequence[Way], model: str, *, rounds: int, measure: str, together: int
) -> None:
    """A fake engine's streams, so many together: the CPU time per chunk, and how long it takes to arrive."""
    request = chat(model, 0)  # the fake decides by itself how many
    for way in ways:
        await stream_once(way.address, request)
    for way in turns(ways, rounds):
        used = way.cpu()
        got: list[Stream] = []

        async def stream(way: Way, got: list[Stream]) -> None:
            got.append(await stream_once(way.address, request))

        async with trio.open_nursery() as nursery:
            for _ in range(together):
                nursery.start_soon(stream, way, got)
        events = sum(each.events for each in got)
        samples.add(f"{measure} {together} cpu", way.name, 1e6 * (way.cpu() - used) / events)
        samples.add(f"{measure} {together}", way.name, 1e6 * max(each.seconds for each in got) / events)


async def crowd(samples: Samples, way: Way, model: str, *, together: int, patience: float = 300) -> None:
    """So many slow streams at once, each on a separate connection: the peak of the process's private memory, and
    whether any slot is still taken afterwards.
    """
    request, failed, most = chat(model, 0), list[str](), 0.0

    async def stream() -> None:
        try:
            await stream_once(way.address, request)
        except (Failed, OSError) as error:
            failed.append(str(error))

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, memory(way))
            await trio.sleep(0.5)

    await stream_once(way.address, request)  # load it first: during a load, one client may not take that many slots
    with trio.move_on_after(patience) as late:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            async with trio.open_nursery() as streams:
                for _ in range(together):
                    streams.start_soon(stream)
            nursery.cancel_scope.cancel()
    samples.fail(
        way.name, [*failed, *([f"not all streams ended within {patience:g} s"] if late.cancelled_caught else [])]
    )
    samples.add("crowd memory", way.name, most)
    samples.add("crowd lost", way.name, await _in_flight(way, model))


async def _in_flight(way: Way, model: str) -> int:
    """How many requests llmsup still counts, after it has had a moment to notice that the clients left."""
    client = Client(way.address)
    try:
        for _ in range(20):
            running = json.loads(await client.ask(Request("/running")))
            count = sum(int(each["in_flight"]) for each in running if each["model"] == model)
            if not count:
                break
            await trio.sleep(0.1)
    finally:
        await client.close()
    return count
