"""Which server the commands talk to, and with which key; `client` does the talking."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ..config import Contact, find, load_contact, parse_listen
from ..config.schema import Server
from ..errors import Error
from ..gateway.hosts import is_loopback
from ..process.server_file import ServerFile, servers_of
from .address import base_url, same_place, url_of
from .client import WAY_OUT, Client, NoServer


def connect(url: str | None, environ: Mapping[str, str] = os.environ) -> Client:
    """The server that is meant: the one at `url`, else the one that runs for this user, else the one of the config.
    The connection is made later.

    Raises:
        ConfigError: No server runs, and the config has mistakes where it tells where one would be.
        SetupError: The URL is none, or the config can't be read.
        NoServer: None runs for this user, and the config doesn't tell the port.
    """
    key = environ.get("LLMSUP_API_KEY", "")
    contact, problem = _contact(environ)
    running = servers_of(contact.server.state_dir)
    if url:
        return _at(url, key, contact, running)
    if running:
        server = _meant(running, contact)
        return Client(server.urls[0], key or server.token)
    if problem is not None:
        raise problem
    contact.must_know("listen", "certfile")
    return Client(_url_in(contact.server), key or _first_key(contact.server))


def _at(text: str, key: str, contact: Contact, running: Sequence[ServerFile]) -> Client:
    """The server at what somebody wrote. Keys that are read somewhere stay on this machine."""
    url = base_url(text)
    secure = url.replace("http://", "https://", 1) if "://" not in text else url  # who leaves it out may mean either
    for server in running:
        for known in server.urls:
            if same_place(url, known) or same_place(secure, known):
                # Its own word for where it is: at another of this machine's addresses, somebody else may listen.
                return Client(known, key or server.token)
    if secure != url and same_place(secure, _usual(contact.server)):
        url = secure
    if not key and is_loopback(urlsplit(url).hostname or "", certainly=True):
        key = _first_key(contact.server)
    return Client(url, key)


def _contact(environ: Mapping[str, str]) -> tuple[Contact, Error | None]:
    """What the config says of its server, and why that isn't known."""
    try:
        path = find(None, environ)
        return (load_contact(path, environ) if path else Contact()), None
    except Error as error:
        return Contact(), error


def _meant(running: Sequence[ServerFile], contact: Contact) -> ServerFile:
    """Of several servers, the one of the config that is found here, else the one that is where the config says, else
    the newest.
    """
    usual, here = _usual(contact.server), str(Path(contact.source).absolute()) if contact.source else ""
    return max(running, key=lambda one: (one.config == here, usual in one.urls, one.began))


def _first_key(server: Server) -> str:
    return next(iter(server.api_keys), "")


def _url_in(server: Server) -> str:
    if not parse_listen(server.listen)[1]:
        raise NoServer("no server runs for this user, and the config lets it take any free port.", hint=WAY_OUT)
    return _usual(server)


def _usual(server: Server) -> str:
    host, port = parse_listen(server.listen)
    return url_of(host, port, tls=bool(server.certfile))
