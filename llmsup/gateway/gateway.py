"""The entry: parses a request, finds its model, and opens an exchange with that model's engine."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from types import TracebackType

import trio

from ..config.live import LiveConfig
from ..config.schema import ModelSpec, Server
from ..engines.wire import Buffer, Payload, header_lines
from ..errors import Error, InvalidJson, ModelNotFound, ModelRequired, ShuttingDown
from ..fleet.backend import BackendRun
from ..fleet.fleet import Fleet
from ..process import quick_log
from ..process.watched import Watched
from ..units import Bytes, Seconds
from .access import RequestGuard
from .api.dialect import Asked, Route
from .body import AT_ONCE, JsonBody, Turn, read_json, written
from .edits import changes
from .exchange import Exchange, Order
from .form import MultipartBody, read_form
from .keeping import wanted_ttl
from .message import ClientLeft, Reply, RequestHead, for_engine, switching, whole_reply
from .reading import read_body
from .room import Room, Share
from .routes import Routes, Upstream, meant, only_looks, split_upstream

log = logging.getLogger(__name__)


class Gateway(Watched):
    """Everything that an inference request passes through.

    Attributes:
        guard: Checks keys and origins; `exchange` calls it, and front ends use it for their other paths.
        active: The number of requests in progress, from the first byte to the last.
        room: The memory for their bodies.
        fleet: The models.
        routes: The requests that are answered here, and how.
    """

    def __init__(self, fleet: Fleet, config: LiveConfig, guard: RequestGuard, routes: Routes | None = None) -> None:
        super().__init__()
        self.routes = routes or Routes()
        self.guard = guard
        self.active = 0
        self.room = Room(lambda: Bytes(2 * self.server.max_body))
        self._turn = Turn()
        self.fleet = fleet
        self._config = config

    @property
    def server(self) -> Server:
        """[server] of the config in force."""
        return self._config.now.server

    def exchange(self, head: RequestHead, chunks: AsyncIterable[bytes]) -> AbstractAsyncContextManager[Reply]:
        """Answer one request; the reply's body may be read until the context is left.

        Raises:
            Error: On entering: there is no answer; the error's status, code and message are for the client.
        """
        return _Passage(self, head, chunks)

    async def order(
        self, head: RequestHead, route: Route, chunks: AsyncIterable[bytes], share: Share
    ) -> tuple[Order, Callable[[BackendRun], Payload]]:
        """What is wanted of which model, and what makes the body for its engine."""
        limit = self.server.max_body
        if route.model != "body":
            return await self._plain_order(head, route, chunks, share)
        data = await read_body(head, chunks, limit, share)
        fields = await self._fields(head, data)
        match = await self.fleet.known(self._model_name(head, fields))
        backend = self.fleet.backend(match.id)
        make, translation, instead = _as_is(data), None, None
        if isinstance(fields, JsonBody):
            body = fields if route.request is None else route.request(fields)
            if route.answer is not None:
                translation = route.answer(fields)
                translation.model = self.fleet.models.get(match.id)
            if isinstance(body, Reply):
                instead = body
            else:
                make = _edited(body, backend.spec, match.preset, samples=route.samples)
        elif isinstance(fields, MultipartBody) and backend.spec.upstream_model:
            make = _as_is(fields.renamed(backend.spec.upstream_model))
        if translation is None:
            headers = head.lines_for_engine(unpacked=True)
        else:  # we have to read the answer, so it must not be compressed
            plain = [header for header in head.headers if header[0] != b"accept-encoding"]
            headers = header_lines(for_engine(plain, unpacked=True))
        order = Order(
            backend=backend,
            method=head.method,
            target=_path(head, route, fields) + _query(head),
            dialect=route.dialect,
            translation=translation,
            instead=instead,
            headers=headers,
            streaming=isinstance(fields, JsonBody) and route.streams(fields),
            ttl=wanted_ttl(fields) if isinstance(fields, JsonBody) else Seconds(0),
            client=self.guard.client(head),
            sent=share.release,
        )
        return order, make

    async def _plain_order(
        self, head: RequestHead, route: Route, chunks: AsyncIterable[bytes], share: Share
    ) -> tuple[Order, Callable[[BackendRun], Payload]]:
        """The same for a request that names its model outside its body, which goes out as it came."""
        if route.model == "path":
            upstream = await self.upstream(head)  # before reading the body, which may be large
            name, path = upstream.model, upstream.target or b"/"
        else:
            name, path = self._model_name(head, None), _path(head, route, None)
            await self.fleet.known(name)
        data = await read_body(head, chunks, self.server.max_body, share, raw=True)
        backend = self.fleet.backend(self.fleet.resolve(name).id)
        order = Order(
            backend=backend,
            method=head.method,
            target=path + _query(head),
            dialect=route.dialect,
            headers=header_lines(for_engine(head.headers) + switching(head.headers))
            if route.model == "path"
            else head.lines_for_engine(unpacked=False),
            looks=only_looks(route, head, path, backend.spec.idle_paths),
            client=self.guard.client(head),
            sent=share.release,
        )
        return order, _as_is(data)

    async def answer_here(self, head: RequestHead, route: Route, chunks: AsyncIterable[bytes], share: Share) -> Reply:
        """Answer a request that needs no engine."""
        assert route.here is not None
        data = await read_body(head, chunks, self.server.max_body, share)
        body = await read_json(data, self._turn) if data else None
        return await route.here(Asked(head=head, body=body, fleet=self.fleet, server=self.server))

    async def _fields(self, head: RequestHead, data: Buffer) -> JsonBody | MultipartBody | None:
        """Parse the body. JSON is assumed unless a form is declared: people forget curl's -H."""
        kind, _, rest = head.header(b"content-type").partition(";")
        if kind.strip().lower() != "multipart/form-data":
            if not data and head.parameter("model"):
                return None
            return JsonBody(data) if len(data) <= AT_ONCE else await read_json(data, self._turn)
        boundary = next((p.split("=", 1)[1] for p in rest.split(";") if p.strip().lower().startswith("boundary=")), "")
        boundary = boundary.strip().strip('"')
        if not boundary:
            raise InvalidJson("The multipart body has no boundary in its Content-Type.")
        return await read_form(data, boundary.encode("latin-1"), self._turn)

    async def upstream(self, head: RequestHead) -> Upstream:
        """Find the model in a path under /upstream, and the rest of the path for its engine. Raises NotFound."""
        with suppress(ModelNotFound):
            return split_upstream(head.raw_path, self.fleet.knows)
        if not self.fleet.complete:
            await self.fleet.until(lambda: self.fleet.complete or self.fleet.closing)
        try:
            return split_upstream(head.raw_path, self.fleet.knows)
        except ModelNotFound:
            self.fleet.resolve(meant(head.raw_path))  # raises an error that names the nearest model
            raise

    def _model_name(self, head: RequestHead, fields: JsonBody | MultipartBody | None) -> str:
        name = fields.get("model") if fields is not None else None
        if name is not None and not isinstance(name, str):
            raise ModelRequired(f"`model` must be a string, not {written(name)}.", param="model")
        name = name or head.parameter("model") or self.server.default_model
        if not name:
            raise ModelRequired(
                "The request names no model, and there is no server.default_model.",
                hint="Set `model` in the body; GET /v1/models lists what there is.",
                param="model",
            )
        return name


class _Passage:
    """One request in progress. A class, because a decorated generator costs each request several more switches."""

    def __init__(self, gateway: Gateway, head: RequestHead, chunks: AsyncIterable[bytes]) -> None:
        self._gateway = gateway
        self._head = head
        self._chunks = chunks
        self._share = gateway.room.share()
        self._exchange: Exchange | None = None
        self._inside = False
        self._model = "-"
        self._status = 0
        self._began = trio.current_time()

    async def __aenter__(self) -> Reply:
        try:
            return await self._enter()
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise

    async def _enter(self) -> Reply:
        head, gateway = self._head, self._gateway
        gateway.guard.check(head)
        if gateway.fleet.closing:
            raise ShuttingDown("llmsup is shutting down.")
        route = gateway.routes.of(head)
        if route.model == "path" and head.method in ("GET", "HEAD"):
            upstream = await gateway.upstream(head)
            if upstream.target is None:  # relative links on the engine's pages need the slash
                return whole_reply(308, [(b"location", head.raw_path + b"/" + _query(head))], b"")
        self._inside = True
        gateway.active += 1
        if route.here is not None:
            reply = await gateway.answer_here(head, route, self._chunks, self._share)
            self._status = reply.status
            return reply
        order, body = await gateway.order(head, route, self._chunks, self._share)
        self._model = order.backend.spec.name
        self._exchange = Exchange(gateway.fleet, order, body, gateway.server.loading_comments)
        del body  # the exchange lets it go as soon as it can
        reply = await self._exchange.reply()
        self._status = reply.status
        return reply

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._inside:
            return
        try:
            if self._exchange is not None:
                await self._exchange.close()
        finally:
            self._share.release()
            self._gateway.active -= 1
            self._gateway.notify()
            outcome = self._status if error is None and not self._broke else self._cut_short(error)
            method, path = self._head.method, _printable(self._head.path)
            seconds = trio.current_time() - self._began
            quick_log.info(log, f"{method} {path} {self._model}: {outcome} in {seconds:.3f} s")
            if self._exchange is not None:
                self._exchange.forget()

    @property
    def _broke(self) -> Error | None:
        """Why a stream ended early although it was complete for the front end, because its last event is the error."""
        return self._exchange.trouble if self._exchange is not None else None

    def _cut_short(self, error: BaseException | None) -> str:
        """Word the end of a request cut short, so that a plain 200 in the log means a complete answer."""
        error = error or self._broke
        if isinstance(error, Error):
            status, cause = error.status, error.code
        elif isinstance(error, Exception) and not isinstance(error, ClientLeft):
            status, cause = Error.status, Error.code  # a bug of ours, logged where it was caught
        else:
            status, cause = None, "client left"
        if self._status and self._exchange is not None and self._exchange.whole:
            return str(self._status)
        if self._status:
            return f"{self._status} cut short ({cause})"
        return str(status or cause)


def _path(head: RequestHead, route: Route, fields: JsonBody | MultipartBody | None) -> bytes:
    """What the engine is asked for. Under a "/*" that is the path as it came: decoded, it could hold anything."""
    target = route.target
    if callable(target):
        target = target(fields) if isinstance(fields, JsonBody) else ""
    if target:
        return target.encode()
    return head.raw_path if route.path.endswith("/*") else route.path.encode()


def _query(head: RequestHead) -> bytes:
    return b"?" + head.query if head.query else b""


def _as_is(data: Payload) -> Callable[[BackendRun], Payload]:
    return lambda _run: data


def _edited(body: JsonBody, spec: ModelSpec, preset: str, *, samples: bool) -> Callable[[BackendRun], Payload]:
    def make(run: BackendRun) -> Payload:
        return body.edited(changes(body, spec, preset=preset, defaults=run.body_defaults, generating=samples))

    return make


def _printable(path: str) -> str:
    return path[:200] if path.isprintable() else repr(path[:200])
