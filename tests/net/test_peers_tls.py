"""A peer that can't prove who it is gets nothing: neither a request nor a key."""

from __future__ import annotations

import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import trio
import trustme
from netns_hosts import Host, network
from netns_llmsup import PORT, llmsup, smol
from netns_peers import has, peer, peers_of, until_peer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux'"),
]


@asynccontextmanager
async def listening(host: Host, certificate: trustme.LeafCert) -> AsyncIterator[bytearray]:
    """Somebody who has this certificate, and writes down what he is told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    heard = bytearray()

    async def connection(plain: trio.SocketStream) -> None:
        stream = trio.SSLStream(plain, context, server_side=True, https_compatible=True)
        try:
            async for data in stream:
                heard.extend(data)
        except trio.BrokenResourceError:
            pass  # it has refused us
        finally:
            await trio.aclose_forcefully(stream)

    listener = await host.listen(PORT)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, connection, [listener])
        yield heard
        nursery.cancel_scope.cancel()


async def test_a_wrong_certificate(tmp_path: Path) -> None:
    """From nobody that is trusted; for another name; another than the pinned one. And the right ones, which serve."""
    ours, others = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with network("a", "b", "stranger", "namesake", "replaced") as net:
        address = net["b"].address
        right = ours.issue_cert(address)
        right.private_key_pem.write_to_path(tmp_path / "key.pem")
        for part in right.cert_chain_pems:
            part.write_to_path(tmp_path / "cert.pem", append=True)
        pinned = ssl.PEM_cert_to_DER_cert(right.cert_chain_pems[0].bytes().decode())
        own = {"certfile": str(tmp_path / "cert.pem"), "keyfile": str(tmp_path / "key.pem")}

        def table(name: str, **more: str) -> dict[str, str]:
            return peer(net[name], url=f"https://{net[name].address}:{PORT}", **more)

        ca, fingerprint = {"ca": str(tmp_path / "ca.pem")}, {"fingerprint": f"sha256:{sha256(pinned).hexdigest()}"}
        peers = {
            "b": table("b", **ca),
            "pinned": {**table("b"), **fingerprint},
            "stranger": table("stranger", **ca),
            "namesake": table("namesake", **ca),
            "replaced": {**table("replaced"), **fingerprint},
        }
        async with (
            listening(net["stranger"], others.issue_cert(net["stranger"].address)) as stranger,
            listening(net["namesake"], ours.issue_cert("elsewhere.example")) as namesake,
            listening(net["replaced"], ours.issue_cert(net["replaced"].address)) as replaced,
            llmsup(net["b"], tmp_path, models={"smol": smol()}, server=own),
            llmsup(net["a"], tmp_path, peers=peers) as a,
        ):
            for name in ("b", "pinned"):
                await until_peer(a, name, has("smol"))
                got = await a.client.chat(f"{name}/smol", max_tokens=2)
                assert got.json["choices"][0]["message"]["content"]
            for name in ("stranger", "namesake", "replaced"):
                found = await until_peer(a, name, lambda found: found["state"] == "down")
                assert "certificate" in found["reason"]
                got = await a.client.chat(f"{name}/smol", max_tokens=2)
                assert got.status >= 400
            assert not stranger + namesake + replaced
            assert {name for name, each in (await peers_of(a)).items() if each["state"] == "up"} == {"b", "pinned"}
