"""Addresses of HTTP servers: a Unix socket or a TCP port, with or without TLS, and the headers for each request to it.

Connections are opened in `dial`.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

from attrs import Attribute, field, frozen

LOCAL = b"host: localhost\r\n"
"""The header of requests to a Unix socket, which has no host name; every server accepts this one."""

ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- named here so that it can be replaced
"""Addresses that a server can listen on but a client can't call, and what to call instead."""

_BREAKS = frozenset(b"\r\n\0")

_USUAL_PORT = {"http": 80, "https": 443}


def _one_line_each(
    _: object, __: Attribute[tuple[tuple[bytes, bytes], ...]], headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    # These are sent unchanged: a line break in a key would begin another header.
    for name, value in headers:
        if not name or _BREAKS & {*name, *value}:
            raise ValueError(f"header {name!r}: a line break, or no name")  # the value may be a key


@frozen
class UnixAddress:
    """A socket in our private directory: other users can't reach it, and no port can collide."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"

    @property
    def opening(self) -> bytes:
        """The header lines that every request to it begins with."""
        return LOCAL


@frozen
class TcpAddress:
    """A TCP port: on loopback, for an engine that can't listen on a Unix socket, or on another machine.

    Attributes:
        host: A name or an IP address; an IPv6 one without brackets.
        tls: For TLS, with the certificates to trust; None: plain HTTP.
        headers: Sent with each request, such as an API key; never shown, for that reason.
        path: What the path of each request begins with, behind a proxy that serves several; no slash at its end.
        fingerprint: The one certificate to accept, "sha256:" and hexadecimal digits, whatever else `tls` says; "": the
            one that `tls` trusts.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = field(default=None, kw_only=True, repr=False)
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), kw_only=True, repr=False, validator=_one_line_each)
    path: str = field(default="", kw_only=True)
    fingerprint: str = field(default="", kw_only=True)

    def __str__(self) -> str:
        return f"{self.scheme}://{self._bracketed}:{self.port}{self.path}"

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
