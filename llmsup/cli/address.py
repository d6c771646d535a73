"""Where a server is, as a URL that a client can use.

It does not know whether anybody answers there.
"""

from __future__ import annotations

import ipaddress

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- named here so that it can be replaced
"""Addresses that one can listen on but not call, and what to call instead."""


def url_of(host: str, port: int, *, tls: bool) -> str:
    """The base URL of a listener: "http://127.0.0.1:5005"."""
    host = ANYWHERE.get(host, host)
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether a host is certainly this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
