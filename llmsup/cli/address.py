"""Where a server is, as a URL that a client can use."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..engines.address import ANYWHERE
from ..errors import SetupError
from ..gateway.hosts import is_loopback

USUAL_PORT = 5005
"""The default of `server.listen`."""

_BEGINNINGS = {
    *("models", "health", "running", "upstream", "logs", "memory", "events", "metrics", "usage", "bridge", "prompts"),
    *("catalog", "prompt-cache", "history", "requests", "pause", "resume", "ui", "peers", "rpc"),
    *("unload", "reload-config", "api/models", "api/events", "api/metrics", "api/profiles", "api/performance"),
    *("api/captures", "api/inflight", "openapi.json"),
}
_LMSTUDIO = re.compile(r"(.*)/api/v1/(?:models(?:/.*)?|chat)")
"""Its own `/v1`, of which `/api` is a part; before any other path that may be a proxy's."""

_V1 = re.compile(r"(.*)/v1(?:/.*)?")


def url_of(host: str, port: int, *, tls: bool) -> str:
    """The base URL of a listener: "http://127.0.0.1:5005"."""
    host = ANYWHERE.get(host, host)
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def base_url(text: str) -> str:
    """A server's base URL from what users write: with or without a scheme or a port, a port alone, with the `/v1` that
    clients are given or another path of the API. Any other part of the path is taken for a proxy's prefix.

    Raises:
        SetupError: It isn't a URL.
    """
    text = text.strip()
    text = f":{text}" if text.isdecimal() else text
    bare = "://" not in text
    wrong = SetupError(
        f"{text!r} is not a server's URL.", hint="Write it like http://127.0.0.1:5005, or only the port."
    )
    try:
        parts = urlsplit(f"http://{text}" if bare else text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or host.isdecimal() or not (host or (bare and port)):
        raise wrong
    tls = parts.scheme == "https"
    port = port or (USUAL_PORT if bare else 443 if tls else 80)
    return url_of(host, port, tls=tls) + _proxys(parts.path)


def _proxys(path: str) -> str:
    """A proxy's prefix before the API's own paths: "/llm" of "/llm/v1/models"."""
    match = _LMSTUDIO.fullmatch(path) or _V1.fullmatch(path)
    match = match or (_other_path().fullmatch(path) if path.strip("/") else None)
    return (match[1] if match else path).rstrip("/")


def _other_path() -> re.Pattern[str]:
    from ..gateway.api import ROUTES  # here, because it imports the whole gateway

    # "/api" alone may well be a proxy's
    first = {"/".join(route.path.split("/")[1 : 3 if route.path.startswith("/api/") else 2]) for route in ROUTES}
    ours = _BEGINNINGS | first - {""}
    return re.compile(rf"(.*?)/(?:{'|'.join(map(re.escape, sorted(ours)))})(?:/.*)?")


def same_place(one: str, other: str) -> bool:
    """Whether two base URLs reach the same listener, as far as can be told: loopback has many names."""
    a, b = urlsplit(one), urlsplit(other)
    alike = a.hostname == b.hostname or all(is_loopback(each.hostname or "", certainly=True) for each in (a, b))
    return alike and (a.scheme, a.port, a.path) == (b.scheme, b.port, b.path)
