"""Where somebody answers HTTP: a socket or a port, with TLS or without, and what each request to it says of it.

It does not know who is there, nor how a connection is opened (`dial`).
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

from attrs import Attribute, field, frozen

LOCAL = b"host: localhost\r\n"
"""What requests begin with where there is no name: on a socket. This one nobody refuses."""

_BREAKS = frozenset(b"\r\n\0")

_USUAL_PORT = {"http": 80, "https": 443}


def _one_line_each(
    _: object, __: Attribute[tuple[tuple[bytes, bytes], ...]], headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    # Whatever is written there goes out as it is: a line break in a key would begin a header of its own.
    for name, value in headers:
        if not name or _BREAKS & {*name, *value}:
            raise ValueError(f"header {name!r}: a line break, or no name")  # the value may be a key


@frozen
class UnixAddress:
    """A socket in our private directory; nobody else can reach it, and no port can collide."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def opening(self) -> bytes:
        """The header lines that every request to it begins with."""
        return LOCAL


@frozen
class TcpAddress:
    """A port: on loopback, of an engine that can't listen on a Unix socket, or another machine's.

    Attributes:
        host: A name or an IP address; an IPv6 one without brackets.
        tls: TLS is spoken there, and this decides whose certificate is good; None: plain HTTP.
        headers: Sent with each request, like the key that it wants. Never shown, for that reason.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = field(default=None, kw_only=True, repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), kw_only=True, repr=False, validator=_one_line_each)

    def __str__(self) -> str:
        return f"{self.scheme}://{self._bracketed}:{self.port}"

    @property
    def scheme(self) -> Literal["http", "https"]:
        return "http" if self.tls is None else "https"

    @property
    def opening(self) -> bytes:
        """The header lines that every request to it begins with."""
        port = "" if self.port == _USUAL_PORT[self.scheme] else f":{self.port}"
        name = self._bracketed.encode("ascii" if self.host.isascii() else "idna")
        host = (b"host", name + port.encode())
        return b"".join(b"%b: %b\r\n" % header for header in (host, *self.headers))

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


Address = UnixAddress | TcpAddress
