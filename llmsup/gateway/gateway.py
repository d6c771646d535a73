"""The entry: parses a request, finds its model, and opens an exchange with that model's engine."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from http import HTTPStatus
from types import AsyncGeneratorType, TracebackType

import trio

from ..config.live import LiveConfig
from ..config.schema import Server
from ..engines.http import Buffer, Payload, header_lines
from ..errors import AdminRequired, Error, InvalidJson, ModelNotFound, ModelRequired, ShuttingDown
from ..fleet.backend import BackendRun
from ..fleet.fleet import Fleet
from ..process import quick_log
from ..process.watched import Watched
from ..units import Bytes, Seconds
from .access import RequestGuard
from .activity import Activity, Record
from .api.dialect import GET, Asked, Route
from .body import AT_ONCE, JsonBody, Turn, read_json, written
from .exchange import Exchange, Order
from .form import MultipartBody, read_form
from .keeping import wanted_keep, wanted_ttl
from .keyring import ANYBODY, Caller
from .making import as_is, edited, prepared
from .message import ClientLeft, Reply, RequestHead, for_engine, switching, whole_reply
from .metering import Meter
from .reading import read_body
from .room import Room, Share
from .routes import Routes, Upstream, may_load, meant, only_looks, split_upstream
from .usage import Tally, Usage

log = logging.getLogger(__name__)


class Gateway(Watched):
    """Everything that an inference request passes through.

    Attributes:
        guard: Checks keys and origins; `exchange` calls it, and front ends use it for their other paths.
        activity: Which requests engines work on, and the last that are done.
        active: The number of requests in progress, from the first byte to the last.
        room: The memory for their bodies.
        fleet: The models.
        routes: The requests that are answered here, and how.
        usage: What each key has used.
        rescan: Looks for new models on the disk; whoever can do that puts it here.
    """

    def __init__(self, fleet: Fleet, config: LiveConfig, guard: RequestGuard, routes: Routes | None = None) -> None:
        super().__init__()
        self.routes = routes or Routes()
        self.guard = guard
        self.rescan: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
        self.active = 0
        self.activity = Activity()
        self.usage = Usage()
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
        self, head: RequestHead, route: Route, chunks: AsyncIterable[bytes], share: Share, caller: Caller
    ) -> tuple[Order, Callable[[BackendRun], Payload]]:
        """What is wanted of which model, and what makes the body for its engine."""
        limit = self.server.max_body
        if route.model != "body":
            return await self._plain_order(head, route, chunks, share, caller)
        data = await read_body(head, chunks, limit, share)
        fields = await self._fields(head, data)
        name = self._model_name(head, fields)
        match = await (self.fleet.known(name) if caller.models is None else caller.known(self.fleet, name))
        backend = self.fleet.backend(match.id)
        make, translation, prepare, instead = as_is(data), None, None, None
        if isinstance(fields, JsonBody):
            body = fields if route.request is None else route.request(fields)
            if route.answer is not None:
                translation = route.answer(fields)
                translation.model = self.fleet.models.get(match.id)
            if route.wants_context is not None and (model := self.fleet.models.get(match.id)) is not None:
                model.note_wanted_context(route.wants_context(fields))
            if isinstance(body, Reply):
                instead = body
                if route.keeps and wanted_keep(fields) == Seconds(0):
                    check_admin(caller)  # it asks for nothing but an unload
            else:
                make = edited(body, backend.spec, match.preset, samples=route.samples)
                if route.prepare is not None and (model := self.fleet.models.get(match.id)) is not None:
                    prepare = prepared(route, fields, body, model, match.preset)
        elif isinstance(fields, MultipartBody) and backend.spec.upstream_model:
            make = as_is(fields.renamed(backend.spec.upstream_model))
        if translation is None:
            headers = head.lines_for_engine(unpacked=True)
        else:  # we have to read the answer, so it must not be compressed
            plain = [header for header in head.headers if header[0] != b"accept-encoding"]
            headers = header_lines(for_engine(plain, unpacked=True))
        keeps = route.keeps and caller.admin  # one client without that must not take a model from the others
        order = Order(
            backend=backend,
            method=head.method,
            target=_path(head, route, fields) + _query(head),
            dialect=route.dialect,
            translation=translation,
            prepare=prepare,
            instead=instead,
            headers=headers,
            loads=may_load(head),
            streaming=isinstance(fields, JsonBody) and route.streams(fields),
            ttl=wanted_ttl(fields) if isinstance(fields, JsonBody) and not keeps else Seconds(0),
            keep=wanted_keep(fields) if isinstance(fields, JsonBody) and keeps else None,
            client=caller.identity or f"address {head.client}",
            told=partial(caller.discreet, self.fleet),
            sent=share.release,
        )
        return order, make

    async def _plain_order(
        self, head: RequestHead, route: Route, chunks: AsyncIterable[bytes], share: Share, caller: Caller
    ) -> tuple[Order, Callable[[BackendRun], Payload]]:
        """The same for a request that names its model outside its body, which goes out as it came."""
        if route.model == "path":
            upstream = await self.upstream(head, caller)  # before reading the body, which may be large
            name, path = upstream.model, upstream.target or b"/"
        else:
            name, path = self._model_name(head, None), _path(head, route, None)
            await caller.known(self.fleet, name)
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
            loads=may_load(head),
            client=caller.identity or f"address {head.client}",
            told=partial(caller.discreet, self.fleet),
            sent=share.release,
        )
        return order, as_is(data)

    async def answer_here(
        self, head: RequestHead, route: Route, chunks: AsyncIterable[bytes], share: Share, caller: Caller
    ) -> Reply:
        """Answer a request that needs no engine."""
        assert route.here is not None
        data = await read_body(head, chunks, self.server.max_body, share)
        body = await read_json(data, self._turn) if data else None
        asked = Asked(head=head, body=body, fleet=self.fleet, server=self.server, caller=caller, rescan=self.rescan)
        return await route.here(asked)

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

    async def upstream(self, head: RequestHead, caller: Caller) -> Upstream:
        """Find the model in a path under /upstream, and the rest of the path for its engine. Raises NotFound."""
        if caller.models is None:
            return await self._upstream(head)
        try:
            upstream = await self._upstream(head)
            await caller.known(self.fleet, upstream.model)
        except ModelNotFound:
            raise caller.not_found(meant(head.raw_path)) from None
        return upstream

    async def _upstream(self, head: RequestHead) -> Upstream:
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
        self._here: Reply | None = None
        self._caller = ANYBODY
        self._tally: Tally | None = None
        self._meter: Meter | None = None
        self._inside = False
        self._record: Record | None = None
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
        caller = self._caller = gateway.guard.check(head)
        if gateway.fleet.closing:
            raise ShuttingDown("llmsup is shutting down.")
        route = gateway.routes.of(head)
        if route.control:
            check_admin(caller)
        if route.model == "path" and head.method in ("GET", "HEAD"):
            upstream = await gateway.upstream(head, caller)
            if upstream.target is None:  # relative links on the engine's pages need the slash
                return whole_reply(308, [(b"location", head.raw_path + b"/" + _query(head))], b"")
        self._inside = True
        gateway.active += 1
        if route.here is not None:
            reply = await gateway.answer_here(head, route, self._chunks, self._share, caller)
            self._status, self._here = reply.status, reply
            return reply
        if head.method not in GET:
            self._count()
        order, body = await gateway.order(head, route, self._chunks, self._share, caller)
        if (
            head.method in GET and not order.looks
        ):  # it loads the model, or keeps it: a page under /upstream, a WebSocket
            self._count()
        if self._tally is not None:
            order.meter = self._meter = Meter()
        self._model = order.backend.spec.name
        if order.instead is not None and order.keep == Seconds(0):  # to load it, and not to keep it: that is an unload
            order.backend.keep(order.keep)
            self._status = order.instead.status
            return order.instead
        record = self._record = gateway.activity.began(head, self._model)
        self._exchange = Exchange(gateway.fleet, order, body, gateway.server.loading_comments)
        del body  # the exchange lets it go as soon as it can
        reply = await self._exchange.reply()
        self._status = reply.status
        record.content_type = _content_type(reply)
        return reply

    def _count(self) -> None:
        """Count it among its key's requests. Raises RateLimited."""
        if self._caller.name:
            tally = self._gateway.usage.of(self._caller.name)
            tally.enter(self._caller)
            self._tally = tally

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._leave(error)
        # It may be in the answer yet, as long as nothing of that was sent.
        if isinstance(error, Error) and (told := self._caller.discreet(self._gateway.fleet, error)) is not error:
            raise told from None

    async def _leave(self, error: BaseException | None) -> None:
        if not self._inside:
            return
        try:
            if self._exchange is not None:
                await self._exchange.close()
            if self._here is not None and isinstance(self._here.body, AsyncGeneratorType):
                await self._here.body.aclose()  # it may hold a connection
        finally:
            self._share.release()
            self._gateway.active -= 1
            self._gateway.notify()
            status, cause = self._end(error or self._broke)
            if self._record is not None:
                self._gateway.activity.ended(self._record, self._status or status, cause)
            outcome = f"{self._status} cut short ({cause})" if self._status and cause else status or cause
            method, path = self._head.method, _printable(self._head.path)
            seconds = trio.current_time() - self._began
            if self._tally is not None:
                tokens = self._meter.tokens if self._meter is not None else None
                self._tally.leave(seconds, tokens, good=0 < self._status < HTTPStatus.BAD_REQUEST)
            whose = f" for {self._caller.name}" if self._caller.name else ""
            quick_log.info(log, f"{method} {path} {self._model}{whose}: {outcome} in {seconds:.3f} s")
            if self._exchange is not None:
                self._exchange.forget()

    @property
    def _broke(self) -> Error | None:
        """Why a stream ended early although it was complete for the front end, because its last event is the error."""
        return self._exchange.trouble if self._exchange is not None else None

    def _end(self, error: BaseException | None) -> tuple[int, str]:
        """How the request ended: a status, 0 if nobody was there to get one; and why it is cut short, "" if it isn't,
        so that a plain 200 in the log means a complete answer.
        """
        if error is None or (self._status and self._exchange is not None and self._exchange.whole):
            return self._status, ""
        if isinstance(error, Error):
            return error.status, error.code
        if isinstance(error, Exception) and not isinstance(error, ClientLeft):
            return Error.status, Error.code  # a bug of ours, logged where it was caught
        return 0, "client left"


def check_admin(caller: Caller) -> None:
    """Raise AdminRequired if the control API is not for this caller."""
    if not caller.admin:
        raise AdminRequired(
            f"The key {caller.name} may not use the control API.", hint=f"[keys.{caller.name}] admin = true allows it."
        )


def _path(head: RequestHead, route: Route, fields: JsonBody | MultipartBody | None) -> bytes:
    """What the engine is asked for. Under a "/*" that is the path as it came: decoded, it could hold anything."""
    target = route.target
    if callable(target):
        target = target(fields) if isinstance(fields, JsonBody) else ""
    if target:
        return target.encode()
    return head.raw_path if route.path.endswith("/*") else route.path.encode()


def _content_type(reply: Reply) -> str:
    return next((value.decode("latin-1") for name, value in reply.headers if name.lower() == b"content-type"), "")


def _query(head: RequestHead) -> bytes:
    return b"?" + head.query if head.query else b""


def _printable(path: str) -> str:
    return path[:200] if path.isprintable() else repr(path[:200])
