"""Where a real llama-server puts a real model: on two devices that are llama.cpp's own workers, beside what we say."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest
from measured import estimated, log_of
from real_engines import llama_server, smollm2

from llmsup.memory.amounts import HOST, Amounts
from llmsup.memory.cost.placement import MARGIN, Room, place

MiB = 1024**2
_DEVICE = re.compile(r" +RPC\d\[[\d.]+:(\d+)\] (model|KV|compute) buffer size = +([\d.]+) MiB")
_TOTAL = re.compile(r"RPC\d \([\d.]+:\d+\): +(\d+) total")
_CONSTRUCTING = "loaded meta data with"


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[int, int]]:
    """The ports of two."""
    program = llama_server().with_name("ggml-rpc-server")
    ports = []
    for _ in range(2):
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    with ExitStack() as stack:
        for port in ports:
            words = [str(program), "-H", "127.0.0.1", "-p", str(port), "-t", "1"]
            process = stack.enter_context(subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            stack.callback(process.kill)
            until_listening(port)
        yield ports[0], ports[1]


def until_listening(port: int) -> None:
    """It prints into a buffer, so that only a connection tells."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with suppress(ConnectionRefusedError), closing(socket.create_connection(("127.0.0.1", port), timeout=5)):
            return
        time.sleep(0.02)
    pytest.fail(f"no worker listens on port {port}")


def put(workers: tuple[int, int], *args: str) -> tuple[Amounts, int]:
    """What the engine has on each device by its log, in bytes; and each one's size in MiB."""
    rpc = ("--rpc", ",".join(f"127.0.0.1:{port}" for port in workers), "--device", "RPC0,RPC1", "-ngl", "-1")
    log = log_of(smollm2(), *rpc, "-np", "1", *args, fit=True)
    sizes: dict[str, float] = {}
    for port, _, mib in _DEVICE.findall(log.rpartition(_CONSTRUCTING)[2]):
        pool = "ab"[workers.index(int(port))]
        sizes[pool] = sizes.get(pool, 0) + float(mib)
    (total, *_) = _TOTAL.findall(log) or ("0",)
    return Amounts({pool: round(mib * MiB) for pool, mib in sizes.items()}), int(total)


@pytest.mark.parametrize(
    "args",
    [
        "-c 2048",
        "-c 2048 -ngl 10",
        "-c 2048 -ngl 0",
        "-c 2048 -ngl 99 -ts 1,3",
        "-c 2048 -nkvo",
        "",
        "-c 2048 -sm none -mg 1",
    ],
)
def test_where_there_is_room(workers: tuple[int, int], args: str) -> None:
    """To the layer; and no more than what estimates of buffers are too high."""
    real, _ = put(workers, *args.split())
    said = estimated(smollm2(), "-np", "1", *args.split())
    assert said.layout is not None
    rooms = [Room(pool, 2**35, 2**35) for pool in "ab"]
    ours = place(said.layout, rooms, said.context.offload)
    assert set(ours) - {HOST} == set(real)
    for pool in real:
        assert 0 <= ours[pool] - real[pool] <= 4 * MiB, f"{pool}: {ours!r} for {real!r}"


@pytest.mark.parametrize("left", [60, 75])
def test_where_there_is_little(workers: tuple[int, int], left: int) -> None:
    """`--fit` with so many MiB on each: as many layers, or one less for what our buffers are too high."""
    _, total = put(workers, "-c", "2048")
    real, _ = put(workers, "-c", "2048", "-fitt", str(total - left))
    said = estimated(smollm2(), "-np", "1", "-c", "2048")
    assert said.layout is not None
    rooms = [Room(pool, left * MiB + MARGIN) for pool in "ab"]
    ours = place(said.layout, rooms, said.context.offload)
    layer = said.layout.weights[0] + said.layout.caches[0]
    for pool in real:
        assert ours[pool] <= left * MiB
        assert abs(ours[pool] - real[pool]) <= layer + 4 * MiB, f"{pool}: {ours!r} for {real!r}"
