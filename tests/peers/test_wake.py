"""The packet that wakes a machine, and where it is sent. Nothing leaves this machine."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import psutil
import pytest
import trio

from llmsup.config.schema import PeerSpec
from llmsup.peers import wake
from llmsup.peers.wake import broadcasts, packet, send

MAC = "a4:83:e7:01:02:03"
PACKET = b"\xff\xff\xff\xff\xff\xff" + b"\xa4\x83\xe7\x01\x02\x03" * 16


@pytest.mark.parametrize("mac", [MAC, MAC.upper(), MAC.replace(":", "-")])
def test_the_packet(mac: str) -> None:
    assert packet(mac) == PACKET


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
async def test_it_arrives(family: socket.AddressFamily, host: str) -> None:
    with trio.socket.socket(family, socket.SOCK_DGRAM) as own, trio.fail_after(30):
        await own.bind((host, 0))
        await send(PACKET, ["127.0.0.999", host], own.getsockname()[1])  # one that can't be is no matter
        assert await own.recv(200) == PACKET


async def test_if_it_can_be_sent_nowhere_that_is_told() -> None:
    with pytest.raises(OSError, match=r"(?i)address|name"):
        await send(PACKET, ["127.0.0.999"], 9)
    with pytest.raises(OSError, match="no address"):
        await send(PACKET, [], 9)


def test_everybody_hears_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def address(family: int, broadcast: str | None) -> object:
        return SimpleNamespace(family=family, address="192.168.1.5", broadcast=broadcast)

    interfaces = {
        "en0": [address(socket.AF_INET, "192.168.1.255"), address(socket.AF_INET6, "ff::ff")],
        "lo": [address(socket.AF_INET, None)],
        "en1": [address(socket.AF_INET, "10.0.0.255"), address(socket.AF_INET, "192.168.1.255")],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: interfaces)
    assert broadcasts() == ("255.255.255.255", "192.168.1.255", "10.0.0.255")


async def test_the_host_itself_gets_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wake, "broadcasts", lambda: ())
    spec = PeerSpec(name="x", url="http://127.0.0.1:5005", mac=MAC)
    with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own, trio.fail_after(30):
        await own.bind(("127.0.0.1", 0))
        monkeypatch.setattr(wake, "PORT", own.getsockname()[1])
        await wake.wake(spec)
        assert await own.recv(200) == PACKET
