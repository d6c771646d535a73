"""Which keys there are, whose each is, and what it may do."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from http import HTTPStatus

from attrs import define, field

from ..catalog.described import preset_name
from ..catalog.resolver import Called, Match
from ..config.keys import UNNAMED, digest_of
from ..config.schema import Config, KeySpec
from ..errors import AdminRequired, Error, InsufficientMemory, ModelNotFound, PeerUnavailable, Unloading
from ..fleet.fleet import Fleet
from ..fleet.model.model import Model
from .discretion import quiet


@define(eq=False, kw_only=True)
class Caller:
    """Whose request it is.

    Attributes:
        name: The key's name in [keys]; `UNNAMED` for any of `server.api_keys`; "" if there is no key to count by.
        identity: What tells this client from others, for sharing fairly; "": its address.
        admin: Whether it may use the control API.
        models: Patterns of the models it may use, in lower case; None: all models.
        requests_per_minute: The most requests in any minute; 0: no limit.
        max_in_flight: The most requests at a time, waiting ones included; 0: no limit.
    """

    name: str = ""
    identity: str = ""
    admin: bool = True
    models: tuple[str, ...] | None = None
    requests_per_minute: int = 0
    max_in_flight: int = 0
    digest: bytes = field(default=b"", repr=False)

    def may_use(self, fleet: Fleet, id_: str, preset: str = "") -> bool:
        """Tell whether it may use a model, or a preset of one.

        A pattern fits a model if it fits any of its names, and a preset also if it fits such a name with `:preset`.
        """
        return self.models is None or any(
            fnmatchcase(name.casefold(), pattern)
            for name in names(id_, called(fleet, id_), preset)
            for pattern in self.models
        )

    def usable(self, fleet: Fleet) -> list[Model]:
        """Return the models here that it may use, or of which it may use a preset."""
        models = list(fleet.models.values())
        if self.models is None:
            return models
        return [
            model
            for model in models
            if any(self.may_use(fleet, model.spec.name, preset) for preset in ("", *model.spec.presets))
        ]

    async def known(self, fleet: Fleet, name: str) -> Match:
        """Like `Fleet.known`, but a model that it may not use is not found, like one that doesn't exist.

        Raises:
            ModelNotFound: There is none that it may use. The message names no other model.
            PeerUnavailable: It would be a peer's, and that can't be asked what it has.
            ShuttingDown: llmsup is shutting down.
        """
        if self.models is None:
            return await fleet.known(name)
        try:
            match = await fleet.known(name)
        except ModelNotFound:
            raise self.not_found(name) from None
        except PeerUnavailable:  # which says that there is such a model, or such a peer
            if self.may_use(fleet, name):
                raise
            raise self.not_found(name) from None
        if not self.may_use(fleet, match.id, match.preset):
            raise self.not_found(name)
        return match

    def discreet(self, fleet: Fleet, error: Error) -> Error:
        """Return an error as it is told to it: see `spared`. Only an admin gets lines of a log.

        Errors with a status below 500 may quote what the client itself has said, which must stay as it is: else it
        could try names out.
        """
        names = self.models is not None and isinstance(error, InsufficientMemory | Unloading)
        if not names and (self.admin or error.status < HTTPStatus.INTERNAL_SERVER_ERROR):
            return error
        told = error.again()
        if names:
            told.message = self.spared(fleet, error.message)
        if not self.admin:
            told.message, told.hint, told.log_tail = quiet(told.message), quiet(told.hint), ()
        return told

    def told(self, fleet: Fleet, text: str) -> str:
        """Return what llmsup says of a model's state as it is told to it: see `spared` and `discretion`."""
        text = self.spared(fleet, text)
        return text if self.admin else quiet(text)

    def spared(self, fleet: Fleet, text: str) -> str:
        """Return a text without the names of models that it may not use.

        Why a model waits or went is told with the names of those that have the memory, in words that are made where
        nobody knows who will read them.
        """
        if self.models is None:
            return text
        others = {model.spec.name for model in (*fleet.models.values(), *fleet.running())}
        others -= {model.spec.name for model in self.usable(fleet)}
        if not any(name in text for name in others):
            return text
        names_ = "|".join(re.escape(name) for name in sorted(others, key=len, reverse=True))
        return re.sub(rf"(?<![\w./:@-])(?:{names_})(?![\w/@-]|[.:]\w)", "another model", text)

    def not_found(self, name: str) -> ModelNotFound:
        """Return the error for a model that it may not use, or that doesn't exist: the answer is the same."""
        text = f"There is no model {name[:100]!r} that the key {self.name} may use."
        return ModelNotFound(text, hint="GET /v1/models lists those.", param="model")


ANYBODY = Caller()
"""Everyone, if no keys are wanted."""

STRANGER = Caller(admin=False, models=())
"""The caller of a request that needs no key, where other requests need one."""


def check_admin(caller: Caller) -> None:
    """Raise AdminRequired if the control API is not for this caller."""
    if not caller.admin:
        raise AdminRequired(
            f"The key {caller.name} may not use the control API.", hint=f"[keys.{caller.name}] admin = true allows it."
        )


class Keyring:
    """All keys of one config. None of them is kept, only their hashes.

    Attributes:
        config: The config.
        wanted: Whether requests need a key.
    """

    def __init__(self, config: Config, token: str = "") -> None:
        """`token`: a key that may do everything, besides the configured ones, if any is wanted; "" for none."""
        self.config = config
        self.wanted = config.wants_key
        callers = [_unnamed(key) for key in config.server.api_keys]
        if token:
            callers.append(Caller(identity="llmsup", digest=digest_of(token)))
        callers += map(_named, config.keys.values())
        self._callers = {caller.digest: caller for caller in reversed(callers)}

    def find(self, key: bytes) -> Caller | None:
        """Return whose key this is; None if it is no key of ours.

        Looking up a hash reveals nothing: keys can't be made up so that their hashes begin as wanted, to find another
        key step by step. The result is compared in constant time all the same.
        """
        digest = digest_of(key)
        caller = self._callers.get(digest)
        return caller if caller is not None and hmac.compare_digest(caller.digest, digest) else None


def _unnamed(key: str) -> Caller:
    digest = digest_of(key)
    return Caller(name=UNNAMED, identity=f"key {digest.hex()[:16]}", digest=digest)


def _named(spec: KeySpec) -> Caller:
    return Caller(
        name=spec.name,
        identity=f"key {spec.name}",
        admin=spec.admin,
        models=None if "*" in spec.models else tuple(pattern.casefold() for pattern in spec.models),
        requests_per_minute=spec.requests_per_minute,
        max_in_flight=spec.max_in_flight,
        digest=bytes.fromhex(spec.hash.removeprefix("sha256:")),
    )


def called(fleet: Fleet, id_: str) -> Called:
    """Return what a model is called besides its id."""
    if (model := fleet.models.get(id_)) is not None:
        return model.entry.called
    there = fleet.elsewhere.get(id_) or fleet.addressed.get(id_)
    return Called() if there is None else Called(there.spec.aliases)


def names(id_: str, called: Called, preset: str = "") -> Iterable[str]:
    """Yield what patterns are compared with: a model's id, its aliases, and its files' names; and these with `:preset`.

    A file's name that implies another preset is not among them.
    """
    for name, implied in [(id_, ""), *((alias, "") for alias in called.aliases), *called.also.items()]:
        if implied in ("", preset):
            yield name
        if preset and not implied:
            yield preset_name(name, preset)
