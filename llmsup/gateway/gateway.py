"""The entry: parses a request, finds its model, and opens an exchange with that model's engine."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial

import trio

from ..catalog.resolver import Match
from ..config.live import LiveConfig
from ..config.schema import Server
from ..engines.http import Buffer, Payload, header_lines
from ..errors import InvalidJson, ModelNotFound, ModelRequired, PeerUnavailable
from ..fleet.backend import BackendRun
from ..fleet.fleet import Fleet
from ..process.clock import clock
from ..process.watched import Watched
from ..units import Bytes, Seconds
from .access import RequestGuard
from .activity import Activity
from .api.dialect import Asked, Route
from .body import AT_ONCE, JsonBody, Turn, read_json, written
from .exchange import Order
from .form import MultipartBody, read_form
from .keeping import wanted_keep, wanted_ttl
from .keyring import Caller, check_admin
from .making import as_is, edited, prepared, renamed
from .message import Reply, RequestHead, for_engine, query_of, switching
from .passage import Passage
from .places import Places
from .prompts.links import FOLLOWED, WORTH
from .prompts.watch import Prompts
from .reading import at_hand, read_body
from .room import Room, Share
from .routes import Routes, Upstream, may_load, meant, only_looks, split_upstream
from .usage import Usage

log = logging.getLogger(__name__)


class Gateway(Watched):
    """Everything that an inference request passes through.

    Attributes:
        guard: Checks keys and origins; `exchange` calls it, and front ends use it for their other paths.
        activity: Which requests engines work on, and the last that are done.
        clock: Tells trio's time.
        active: The number of requests in progress, from the first byte to the last.
        room: The memory for their bodies.
        fleet: The models.
        routes: The requests that are answered here, and how.
        usage: What each key has used.
        prompts: What the last prompts had in common.
        rescan: Looks for new models on the disk; whoever can do that puts it here.
        ceiling: Tells what all models together may have, in bytes; likewise.
        check_via: Raises Loop if a request that has come through these llmsups may not come through this one; likewise.
        places: Tells where the models of peers are; likewise.
    """

    def __init__(self, fleet: Fleet, config: LiveConfig, guard: RequestGuard, routes: Routes | None = None) -> None:
        super().__init__()
        self.routes = routes or Routes()
        self.guard = guard
        self.clock = clock()
        self.rescan: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
        self.ceiling: Callable[[], Bytes] = lambda: Bytes(0)
        self.check_via: Callable[[tuple[str, ...]], None] = lambda _via: None
        self.places: Callable[[], Places] = lambda: Places((), fleet)
        self.active = 0
        self.activity = Activity()
        self.usage = Usage()
        self.prompts = Prompts(fleet)
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
        return Passage(self, head, chunks)

    async def order(
        self, head: RequestHead, route: Route, chunks: AsyncIterable[bytes], share: Share, caller: Caller
    ) -> tuple[Order, Callable[[BackendRun], Payload]]:
        """What is wanted of which model, and what makes the body for its engine."""
        if route.model != "body":
            return await self._plain_order(head, route, chunks, share, caller)
        known, limits = head.known, self._config.now.server
        # What nearly always applies is done without a coroutine; else these do the same, and more.
        data: Buffer | None = at_hand(chunks, limits.max_body, share) if known.encoding == "" else None
        if data is None:
            data = await read_body(head, chunks, limits.max_body, share)
        if known.form == "" and 0 < len(data) <= AT_ONCE:
            fields: JsonBody | MultipartBody | None = JsonBody(data)
        else:
            fields = await self._fields(head, data)
        name = self._model_name(head, fields)
        if caller.models is not None:
            await self._check_use(caller, name)
        match, backend = self.fleet.served_lately(name) or await self.fleet.served(name)
        order = Order(backend, head.method, _target(head, route, fields), head.lines_for_engine(unpacked=True))
        order.dialect = route.dialect
        order.client = caller.identity or f"address {head.client}"
        order.sent = share.release
        if caller.models is not None or not caller.admin:
            order.told = partial(caller.discreet, self.fleet)
        if head.query:
            order.loads = may_load(head)
        if isinstance(fields, MultipartBody):
            return order, renamed(fields, data, backend.spec)
        if not isinstance(fields, JsonBody):
            return order, as_is(data)
        order.streaming = route.streams(fields)
        if route.keeps and caller.admin:  # one client without that must not take a model from the others
            order.keep = wanted_keep(fields)
        else:
            order.ttl = wanted_ttl(fields)
        body: JsonBody | None = fields
        if route.translates:
            make, body = self._translated(order, fields, route, match, head, caller)
        else:
            make = edited(fields, backend.spec, match.preset, samples=route.samples)
        worth = len(data) >= WORTH or route.translates
        if worth and route.samples and body is not None and len(data) <= FOLLOWED and limits.prompt_chains:
            shown = caller.name or f"address {head.client}"
            order.prompt = await self.prompts.read(backend.spec, body, order.client, shown, self._turn)
        return order, make

    def _translated(
        self, order: Order, fields: JsonBody, route: Route, match: Match, head: RequestHead, caller: Caller
    ) -> tuple[Callable[[BackendRun], Payload], JsonBody | None]:
        """Complete an order of an API that engines don't speak; returns what makes their body, and the body without
        the model's settings, None if no engine is asked.
        """
        model = self.fleet.models.get(match.id)
        body = fields if route.request is None else route.request(fields)
        if route.answer is not None:
            order.translation = route.answer(fields)
            order.translation.model = model
            # We have to read the answer, so it must not be compressed.
            plain = [header for header in head.headers if header[0] != b"accept-encoding"]
            order.headers = header_lines(for_engine(plain, unpacked=True))
        if route.wants_context is not None and model is not None:
            model.note_wanted_context(route.wants_context(fields))
        if isinstance(body, Reply):
            order.instead = body
            if route.keeps and wanted_keep(fields) == Seconds(0):
                check_admin(caller)  # it asks for nothing but an unload
            return as_is(b""), None
        if route.prepare is not None and model is not None:
            order.prepare = prepared(route, fields, body, model, match.preset)
        return edited(body, order.backend.spec, match.preset, samples=route.samples), body

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
        if route.model == "path":
            headers = header_lines(for_engine(head.headers) + switching(head.headers))
        else:
            headers = head.lines_for_engine(unpacked=False)
        order = Order(backend, head.method, path + query_of(head), headers)
        order.by_path = route.model == "path"
        order.dialect = route.dialect
        order.client = caller.identity or f"address {head.client}"
        order.sent = share.release
        if caller.models is not None or not caller.admin:
            order.told = partial(caller.discreet, self.fleet)
        order.looks = only_looks(route, head, path, backend.spec.idle_paths)
        order.loads = may_load(head)
        return order, as_is(data)

    async def answer_here(
        self, head: RequestHead, route: Route, chunks: AsyncIterable[bytes], share: Share, caller: Caller
    ) -> Reply:
        """Answer a request that needs no engine."""
        assert route.here is not None
        data = await read_body(head, chunks, self.server.max_body, share)
        body = await read_json(data, self._turn) if data else None
        asked = Asked(
            head=head,
            body=body,
            fleet=self.fleet,
            config=self._config.now,
            ceiling=self.ceiling,
            caller=caller,
            rescan=self.rescan,
            places=self.places,
        )
        return await route.here(asked)

    async def _fields(self, head: RequestHead, data: Buffer) -> JsonBody | MultipartBody | None:
        """Parse the body. JSON is assumed unless a form is declared: people forget curl's -H."""
        rest = head.known.form
        if rest is None:
            kind, _, rest = head.header(b"content-type").partition(";")
            rest = head.known.form = (rest or ";") if kind.strip().lower() == "multipart/form-data" else ""
        if not rest:
            if not data and head.parameter("model"):
                return None
            return JsonBody(data) if len(data) <= AT_ONCE else await read_json(data, self._turn)
        boundary = next((p.split("=", 1)[1] for p in rest.split(";") if p.strip().lower().startswith("boundary=")), "")
        boundary = boundary.strip().strip('"')
        if not boundary:
            raise InvalidJson("The multipart body has no boundary in its Content-Type.")
        return await read_form(data, boundary.encode("latin-1"), self._turn)

    async def _check_use(self, caller: Caller, name: str) -> None:
        """Raise ModelNotFound if a caller may not use a model, or there is none."""
        try:
            await caller.known(self.fleet, name)
        except PeerUnavailable:  # and so it may be used, and its machine woken
            await self.fleet.served(name)
            await caller.known(self.fleet, name)

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
        if self.fleet.asking is not None:
            await self.fleet.asking()
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


def _path(head: RequestHead, route: Route, fields: JsonBody | MultipartBody | None) -> bytes:
    """What the engine is asked for. Under a "/*" that is the path as it came: decoded, it could hold anything."""
    target = route.target
    if callable(target):
        target = target(fields) if isinstance(fields, JsonBody) else ""
    if target:
        return target.encode()
    return head.raw_path if route.path.endswith("/*") else route.path.encode()


def _target(head: RequestHead, route: Route, fields: JsonBody | MultipartBody | None) -> bytes:
    """Path and query, as the engine is asked for them; found once for all heads that are alike, if the body has no say
    in it.
    """
    target = head.known.target
    if target is None:
        target = _path(head, route, fields) + query_of(head)
        if not callable(route.target):
            head.known.target = target
    return target
