"""The entry: takes a request apart, finds its model, and opens an exchange with that model's engine.

It does not know what carries the request in nor the answer out.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import trio
from attrs import evolve

from ..config.schema import ModelSpec, Server
from ..errors import Error, InvalidJson, ModelNotFound, ModelRequired, ShuttingDown
from ..fleet.fleet import Fleet
from ..fleet.life import Life
from ..fleet.model import Model
from ..process.watched import Watched
from ..units import NEVER, Seconds, parse_seconds
from .body import JsonBody, MultipartBody, read_body
from .doorman import Doorman
from .edits import changes
from .exchange import Exchange, Order
from .message import Reply, RequestHead, for_engine
from .routes import GENERATING, UPSTREAM, Upstream, meant, split_upstream

log = logging.getLogger(__name__)


class Gateway(Watched):
    """Everything that an inference request passes through.

    Attributes:
        doorman: Checks keys and origins; `exchange` has it check, and front ends use it for their other paths.
        server: [server] of the config that is in force.
        active: How many requests are inside, from the first byte to the last.
    """

    def __init__(self, fleet: Fleet, server: Server, doorman: Doorman) -> None:
        super().__init__()
        self.doorman = doorman
        self.active = 0
        self._fleet = fleet
        self.server = server

    @asynccontextmanager
    async def exchange(self, head: RequestHead, chunks: AsyncIterable[bytes]) -> AsyncIterator[Reply]:
        """Answer one request; the reply's body may be read until the context is left.

        Raises:
            Error: There is no answer; its status, code and message are for the client.
        """
        self.doorman.check(head)
        if self._fleet.closing:
            raise ShuttingDown("llmsup is shutting down.")
        if head.raw_path.startswith(UPSTREAM) and head.method in ("GET", "HEAD"):
            upstream = await self._upstream(head)
            if upstream.target is None:  # relative links on the engine's pages need the slash
                yield _redirect(head.raw_path + b"/" + (b"?" + head.query if head.query else b""))
                return
        began = trio.current_time()
        name, status = "-", 0
        self.active += 1
        try:
            order = evolve(await self._order(head, chunks), client=self.doorman.client(head))
            name = order.model.spec.name
            async with Exchange(self._fleet, order, self.server.loading_comments) as exchange:
                reply = await exchange.reply()
                status = reply.status
                yield reply
        except Error as error:
            status = error.status
            raise
        finally:
            self.active -= 1
            self.notify()
            seconds = trio.current_time() - began
            log.info(
                "%s %s %s: %s in %.3f s", head.method, _printable(head.path), name, status or "client left", seconds
            )

    async def _order(self, head: RequestHead, chunks: AsyncIterable[bytes]) -> Order:
        query = b"?" + head.query if head.query else b""
        if head.raw_path.startswith(UPSTREAM):
            upstream = await self._upstream(head)  # before the body: it may be large
            data = await read_body(head, chunks, self.server.max_body)
            target = (upstream.target or b"/") + query
            return _order(head, self._fleet.find(upstream.model), target, _as_is(data), None)
        data = await read_body(head, chunks, self.server.max_body)
        fields = _fields(head, data)
        match = await self._fleet.known(self._model_name(head, fields))
        spec = self._fleet.models[match.id].spec
        make = _as_is(data)
        if isinstance(fields, JsonBody):
            make = _edited(fields, spec, match.preset, generating=head.path in GENERATING)
        elif isinstance(fields, MultipartBody) and spec.upstream_model:
            make = _as_is(fields.renamed(spec.upstream_model))
        return _order(head, self._fleet.models[match.id], head.path.encode() + query, make, fields)

    async def _upstream(self, head: RequestHead) -> Upstream:
        with suppress(ModelNotFound):
            return split_upstream(head.raw_path, self._fleet.knows)
        if not self._fleet.complete:
            await self._fleet.until(lambda: self._fleet.complete or self._fleet.closing)
        try:
            return split_upstream(head.raw_path, self._fleet.knows)
        except ModelNotFound:
            self._fleet.resolve(meant(head.raw_path))  # its error names the nearest
            raise

    def _model_name(self, head: RequestHead, fields: JsonBody | MultipartBody | None) -> str:
        name = fields.get("model") if fields is not None else None
        if name is not None and not isinstance(name, str):
            raise ModelRequired(f"`model` must be a string, not {name!r:.80}.", param="model")
        name = name or head.parameter("model") or self.server.default_model
        if not name:
            raise ModelRequired(
                "The request names no model, and there is no server.default_model.",
                hint="Set `model` in the body; GET /v1/models lists what there is.",
                param="model",
            )
        return name


def _order(
    head: RequestHead,
    model: Model,
    target: bytes,
    body: Callable[[Life], bytes],
    fields: JsonBody | MultipartBody | None,
) -> Order:
    json = fields if isinstance(fields, JsonBody) else None
    return Order(
        model=model,
        method=head.method,
        target=target,
        path=head.path,
        headers=for_engine(head.headers),
        body=body,
        streaming=json is not None and json.get("stream") is True,
        ttl=_wanted_ttl(json) if json is not None else Seconds(0),
    )


def _redirect(where: bytes) -> Reply:
    async def nothing() -> AsyncGenerator[bytes, None]:
        return
        yield b""

    return Reply(status=308, headers=[(b"location", where), (b"content-length", b"0")], body=nothing())


def _as_is(data: bytes) -> Callable[[Life], bytes]:
    return lambda _life: data


def _edited(body: JsonBody, spec: ModelSpec, preset: str, *, generating: bool) -> Callable[[Life], bytes]:
    def make(life: Life) -> bytes:
        return body.edited(changes(body, spec, preset=preset, defaults=life.body_defaults, generating=generating))

    return make


def _fields(head: RequestHead, data: bytes) -> JsonBody | MultipartBody | None:
    """The body's members. JSON is assumed where no form is declared: people forget curl's -H."""
    kind, _, rest = head.header(b"content-type").partition(";")
    if kind.strip().lower() != "multipart/form-data":
        return None if not data and head.parameter("model") else JsonBody(data)
    boundary = next((p.split("=", 1)[1] for p in rest.split(";") if p.strip().lower().startswith("boundary=")), "")
    if not boundary:
        raise InvalidJson("The multipart body has no boundary in its Content-Type.")
    return MultipartBody(data, boundary.strip().strip('"').encode("latin-1"))


def _wanted_ttl(body: JsonBody) -> Seconds:
    """How long the client wants the model kept: LM Studio's `ttl` (seconds) or Ollama's `keep_alive` (seconds, a
    duration, negative for ever). It can only lengthen: one client must not take a model away from others.
    """
    for name in ("ttl", "keep_alive"):
        match body.get(name):
            case bool() | None:
                pass
            case int() | float() as seconds:
                return NEVER if seconds < 0 else Seconds(float(seconds))
            case str() as text:
                try:
                    return NEVER if text.startswith("-") else parse_seconds(text)
                except ValueError as error:
                    raise InvalidJson(f"`{name}`: {error}.", param=name) from None
    return Seconds(0)


def _printable(path: str) -> str:
    return path[:200] if path.isprintable() else repr(path[:200])
