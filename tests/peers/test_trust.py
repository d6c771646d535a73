"""Which certificate is believed to be a peer's, and what is said of one that isn't; the certificates are made here."""

from __future__ import annotations

import hashlib
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from attrs import evolve
from fake_peer import FakePeer, said
from watched_peers import spec, watched

from llmsup.config.schema import PeerSpec
from llmsup.peers.address import Door, Untrusted, address_of, believe
from llmsup.peers.peer import Peer, PeerState

LIST = {"/v1/models": said({"data": [{"id": "a"}]})}


class Authority:
    """An authority of its own, and a server of the name localhost that it vouches for."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.file))
        certificate = authority.issue_cert("localhost")
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate.configure_cert(self.context)
        der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
        self.fingerprint = f"sha256:{hashlib.sha256(der).hexdigest()}"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def look(folder: Path, authority: Authority | None, *, host: str = "localhost", **table: Any) -> Peer:
    """What becomes of such a peer; one that is refused has heard nothing, not the key either."""
    fake = FakePeer(LIST)
    async with fake.listening(authority.context if authority else None) as server:
        entry = spec(server.port, key="sesame", **{"url": f"https://{host}:{server.port}", **table})
        async with watched(folder, entry) as found:
            peer = found["studio"]
            await found.until(lambda: peer.state is not PeerState.UNKNOWN)
    assert bool(fake.asked) == (peer.state is PeerState.UP)
    return peer


async def test_what_the_system_trusts_is_trusted(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert (await look(tmp_path, authority)).state is PeerState.UP


async def test_an_authority_of_ones_own(tmp_path: Path, authority: Authority) -> None:
    assert (await look(tmp_path, authority, ca=str(authority.file))).state is PeerState.UP


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_pinned_certificate_is_all_that_counts(tmp_path: Path, authority: Authority, host: str) -> None:
    """Whoever vouches for it, and whatever name it is for."""
    assert (await look(tmp_path, authority, host=host, fingerprint=authority.fingerprint)).state is PeerState.UP


async def test_another_one_than_the_pinned_one_is_told(tmp_path: Path, authority: Authority) -> None:
    peer = await look(tmp_path, authority, fingerprint=f"sha256:{'0' * 64}")
    assert peer.state is PeerState.DOWN
    assert peer.reason == (
        f"it has another certificate than the pinned one: {authority.fingerprint}; if it has been renewed, put that "
        "into 'fingerprint'"
    )


async def test_one_that_nobody_vouches_for_is_told(tmp_path: Path, authority: Authority) -> None:
    peer = await look(tmp_path, authority)
    assert peer.state is PeerState.DOWN
    assert peer.reason.startswith("its certificate is not trusted (unable to get local issuer certificate)")
    assert f'fingerprint = "{authority.fingerprint}"' in peer.reason


async def test_one_that_the_named_authority_does_not_vouch_for(tmp_path: Path, authority: Authority) -> None:
    (other := tmp_path / "other").mkdir()
    peer = await look(tmp_path, authority, ca=str(Authority(other).file))
    assert peer.state is PeerState.DOWN
    assert "as the authority in 'ca' doesn't vouch for it" in peer.reason


async def test_one_for_another_name_is_told(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    peer = await look(tmp_path, authority, host="127.0.0.1")
    assert peer.state is PeerState.DOWN
    assert "127.0.0.1" in peer.reason
    assert "write the name that it is for into 'url'" in peer.reason


async def test_one_that_speaks_no_tls_is_told(tmp_path: Path) -> None:
    peer = await look(tmp_path, None)
    assert peer.reason == "it speaks no TLS: is it http:// rather than https://?"


async def test_an_authority_that_can_not_be_read(tmp_path: Path, authority: Authority) -> None:
    missing = tmp_path / "missing.pem"
    peer = await look(tmp_path, authority, ca=str(missing))
    assert peer.reason == "the file in 'ca' can't be used: No such file or directory"


async def test_an_authority_that_is_none(tmp_path: Path, authority: Authority) -> None:
    (file := tmp_path / "text.pem").write_text("sesame")
    peer = await look(tmp_path, authority, ca=str(file))
    assert peer.reason == "the file in 'ca' can't be used: it holds no certificate in PEM"


async def test_an_authority_that_comes_later_is_read(tmp_path: Path, authority: Authority) -> None:
    """The file is looked for again with each attempt until it can be used."""
    late = tmp_path / "late.pem"
    async with FakePeer(LIST).listening(authority.context) as server:
        entry = spec(server.port, url=f"https://localhost:{server.port}", ca=str(late))
        async with watched(tmp_path, entry) as found:
            await found.until(lambda: found["studio"].state is PeerState.DOWN)
            late.write_bytes(authority.file.read_bytes())
            await found.until(lambda: found["studio"].state is PeerState.UP)


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "opening"),
    [
        ("http://studio.local:5005", "studio.local", 5005, "", b"host: studio.local:5005\r\n"),
        ("http://studio.local", "studio.local", 80, "", b"host: studio.local\r\n"),
        ("https://studio.local/", "studio.local", 443, "", b"host: studio.local\r\n"),
        ("https://[fd00::1]:8443/llm/", "fd00::1", 8443, "/llm", b"host: [fd00::1]:8443\r\n"),
        ("http://x/a b/ü", "x", 80, "/a%20b/%C3%BC", b"host: x\r\n"),
        ("http://x/a%20b", "x", 80, "/a%20b", b"host: x\r\n"),
    ],
)
def test_where_a_peer_is(url: str, host: str, port: int, path: str, opening: bytes) -> None:
    address = address_of(PeerSpec(name="x", url=url))
    assert (address.host, address.port, address.path, address.opening) == (host, port, path, opening)
    assert (address.tls is not None) == url.startswith("https:")


def test_until_it_is_told_whom_to_trust_it_trusts_nobody() -> None:
    table = PeerSpec(name="x", url="https://x")
    context = address_of(table).tls
    assert context is not None
    assert (context.verify_mode, context.check_hostname, context.cert_store_stats()["x509_ca"]) == (
        ssl.CERT_REQUIRED,
        True,
        0,
    )
    with pytest.raises(Untrusted):
        believe(evolve(table, ca="/nowhere"), context)


def group(*errors: OSError) -> OSError:
    """What trio raises when each of a name's addresses has failed."""
    error = OSError("all attempts to connect to studio.local:5005 failed")
    error.__cause__ = ExceptionGroup("", errors)
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(111, "x"), "nothing listens at its address"),
        (
            OSError(111, "Error connecting to ('10.0.0.1', 5005): Connection refused"),
            "nothing listens at its address",
        ),
        (
            group(OSError(113, "No route to host"), OSError(111, "Error connecting to ('::1', 5005)")),
            "nothing listens at its address",
        ),
        (group(OSError(113, "x ('10.0.0.1', 5005)")), "it can't be reached: No route to host"),
        (socket.gaierror(-2, "Name or service not known"), "the name in 'url' is not known here"),
        (TimeoutError(110, "Error connecting to ('10.0.0.1', 5005)"), "it can't be reached: Connection timed out"),
        (OSError("studio.local:5005 is odd"), "it can't be reached: no connection"),
        (OSError(), "it can't be reached: no connection"),
    ],
)
async def test_why_there_is_no_connection(error: OSError, reason: str) -> None:
    """In words without an address: clients with keys that may know little are told it, too."""
    with trio.fail_after(30):
        assert await Door(PeerSpec(name="x", url="http://studio.local:5005")).why(error) == reason
