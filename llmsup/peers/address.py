"""Where a peer is, and whom to believe that it is the peer: its table in the config as an address to connect to."""

from __future__ import annotations

import os
import ssl
from urllib.parse import quote, urlsplit

import trio
from attrs import evolve

from ..config.schema import PeerSpec
from ..engines.address import TcpAddress
from ..engines.dial import WrongCertificate, connect, fingerprint
from ..engines.keepalive import keep_alive
from ..engines.pool import ConnectionPool
from ..process.quick_stream import QuickStream
from ..units import Seconds

PATIENCE = Seconds(5)
"""How long a connection may take to be opened, with TLS; and a look at a certificate that isn't trusted."""

SAME = ("url", "key", "ca", "fingerprint")
"""The keys of a peer's table that its connections depend on."""

_PORT = {"http": 80, "https": 443}
_SAFE = "/%:@!$&'()*+,;=~-._"


class Untrusted(OSError):
    """What should say whom to trust can't be used; the message is for people."""


def address_of(spec: PeerSpec) -> TcpAddress:
    """Return its address. With https:// it trusts nobody until `believe` has read whom to trust, or has a fingerprint,
    which is all that counts then.
    """
    parts = urlsplit(spec.url)
    context = None
    if parts.scheme == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if spec.fingerprint:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    key = ((b"authorization", b"Bearer " + spec.key.encode()),) if spec.key else ()
    return TcpAddress(
        parts.hostname or "",
        parts.port or _PORT[parts.scheme],
        tls=context,
        headers=key,
        path=quote(parts.path.rstrip("/"), safe=_SAFE),
        fingerprint=spec.fingerprint,
    )


def believe(spec: PeerSpec, context: ssl.SSLContext) -> None:
    """Have a context trust whom the spec does: the certificates of `ca`, or those that the system trusts. Reads files.

    Raises:
        Untrusted: `ca` can't be read, or holds no certificate.
    """
    if not spec.ca:
        context.load_default_certs()
        return
    try:
        context.load_verify_locations(spec.ca)
    except OSError as error:  # a file that is none, too
        why = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror or str(error)
        raise Untrusted(f"the file in 'ca' can't be used: {why}") from None


class Door:
    """Opens connections to a peer, and says why one can't be opened."""

    def __init__(self, spec: PeerSpec) -> None:
        self.address = address_of(spec)
        self._spec = spec
        self._ready = self.address.tls is None or bool(spec.fingerprint)

    def pool(self) -> ConnectionPool:
        """Return a pool of connections to it."""
        return ConnectionPool(self.open, self.address.opening, self.address.path.encode("ascii"))

    async def open(self) -> trio.abc.Stream:
        """Connect. Raises OSError; after `PATIENCE`, too: the system would try for two minutes."""
        if not self._ready and self.address.tls is not None:
            await trio.to_thread.run_sync(believe, self._spec, self.address.tls)
            self._ready = True
        with trio.move_on_after(PATIENCE):
            stream = await connect(self.address)
            beneath = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
            if isinstance(beneath, QuickStream):
                keep_alive(beneath.socket)
            return stream
        raise TimeoutError(f"no connection within {PATIENCE:g} s")

    async def why(self, error: OSError) -> str:
        """Why it couldn't be opened, a clause for people. Connects once more to see what certificate isn't trusted."""
        if isinstance(error, Untrusted):
            return str(error)
        if isinstance(error, WrongCertificate):
            return (
                f"it has another certificate than the pinned one: {error.seen}; if it has been renewed, put that into "
                "'fingerprint'"
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            wrong = (error.verify_message or "it is wrong").rstrip(".")
            return f"its certificate is not trusted ({wrong}){await self._remedy(error)}"
        if isinstance(error, ssl.SSLError):
            return "it speaks no TLS: is it http:// rather than https://?"
        return unreachable(error)

    async def _remedy(self, error: ssl.SSLCertVerificationError) -> str:
        if self._spec.ca:
            return ", as the authority in 'ca' doesn't vouch for it"
        if (seen := await self._seen()) is None:
            return ": name the authority that vouches for it in 'ca'"
        if error.verify_code in _OTHER_NAME:
            return f": write the name that it is for into 'url', or pin it: fingerprint = \"{seen}\""
        return f": if it is the right one, pin it: fingerprint = \"{seen}\"; or name the authority behind it in 'ca'"

    async def _seen(self) -> str | None:
        """Return the fingerprint of its certificate, whoever it is; nothing is sent to it."""
        anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
        with trio.move_on_after(PATIENCE):
            try:
                stream = await connect(evolve(self.address, tls=anybody, fingerprint=""))
            except OSError:
                return None
            try:
                return fingerprint(stream) if isinstance(stream, trio.SSLStream) else None
            finally:
                await trio.aclose_forcefully(stream)
        return None


_OTHER_NAME = (62, 64)
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH, and X509_V_ERR_IP_ADDRESS_MISMATCH."""


def unreachable(error: OSError) -> str:
    """Why a connection couldn't be opened, a clause for people. It has no address: clients are told it, too, and not
    every key may know where a peer is.
    """
    if isinstance(error.__cause__, BaseExceptionGroup):  # each of its addresses was tried
        causes = [each for each in error.__cause__.exceptions if isinstance(each, OSError)]
        refusal = (each for each in causes if isinstance(each, ConnectionRefusedError))  # its machine is there
        error = next(refusal, causes[0] if causes else error)
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens at its address"
    if isinstance(error, trio.socket.gaierror):
        return "the name in 'url' is not known here"
    if isinstance(error, ssl.SSLError):
        return "its certificate is not trusted, or it speaks no TLS"
    # What trio puts into the message has the address in it.
    return f"it can't be reached: {os.strerror(error.errno) if error.errno else 'no connection'}"
