"""Finds the server that a command talks to, and the API key for it."""

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
    """A client of the server at `url`, else of the one that runs for this user, else of the one at the config's
    address. It connects with its first request.

    Raises:
        ConfigError: No server runs, and the config has mistakes in its address.
        SetupError: `url` isn't a URL, or the config can't be read.
        NoServer: No server runs for this user, and the config doesn't give a port.
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


def running_now(environ: Mapping[str, str] = os.environ) -> ServerFile | None:
    """The server that a command without a URL talks to; None if none runs for this user."""
    contact, _ = _contact(environ)
    running = servers_of(contact.server.state_dir)
    return _meant(running, contact) if running else None


def state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where this user's files are kept that are no config, as far as the config can be read."""
    return _contact(environ)[0].server.state_dir


def _at(text: str, key: str, contact: Contact, running: Sequence[ServerFile]) -> Client:
    """A client of the server at a URL that the user wrote. The config's keys are only sent to this machine."""
    url = base_url(text)
    secure = url.replace("http://", "https://", 1) if "://" not in text else url  # without a scheme it can be either
    for server in running:
        for known in server.urls:
            if same_place(url, known) or same_place(secure, known):
                # The address that the server itself gives: at another of this machine's, another program may listen.
                return Client(known, key or server.token)
    if secure != url and same_place(secure, _usual(contact.server)):
        url = secure
    if not key and is_loopback(urlsplit(url).hostname or "", certainly=True):
        key = _first_key(contact.server)
    return Client(url, key)


def _contact(environ: Mapping[str, str]) -> tuple[Contact, Error | None]:
    """What the config says about its server, and the error if that can't be read."""
    try:
        path = find(None, environ)
        return (load_contact(path, environ) if path else Contact()), None
    except Error as error:
        return Contact(), error


def _meant(running: Sequence[ServerFile], contact: Contact) -> ServerFile:
    """Of several servers the one with this user's config, else the one at that config's address, else the newest."""
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
