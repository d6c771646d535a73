"""Cold starts up to an answer's first byte: by hand, through llmsup, and through llama-server's router.

"By hand" starts the engine here, as a script would.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from llmsup.engines.address import UnixAddress
from tools.bench_drive import Client, Failed, Request, stream_once, until_answers
from tools.bench_measures import chat, turns
from tools.bench_samples import Samples
from tools.bench_ways import HEALTH, MODEL, Way, process, with_host

ASK = chat(MODEL, 2)


async def cold(samples: Samples, ways: Sequence[Way], command: Sequence[str], directory: Path, rounds: int) -> None:
    """Milliseconds to the first byte of a stream, in turns.

    Args:
        command: The command that llmsup runs; by hand it is run with another socket. The direct way means by hand.
        directory: Where to put that socket.
    """
    for way in turns(ways, rounds):
        if way.name == "direct":
            seconds = await by_hand(command, directory)
        else:
            await unload(way)
            await trio.sleep(0.2)  # until the unloaded model's memory is freed
            began = time.perf_counter()
            seconds = await first_byte(way) - began
        samples.add("cold", way.name, 1000 * seconds)


async def by_hand(command: Sequence[str], directory: Path) -> float:
    """Start the engine, poll every 5 ms whether it is ready, send the request."""
    address = UnixAddress(directory / "hand.sock")
    address.path.unlink(missing_ok=True)
    began = time.perf_counter()
    with process(with_host(command, str(address.path)), directory / "hand.log") as child:
        way = Way("direct", address, child.pid)
        await until_answers(address, HEALTH, every=0.005)
        return await first_byte(way) - began


async def first_byte(way: Way) -> float:
    """Send a request; return when the first byte has arrived."""
    began = time.perf_counter()
    return began + (await stream_once(way.address, ASK)).first


async def unload(way: Way) -> None:
    """Unload the model; return when it is unloaded."""
    client = Client(way.address)
    try:
        await client.ask(Request("/models/unload", {"model": MODEL}))
        for _ in range(1000):
            entries = json.loads(await client.ask(Request("/models")))["data"]
            if any(e["id"] == MODEL and e["status"]["value"] == "unloaded" for e in entries):
                return
            await trio.sleep(0.01)
        raise Failed(f"{way.name} does not unload {MODEL}")
    finally:
        await client.close()
