"""One look at each peer of a config, for `llmsup check`: whether it can be reached now, what it is, what it has."""

from __future__ import annotations

import hashlib
import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from ..config.schema import PeerSpec
from ..gateway.hosts import is_loopback
from ..peers.offer import PeerKind
from ..peers.via import ID
from ..units import Seconds

PATIENCE = Seconds(3)
"""How long a peer may take to accept a connection, or to answer."""

LARGEST = 8 * 1024**2
"""Bytes that are read of its list."""

OWNERS: Mapping[str, PeerKind] = {
    "llmsup": "llmsup",
    "llama-swap": "llama-swap",
    "library": "ollama",
    "organization_owner": "lmstudio",
    "vllm": "vllm",
}
"""What each kind says in `owned_by`."""

ENCRYPT = (
    "its 'key' travels unencrypted to {host}: whoever is on the way can use it; write https:// into 'url', and let "
    "the peer have a certificate"
)


class Odd(Exception):
    """It can't be asked, or answers something else; the message is a clause for people."""


@frozen
class Look:
    """What was seen of a peer.

    Attributes:
        kind: What it seems to be; None if it didn't answer.
        models: The names of its models; `let_in` are those that `models` in its table lets in.
        problem: Why it couldn't be asked, a clause; "" if it could.
    """

    name: str
    url: str
    kind: PeerKind | None = None
    models: tuple[str, ...] = ()
    let_in: tuple[str, ...] = ()
    problem: str = ""

    @property
    def names(self) -> Iterator[str]:
        """What its models are called here."""
        for name in self.let_in:
            yield from (name, f"{self.name}/{name}")

    def line(self) -> str:
        """In a sentence without its full stop; only for one that answers."""
        count = f"{len(self.models)} model{'' if len(self.models) == 1 else 's'}"
        some = f", {len(self.let_in)} of which 'models' lets in" if len(self.let_in) < len(self.models) else ""
        return f"peer {self.name}: {self.kind} at {self.url}, {count}{some}"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "url": self.url,
            "kind": self.kind,
            "models": len(self.models),
            "let_in": len(self.let_in),
            "problem": self.problem or None,
        }


def look_at(specs: Iterable[PeerSpec]) -> list[Look]:
    """Look at peers, at all of them at the same time."""
    given = list(specs)
    if not given:
        return []
    with ThreadPoolExecutor(len(given)) as threads:
        return list(threads.map(_look, given))


def in_the_clear(spec: PeerSpec) -> str:
    """What to say of a key that is sent so that others can read it; "" if there is nothing to say."""
    parts = urlsplit(spec.url)
    host = parts.hostname or ""
    if not spec.key or parts.scheme != "http" or is_loopback(host, certainly=True):
        return ""
    return ENCRYPT.format(host=host)


def _look(spec: PeerSpec) -> Look:
    try:
        headers, told = _ask(spec)
        names = tuple(_names(told))
    except (OSError, HTTPException, ValueError, Odd) as error:
        return Look(spec.name, spec.url, problem=_why(error))
    let_in = tuple(name for name in names if any(fnmatchcase(name.casefold(), p.casefold()) for p in spec.models))
    return Look(spec.name, spec.url, _kind(headers, told), names, let_in)


def _ask(spec: PeerSpec) -> tuple[Mapping[str, str], Any]:
    """Its list of models, with the answer's headers. Raises OSError, HTTPException, ValueError, Odd."""
    connection = _connect(spec)
    try:
        asked = {"Accept": "application/json", **({"Authorization": f"Bearer {spec.key}"} if spec.key else {})}
        connection.request("GET", urlsplit(spec.url).path.rstrip("/") + "/v1/models", headers=asked)
        answer = connection.getresponse()
        body = answer.read(LARGEST)
    finally:
        connection.close()
    if answer.status in (401, 403):
        raise Odd("it wants another key than the 'key' in its table, or any at all")
    if answer.status != 200:
        raise Odd(f"it answers /v1/models with status {answer.status}")
    return {name.lower(): value for name, value in answer.getheaders()}, json.loads(body)


def _connect(spec: PeerSpec) -> HTTPConnection:
    parts = urlsplit(spec.url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return HTTPConnection(host, parts.port, timeout=PATIENCE)
    try:
        context = ssl.create_default_context(cafile=spec.ca or None)
    except OSError as error:  # a file that holds none, too
        why = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise Odd(f"'ca' can't be used: {spec.ca}: {why}") from None
    if spec.fingerprint:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = HTTPSConnection(host, parts.port, timeout=PATIENCE, context=context)
    connection.connect()
    certificate = connection.sock.getpeercert(binary_form=True) or b""
    seen = f"sha256:{hashlib.sha256(certificate).hexdigest()}"
    if spec.fingerprint and seen != spec.fingerprint:  # before the key is sent
        connection.close()
        raise Odd(f"it has another certificate than the pinned one: {seen}")
    return connection


def _names(told: Any) -> Iterator[str]:
    """The names in a list of models. Raises Odd if it is none."""
    entries = told.get("data") if isinstance(told, dict) else None
    if not isinstance(entries, list):
        raise Odd("its answer to /v1/models is not a list of models")
    for entry in entries:
        if isinstance(entry, dict) and isinstance(name := entry.get("id"), str):
            yield name


def _kind(headers: Mapping[str, str], told: Any) -> PeerKind:
    if ID.decode() in headers:
        return "llmsup"
    owners = (entry.get("owned_by") for entry in told["data"] if isinstance(entry, dict))
    return next((OWNERS[owner] for owner in owners if isinstance(owner, str) and owner in OWNERS), "openai")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted ({error.verify_message}): name its authority in 'ca', or pin it with "
            "'fingerprint'"
        )
    if isinstance(error, ssl.SSLError):
        return "it speaks no TLS: is it http:// rather than https://?"
    if isinstance(error, TimeoutError):
        return f"it has not answered within {PATIENCE:g} s"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "its answer to /v1/models is not JSON"
    if isinstance(error, HTTPException):
        return "what it says is not HTTP"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
