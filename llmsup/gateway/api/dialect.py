"""What an API is to the gateway: which paths it has, where they lead, and what is said in its own words.

The seam that each API's file fills in. It knows no API itself: those are beside it, one file each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import ClassVar, Literal

import msgspec
from attrs import frozen

from ...config.schema import Server
from ...engines.connection import Headers
from ...errors import ConfigError, Error
from ...fleet.fleet import Fleet
from .. import sse
from ..body import JsonBody
from ..message import Reply, RequestHead

POST = frozenset(("POST",))
GET = frozenset(("GET", "HEAD"))


class Dialect:
    """How an API words what does not come from an engine. These words are OpenAI's; another API overrides them.

    Attributes:
        under: What is under one of these paths is spoken about in this API's words, also if there is no such path.
        stream_headers: Of a stream that begins before its model is there.
        gives_signs: A stream may begin before its model is there, as there is something to say that clients ignore.
    """

    under: ClassVar[tuple[str, ...]] = ()
    stream_headers: ClassVar[Headers] = sse.HEADERS
    gives_signs: ClassVar[bool] = True

    def error(self, error: Error) -> dict[str, object]:
        """An error as the JSON body of an answer."""
        return error_object(error)

    def error_event(self, error: Error) -> bytes:
        """An error for a stream that has begun."""
        return b"data: %s\n\n" % msgspec.json.encode(self.error(error))

    def refusal_event(self, body: bytes) -> bytes:
        """An answer of the engine's that is no stream, for a stream that has begun."""
        return b"data: %s\n\n" % body.replace(b"\r", b"").replace(b"\n", b"\ndata: ")

    def sign_of_life(self, text: str) -> bytes:
        """What keeps clients from giving up while a model loads."""
        return sse.comment(text)


def error_object(error: Error) -> dict[str, object]:
    """An error in OpenAI's shape."""
    shape: dict[str, object] = {
        "message": str(error).encode("utf-8", "replace").decode(),  # a path in it may be none
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if error.log_tail:
        shape["log_tail"] = list(error.log_tail)
    if isinstance(error, ConfigError):
        shape["mistakes"] = list(error.mistakes)
    return {"error": shape}


class Translation(ABC):
    """The way of one answer from an engine's words to the client's. One is made for each request, when it has come: it
    may remember what it has seen of the answer, and when, but nothing large of the request, whose body is let go once
    an engine has it. None of this may wait, and `event` is called for every token.

    What an engine says that can't be understood may raise ValueError, TypeError, LookupError or AttributeError.

    Attributes:
        whole_type: Content-Type of an answer that is no stream.
        stream_type: Content-Type of a stream.
    """

    whole_type: ClassVar[bytes] = b"application/json"
    stream_type: ClassVar[bytes] = b"application/x-ndjson"

    @abstractmethod
    def event(self, data: bytes) -> bytes:
        """An event of the engine's stream (its data, without the framing) as the client gets it; b"": not at all."""

    @abstractmethod
    def end(self) -> bytes:
        """What the client gets at the end of the engine's stream, if that is whole."""

    @abstractmethod
    def whole(self, body: bytes) -> bytes:
        """An answer that is no stream."""

    @abstractmethod
    def refusal(self, status: int, body: bytes) -> bytes:
        """An error of the engine's own, which has this status (400 or more)."""


@frozen(kw_only=True)
class Asked:
    """A request that is answered without an engine, and what may be told from.

    Attributes:
        body: None where there is none.
    """

    head: RequestHead
    body: JsonBody | None
    fleet: Fleet
    server: Server


def stream_is_true(body: JsonBody) -> bool:
    """Whether a stream is asked for, in most APIs' words."""
    return body.get("stream") is True


@frozen(kw_only=True, eq=False)
class Route:
    """One path of an API.

    Attributes:
        dialect: Whose words are used.
        path: As clients ask for it, decoded; with "/*" at its end for whatever is under it.
        methods: Others are refused.
        target: The path that the engine is asked for; "" for the same one. Where that is for the body (the client's) to
            say, what tells it, and may raise BadRequest.
        model: Where its name stands. "body": in a JSON object or a form, else in the query. "query": there, and the
            body goes to the engine as it came. "path": as in /upstream/MODEL/…, and so does the body.
        samples: Tokens are sampled, so that a model's sampling and its presets are written into the body, as members
            of it, in llama.cpp's words; into what `request` makes of it, where there is one.
        look: For GET: whoever asks only looks. No model is loaded for that, nor kept loaded.
        if_named: Only where the query names a model. Else the path is llmsup's own.
        streams: Whether a body asks for a stream.
        request: Makes the engine's body from the client's, or a reply that is given as soon as the model is loaded,
            in place of the engine's; None: the body goes out as it came, byte by byte, but for what is configured.
            Raises BadRequest.
        answer: Makes the translation of the answer to a request, whose body (the client's) is given; None: the engine's
            bytes go back as they come.
        here: Answers the request without an engine, in place of all the rest.
    """

    dialect: Dialect
    path: str
    methods: frozenset[str] = POST
    target: str | Callable[[JsonBody], str] = ""
    model: Literal["body", "query", "path"] = "body"
    samples: bool = False
    look: bool = False
    if_named: bool = False
    streams: Callable[[JsonBody], bool] = stream_is_true
    request: Callable[[JsonBody], JsonBody | Reply] | None = None
    answer: Callable[[JsonBody], Translation] | None = None
    here: Callable[[Asked], Awaitable[Reply]] | None = None
