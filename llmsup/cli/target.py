"""Which server the commands talk to, and with which key.

It does not know how they talk to it: see `client`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..config import Config, find, load, parse_listen
from ..errors import Error, SetupError
from .address import is_loopback, url_of
from .client import Client


def connect(url: str | None, environ: Mapping[str, str] = os.environ) -> Client:
    """The server that is meant: the one at `url`, else the one of the config. The connection is made later.

    Raises:
        ConfigError: The config is needed and has mistakes.
        SetupError: The URL is none, or the config doesn't tell the port.
    """
    key = environ.get("LLMSUP_API_KEY", "")
    if not url:
        config = _config(environ)
        return Client(_url_in(config), key or _first_key(config))
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupError(f"{url!r} is not a server's URL.", hint="Write it like http://127.0.0.1:5005.")
    if not key and is_loopback(parts.hostname):  # another machine must not be told our keys
        with contextlib.suppress(Error):  # with a URL the config is not needed
            key = _first_key(_config(environ))
    return Client(url.rstrip("/"), key)


def _config(environ: Mapping[str, str]) -> Config:
    path = find(None, environ)
    return load(path, environ) if path else Config()


def _first_key(config: Config) -> str:
    return next(iter(config.server.api_keys), "")


def _url_in(config: Config) -> str:
    host, port = parse_listen(config.server.listen)
    if not port:
        raise SetupError("the config lets the server take any free port.", hint="Name the server with --url.")
    return url_of(host, port, tls=bool(config.server.certfile))
