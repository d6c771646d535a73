"""Who may send requests: API keys, and protection against web pages that try to drive a local server."""

from __future__ import annotations

import base64
from functools import lru_cache
from urllib.parse import urlsplit

from attrs import Factory, define, field

from ..config.live import LiveConfig
from ..engines.http import Headers
from ..errors import ForbiddenOrigin, InvalidApiKey
from .hosts import is_address, is_loopback, is_private, own_names, plain
from .keyring import ANYBODY, STRANGER, Caller, Keyring
from .message import RequestHead

APP_SCHEMES = ("app", "file", "tauri", "vscode-webview")
"""Schemes of the pages of desktop apps; no web site can have one."""

KEY_HEADERS = (b"x-api-key", b"api-key", b"x-goog-api-key")
"""Where keys are sent besides `Authorization`: by Anthropic's clients, Azure's, Google's."""

_METHODS = b"GET, POST, OPTIONS"


@define
class RequestGuard:
    """Checks a request before anything else looks at it.

    Attributes:
        config: The config in force, with the keys; the web origins that are allowed besides loopback ones and apps; and
            the host names that are allowed besides those that no page can have.
        loopback: Whether we listen on a loopback address only, so that any other Host is a sign of DNS rebinding.
        token: An extra key for commands run by the user we run as; "" for none.
        own: This machine's names.
    """

    config: LiveConfig
    loopback: bool
    token: str = field(default="", repr=False)
    own: frozenset[str] = Factory(own_names)
    _ring: Keyring | None = field(default=None, init=False, repr=False)

    @property
    def _keys(self) -> Keyring:
        """The keys of the config in force."""
        ring = self._ring
        if ring is None or ring.config is not self.config.now:
            ring = self._ring = Keyring(self.config.now, self.token)
        return ring

    def check(self, head: RequestHead) -> Caller:
        """Let the request in, and return whose it is.

        Raises:
            ForbiddenOrigin: The request comes from a foreign web page.
            InvalidApiKey: A key is required, and it is missing or wrong.
        """
        known = head.known
        if known.caller is not None and known.allowed_by is self.config.now:
            return known.caller  # the same head, and the same rules
        self._check_host(head)
        self._check_origin(head)
        self._check_referer(head)
        caller = self._whose(head)
        known.allowed_by, known.caller = self.config.now, caller
        return caller

    def _whose(self, head: RequestHead) -> Caller:
        keys = self._keys
        if not keys.wanted:
            return ANYBODY  # a key that isn't wanted doesn't count, as a client could make up any number
        return STRANGER if _is_open(head) or is_preflight(head) else _owner(keys, head)

    def _check_host(self, head: RequestHead) -> None:
        host = head.header(b"host") or head.header(b":authority")
        if not host or self._is_us(_hostname(f"//{host}")):
            return
        call = "127.0.0.1 or localhost" if self.loopback else "its address"
        raise ForbiddenOrigin(
            f"The Host {host[:100]!r} is not this machine.",
            hint=f"Call llmsup by {call}; if it has that name, too, add it to server.hosts.",
        )

    def _is_us(self, host: str) -> bool:
        if is_loopback(host) or plain(host) in map(plain, self.config.now.server.hosts):
            return True
        if self.loopback:
            return False
        # A page that rebinds a name has no key, and browsers store passwords by name, so they don't send one for it.
        return self._keys.wanted or is_address(host) or is_private(host) or plain(host) in self.own

    def _check_origin(self, head: RequestHead) -> None:
        """Refuse pages of other sites. Our own is ours at whatever name it was called by: `_check_host` has seen to it
        that no other site has that name.
        """
        origin = head.header(b"origin")
        if origin and not self.is_friend(origin) and not _is_own(origin, head):
            raise ForbiddenOrigin(
                f"The web origin {origin[:100]!r} may not call this server.",
                hint="If it is yours, add it to server.cors_origins.",
            )
        if not origin and head.header(b"sec-fetch-site") == "cross-site":
            raise ForbiddenOrigin("A page of another web site may not call this server.")

    def _check_referer(self, head: RequestHead) -> None:
        """Refuse an image or a link on a foreign page if the request would change something.

        Such requests have no Origin, and browsers send `Sec-Fetch-Site` only to secure targets, which plain HTTP to
        another machine is not. A request that only looks counts as a change if it asks for its model to be loaded.
        """
        if head.method not in ("GET", "HEAD") or not (acts(head.path) or head.parameter("autoload")):
            return
        referer = head.header(b"referer")
        if not referer or head.header(b"origin") or head.header(b"sec-fetch-site"):
            return  # the browser's clearer headers have been checked already
        origin = _origin(referer)
        if not self.is_friend(origin) and not _is_own(origin, head):
            raise ForbiddenOrigin(
                f"A page of {origin[:100]!r} may not do this.", hint="If it is yours, add it to server.cors_origins."
            )

    def is_friend(self, origin: str) -> bool:
        """Tell whether pages of this origin may call us. "null" may not: any site can give itself that origin."""
        if origin in self.config.now.server.cors_origins:
            return True
        try:
            parts = urlsplit(origin)
            return parts.scheme in APP_SCHEMES or (
                parts.scheme in ("http", "https") and is_loopback(parts.hostname or "")
            )
        except ValueError:
            return False

    def headers(self, head: RequestHead) -> Headers:
        """Return the CORS headers that let an allowed page read the answer."""
        known = head.known
        if (origin := known.origin) is None:
            origin = known.origin = head.header(b"origin")
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


def _is_open(head: RequestHead) -> bool:
    """Tell whether no key is required: for llmsup's own health, but not for a model's, and for the page, which knows
    nothing and asks for the key itself.
    """
    return (head.path == "/health" and not head.parameter("model")) or is_page(head)


def is_page(head: RequestHead) -> bool:
    """Tell whether a browser asks for the page or a part of it, be it at `/`."""
    path = head.path
    return head.method in ("GET", "HEAD") and (
        path == "/ui" or path.startswith("/ui/") or (path == "/" and "text/html" in head.header(b"accept"))
    )


def acts(path: str) -> bool:
    """Tell whether a GET of this path changes something: llama-swap's `/unload`, and engines' paths, which load it."""
    parts = [part for part in path.split("/") if part]
    while parts[:1] == ["v1"]:
        del parts[0]
    return parts[:1] in (["unload"], ["upstream"])


def _is_own(origin: str, head: RequestHead) -> bool:
    """Tell whether an origin is the host that the request was sent to."""
    host = head.header(b"host") or head.header(b":authority")
    return bool(host) and origin.partition("://")[2].lower() == host.lower()


def _origin(url: str) -> str:
    """Return a page's origin; for text that is not a URL, one that is never allowed."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@lru_cache(256)
def _hostname(url: str) -> str:
    """Return the host in a URL, or "" if there is none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def is_preflight(head: RequestHead) -> bool:
    """Tell whether this is a CORS preflight, which never carries a key."""
    return head.method == "OPTIONS" and bool(head.header(b"access-control-request-method"))


def _owner(keys: Keyring, head: RequestHead) -> Caller:
    """Return whose key a request has. Raises InvalidApiKey."""
    offered = _key(head)
    caller = keys.find(offered) if offered else None
    if caller is None:
        what = "is not one of this server's" if offered else "is missing"
        raise InvalidApiKey(f"The API key {what}.", hint="Send it as `Authorization: Bearer KEY` or `x-api-key`.")
    return caller


def _key(head: RequestHead) -> bytes:
    """Return a request's key (Bearer, the password of Basic, or a header of its own), or b""."""
    scheme, _, value = head.header(b"authorization").partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip().encode("latin-1")
    if scheme.lower() == "basic":
        try:
            if password := base64.b64decode(value, validate=True).partition(b":")[2]:
                return password
        except ValueError:  # binascii.Error, or a value beyond ASCII
            pass
    return next((key.encode("latin-1") for name in KEY_HEADERS if (key := head.header(name))), b"")
