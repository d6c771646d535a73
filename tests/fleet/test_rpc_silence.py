"""What the kernel tells of a worker's connections."""

from __future__ import annotations

import socket
import sys

import pytest
import trio

from llmsup.engines.address import TcpAddress
from llmsup.fleet.rpc.silence import Exchange, exchange
from llmsup.units import Seconds


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_who_owes_an_answer(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as server:
        address = TcpAddress(host, server.getsockname()[1])
        assert exchange(address) is None
        with socket.create_connection(server.getsockname()[:2]) as client, server.accept()[0] as one:
            await trio.sleep(0.03)  # the kernel counts in steps of up to 10 ms
            client.send(b"a question")
            owed = exchange(address)
            assert owed is not None
            assert owed.owed
            await trio.sleep(0.03)
            one.send(b"its answer")
            answered = exchange(address)
            assert answered is not None
            assert not answered.owed
        assert exchange(address) is None


def test_on_other_systems_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert exchange(TcpAddress("127.0.0.1", 1)) is None
    assert Exchange(Seconds(1), Seconds(1)).owed
