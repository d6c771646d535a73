"""Keys with names: their hashes, and the checks between them.

A key that `llmsup key new` makes has 256 random bits. One round of SHA-256 is enough for it: slow hashes (scrypt,
argon2) make guessing words expensive, and no amount of guessing finds 256 random bits. They would also cost every
request as much time as a guess.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping

from attrs import evolve

from .checks import check_name
from .checks import keys as check_keys
from .schema import KeySpec
from .tables import Read
from .wording import Place, Report

UNNAMED = "api_keys"
"""What the keys in `server.api_keys` are called together, so no key may have this name."""

PREFIX = "sk-llmsup-"
"""What made keys begin with: some clients insist on "sk-", and tools that look for leaked secrets on something."""


def new_key() -> str:
    """Make an unguessable key."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str | bytes) -> str:
    """Return a key's hash as it stands in the config."""
    return f"sha256:{digest_of(key).hex()}"


def digest_of(key: str | bytes) -> bytes:
    """Return a key's hash as bytes."""
    return hashlib.sha256(key.encode() if isinstance(key, str) else key).digest()


def with_variable(read: Read[KeySpec], environ: Mapping[str, str], report: Report) -> Read[KeySpec]:
    """Hash the key in the environment variable that a table names, and report a variable without one."""
    name = read.value.env
    if not name or "hash" in read.given:
        return read
    problem = ""
    if name not in environ:
        problem = f"environment variable {name!r} is not set"
    else:
        try:
            check_keys(None, None, (environ[name],))
        except ValueError as error:
            problem = f"environment variable {name!r}: {error}"
    if not problem:
        return evolve(read, value=evolve(read.value, hash=hash_of(environ[name])), secrets=read.secrets | {name})
    report.add(problem, "keys", read.value.name, "env")
    return evolve(read, bad=read.bad | {"env"})


def check(keys: Mapping[str, Read[KeySpec]], api_keys: tuple[str, ...]) -> Iterator[tuple[str, Place]]:
    """Find every mistake between keys."""
    owners = {hash_of(key): f"server.{UNNAMED}, whose keys may do everything" for key in api_keys}
    for name, key in keys.items():
        place = ("keys", name)
        try:
            check_name(name)
        except ValueError as error:
            yield str(error), place
        if name == UNNAMED:
            yield f"no key can be called {name!r}: those in server.{UNNAMED} are, together", place
        if {"hash", "env"} & key.bad:
            continue
        if "hash" in key.given and "env" in key.given:
            yield "both 'hash' and 'env' are set: keep one", place
        elif not key.value.hash:
            yield f"a key needs 'hash' (`llmsup key new {name}` makes one) or 'env'", place
        elif (other := owners.setdefault(key.value.hash, f"keys.{name}")) != f"keys.{name}":
            yield f"it is the same key as in {other}", place
