"""What an API is to the gateway: its paths, their targets, and how it words errors and signs of life.

The interface that each API implements in a file beside this one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import ClassVar, Literal

import msgspec
from attrs import field, frozen

from ...catalog.described import presets
from ...catalog.resolver import Match
from ...config.schema import Config, Server
from ...engines.http import Headers
from ...engines.pool import ConnectionPool
from ...errors import ConfigError, Error
from ...fleet.fleet import Fleet
from ...fleet.model.model import Model
from ...units import Bytes
from .. import sse
from ..body import JsonBody
from ..keyring import Caller
from ..message import Reply, RequestHead
from ..places import Placed, Places

POST = frozenset(("POST",))
GET = frozenset(("GET", "HEAD"))


class Dialect:
    """How an API words whatever doesn't come from an engine: by default as OpenAI does; other APIs override that.

    Attributes:
        under: Path prefixes: errors for paths under them are worded for this API, even if the path doesn't exist.
        stream_headers: The headers of a stream that begins before its model is loaded.
        gives_signs: Whether a stream may begin before its model is loaded, because the API has something to send that
            clients ignore.
    """

    under: ClassVar[tuple[str, ...]] = ()
    stream_headers: ClassVar[Headers] = sse.HEADERS
    gives_signs: ClassVar[bool] = True

    def error(self, error: Error) -> dict[str, object]:
        """Return an error as the JSON body of an answer."""
        return error_object(error)

    def error_event(self, error: Error) -> bytes:
        """Word an error for a stream that has begun."""
        return b"data: %s\n\n" % msgspec.json.encode(self.error(error))

    def refusal_event(self, body: bytes) -> bytes:
        """Word an engine's non-streamed answer for a stream that has begun."""
        return b"data: %s\n\n" % body.replace(b"\r", b"").replace(b"\n", b"\ndata: ")

    def sign_of_life(self, text: str) -> bytes:
        """Return bytes that keep clients from giving up while a model loads."""
        return sse.comment(text)


def error_object(error: Error) -> dict[str, object]:
    """Return an error in OpenAI's shape."""
    shape: dict[str, object] = {
        "message": str(error).encode("utf-8", "replace").decode(),  # a path in it may not be valid UTF-8
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.log_tail:
        shape["log_tail"] = list(error.log_tail)
    if isinstance(error, ConfigError):
        shape["mistakes"] = list(error.mistakes)
    return {"error": shape}


def told_by(body: bytes) -> dict[str, object]:
    """Return the members of an engine's error, whose body is in OpenAI's shape; else all of it is the message."""
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        shape = msgspec.json.decode(body)
        error = shape.get("error") if isinstance(shape, dict) else None
        if isinstance(error, dict) and isinstance(error.get("message"), str):
            return error
    return {"message": body.decode("utf-8", "replace").strip(), "type": "server_error"}


class Translation(ABC):
    """Translates one answer from the engine's format into that of the client's API.

    One is made for each request when it arrives. It may keep what it has seen of the answer, and when, but nothing
    large from the request, whose body is freed once an engine has it. Its methods must not block, and `event` is called
    for every token.

    If the engine's output can't be understood, they may raise ValueError, TypeError, LookupError or AttributeError.

    Attributes:
        model: The model whose answer it is, set before any of the answer comes; None: its engine isn't here.
        whole_type: Content-Type of an answer that is not a stream.
        stream_type: Content-Type of a stream.
    """

    model: Model | None
    whole_type: ClassVar[bytes] = b"application/json"
    stream_type: ClassVar[bytes] = b"application/x-ndjson"

    @abstractmethod
    def event(self, data: bytes) -> bytes:
        """Translate an event of the engine's stream (its data, without the framing); b"" to drop it."""

    @abstractmethod
    def end(self) -> bytes:
        """Return what to send at the end of the engine's stream, if it is complete."""

    @abstractmethod
    def whole(self, body: bytes) -> bytes:
        """Translate an answer that is not a stream."""

    @abstractmethod
    def refusal(self, status: int, body: bytes) -> bytes:
        """Translate an error from the engine, with its status (400 or more)."""


@frozen(kw_only=True)
class Asked:
    """A request that is answered without an engine, and what its answer may use.

    Attributes:
        body: The request's body; None if it has none.
        caller: Whose request it is.
        config: The whole config in force.
        ceiling: Tells what all models together may have, in bytes.
        rescan: Looks for new models on the disk.
        places: Tells where the models of peers are.
    """

    head: RequestHead
    body: JsonBody | None
    fleet: Fleet
    config: Config
    ceiling: Callable[[], Bytes]
    caller: Caller
    rescan: Callable[[], Awaitable[object]]
    places: Callable[[], Places]

    @property
    def server(self) -> Server:
        """[server] of that."""
        return self.config.server

    async def known(self, name: str) -> Match:
        """Return what a name means. Raises ModelNotFound, also if the caller may not use it; ShuttingDown."""
        return await self.caller.known(self.fleet, name)

    def elsewhere(self, id_: str) -> Placed | None:
        """Return the model of peers that an id means which `known` has found; None if it is here."""
        return None if id_ in self.fleet.models else self.places().find(id_)

    def listed(self, model: Model) -> list[str]:
        """Return the presets of a model that are listed for the caller, "" for the model itself; [] if none is."""
        name = model.spec.name
        shown = [] if model.spec.unlisted else presets(model.spec)
        return [preset for preset in shown if self.caller.may_use(self.fleet, name, preset)]


def stream_is_true(body: JsonBody) -> bool:
    """Tell whether a body asks for a stream, as most APIs spell it."""
    return body.get("stream") is True


@frozen(kw_only=True, eq=False)
class Route:
    """One path of an API.

    Attributes:
        dialect: The API that it belongs to, which words its errors.
        path: The path that clients request, decoded; a final "/*" stands for anything under it.
        methods: The methods it accepts; others are refused.
        target: The path to request from the engine; "" for the same one. Or a function of the client's
            body that tells it, which may raise BadRequest.
        model: Where the request names its model. "body": in a JSON object or a form, else in the query. "query": in the
            query, and the body is passed on unchanged. "path": as in /upstream/MODEL/…, with the body unchanged, too.
        samples: Whether tokens are sampled, so that a model's sampling and presets are added to the body as llama.cpp's
            request fields (to the result of `request`, if there is one).
        look: Whether a GET only looks: no model is loaded for it, or kept loaded.
        if_named: Whether it applies only if the query names a model. Otherwise the path is llmsup's own.
        keeps: Whether `keep_alive` replaces the model's ttl, as in Ollama's API. Otherwise it can only extend that.
        wants_context: Reads how many tokens of context a body asks for (0: it doesn't say). May raise BadRequest.
        streams: Tells whether a body asks for a stream.
        request: Makes the engine's body from the client's, or a reply that is given once the model is loaded, without
            asking its engine. None: the body is passed on byte for byte, except for configured edits. Raises
            BadRequest.
        prepare: Changes the engine's body (the first) with the help of the engine, before that is asked. Gets the
            client's body, too, the connections to the engine, and how many tokens it computes at once.
        answer: Makes the translation of an answer, given the client's body. None: the engine's bytes are passed on
            unchanged.
        here: Answers the request without an engine; everything else is then ignored.
        control: Whether it is part of the control API, for which not every key is good.
        translates: Whether there is more to do than to pass the body on, with edits, and its answer.
    """

    dialect: Dialect
    path: str
    methods: frozenset[str] = POST
    target: str | Callable[[JsonBody], str] = ""
    model: Literal["body", "query", "path"] = "body"
    samples: bool = False
    look: bool = False
    if_named: bool = False
    keeps: bool = False
    wants_context: Callable[[JsonBody], int] | None = None
    streams: Callable[[JsonBody], bool] = stream_is_true
    request: Callable[[JsonBody], JsonBody | Reply] | None = None
    prepare: Callable[[JsonBody, JsonBody, ConnectionPool, int], Awaitable[JsonBody]] | None = None
    answer: Callable[[JsonBody], Translation] | None = None
    here: Callable[[Asked], Awaitable[Reply]] | None = None
    control: bool = False
    translates: bool = field(init=False)

    @translates.default
    def _translates(self) -> bool:
        return any(each is not None for each in (self.wants_context, self.request, self.prepare, self.answer))
