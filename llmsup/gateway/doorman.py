"""Who may come in: API keys, and web pages that must not drive a local server.

It does not know what is asked for, except that `/health` is open to all keys.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

from attrs import define

from ..engines.connection import Headers
from ..errors import ForbiddenOrigin, InvalidApiKey
from .message import RequestHead

APP_SCHEMES = ("app", "file", "tauri", "vscode-webview")
"""Schemes of desktop apps' own pages; no web site can have one."""

_METHODS = b"GET, POST, OPTIONS"


@define
class Doorman:
    """Checks a request before anything else looks at it.

    Attributes:
        api_keys: When there are any, a request must have one.
        origins: Web origins that may call, besides loopback ones and apps.
        loopback: The listener is on a loopback address, so a Host that isn't is a page's trick (DNS rebinding).
    """

    api_keys: tuple[str, ...]
    origins: tuple[str, ...]
    loopback: bool

    def check(self, head: RequestHead) -> None:
        """Let the request in.

        Raises:
            ForbiddenOrigin: A foreign web page is behind it.
            InvalidApiKey: A key is wanted, and this one is missing or wrong.
        """
        self._check_host(head)
        self._check_origin(head)
        if self.api_keys and head.path != "/health" and not is_preflight(head):
            self._check_key(head)

    def _check_host(self, head: RequestHead) -> None:
        host = head.header(b"host") or head.header(b":authority")
        if self.loopback and host and not is_loopback(_hostname(f"//{host}")):
            raise ForbiddenOrigin(
                f"The Host {host[:100]!r} is not this machine.",
                hint="llmsup listens on a loopback address: call it as 127.0.0.1 or localhost.",
            )

    def _check_origin(self, head: RequestHead) -> None:
        origin = head.header(b"origin")
        if origin and not self.is_friend(origin):
            raise ForbiddenOrigin(
                f"The web origin {origin[:100]!r} may not call this server.",
                hint="If it is yours, add it to server.cors_origins.",
            )
        if not origin and head.header(b"sec-fetch-site") == "cross-site":
            raise ForbiddenOrigin("A page of another web site may not call this server.")

    def is_friend(self, origin: str) -> bool:
        """Whether pages of that origin may call. "null" is not one: any site can make itself that."""
        if origin in self.origins:
            return True
        try:
            parts = urlsplit(origin)
            return parts.scheme in APP_SCHEMES or (
                parts.scheme in ("http", "https") and is_loopback(parts.hostname or "")
            )
        except ValueError:
            return False

    def _check_key(self, head: RequestHead) -> None:
        offered = _key(head)
        # Every key is compared, in constant time: an answer's time says nothing about any of them.
        if not sum(hmac.compare_digest(offered, key.encode()) for key in self.api_keys):
            what = "is not one of this server's" if offered else "is missing"
            raise InvalidApiKey(f"The API key {what}.", hint="Send it as `Authorization: Bearer KEY` or `x-api-key`.")

    def client(self, head: RequestHead) -> str:
        """Whose request it is, where clients share something: the key's, where keys are wanted, else the address's.
        A key as such is never kept, and where none is wanted anybody could make up any number of them.
        """
        if self.api_keys:
            return f"key {hashlib.sha256(_key(head)).hexdigest()[:16]}"
        return f"address {head.client}"

    def headers(self, head: RequestHead) -> Headers:
        """What lets a friendly page read the answer."""
        origin = head.header(b"origin")
        if not origin or not self.is_friend(origin):
            return []
        allow: Headers = [
            (b"access-control-allow-origin", origin.encode("latin-1")),
            (b"vary", b"Origin"),
        ]
        if is_preflight(head):
            wanted = head.header(b"access-control-request-headers") or "*"
            allow += [
                (b"access-control-allow-methods", _METHODS),
                (b"access-control-allow-headers", wanted.encode("latin-1")),
                (b"access-control-max-age", b"86400"),
            ]
            if head.header(b"access-control-request-private-network"):
                allow.append((b"access-control-allow-private-network", b"true"))
        return allow


def _hostname(url: str) -> str:
    """The host in a URL, or "" if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_preflight(head: RequestHead) -> bool:
    """A browser's question whether a page may send the real request; it never carries a key."""
    return head.method == "OPTIONS" and bool(head.header(b"access-control-request-method"))


def _key(head: RequestHead) -> bytes:
    """The key of a request: Bearer, x-api-key, or the password of Basic; or b""."""
    scheme, _, value = head.header(b"authorization").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip().encode("latin-1")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except ValueError:  # binascii.Error is one; a value beyond ASCII is another
            return b""
    return head.header(b"x-api-key").encode("latin-1")


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own. RFC 6761: every name under localhost is."""
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
