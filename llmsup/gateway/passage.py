"""One request on its way through the gateway: from its head to its answer's last byte, and what is noted of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable
from http import HTTPStatus
from types import AsyncGeneratorType, TracebackType
from typing import TYPE_CHECKING

from ..errors import Error, ShuttingDown
from ..fleet.backend import Trail
from ..peers.via import VIA, read_via
from ..process import quick_log
from ..units import Seconds
from .api.dialect import GET
from .capture import Captured, CapturingMeter
from .exchange import Exchange, Order
from .keyring import ANYBODY, Caller, check_admin
from .message import ClientLeft, Reply, RequestHead, query_of, whole_reply
from .metering import Meter
from .prompts.watch import DEBUG, HEADER, Trace
from .usage import Tally

if TYPE_CHECKING:
    from .gateway import Gateway

log = logging.getLogger(__name__)


class Passage:
    """One request in progress. A class, because a decorated generator costs each request several more switches."""

    _exchange: Exchange | None = None
    _reply: Reply | None = None
    _here = False  # it needs no engine
    _caller = ANYBODY
    _tally: Tally | None = None
    _meter: Meter | None = None
    _prompt: Trace | None = None
    _inside = False
    _number = 0  # for `Activity`; 0 as long as it has no model
    _model = "-"
    _status = 0

    def __init__(self, gateway: Gateway, head: RequestHead, chunks: AsyncIterable[bytes]) -> None:
        self._gateway = gateway
        self._head = head
        self._chunks = chunks
        self._share = gateway.room.share()
        self._began = gateway.clock()

    async def __aenter__(self) -> Reply:
        head, gateway = self._head, self._gateway
        caller = self._caller = gateway.guard.check(head)
        if gateway.fleet.closing:
            raise ShuttingDown("llmsup is shutting down.")
        route = head.known.route or gateway.routes.of(head)
        if route.control:
            check_admin(caller)
        if route.model == "path" and head.method in GET and (moved := await self._moved(caller)) is not None:
            return moved
        self._inside = True
        gateway.active += 1
        try:
            if route.here is not None:
                reply = await gateway.answer_here(head, route, self._chunks, self._share, caller)
                self._status, self._reply, self._here = reply.status, reply, True
                return reply
            via = self._via()
            looks = head.method in GET
            if caller.name and not looks:
                self._count(caller)
            order, body = await gateway.order(head, route, self._chunks, self._share, caller)
            if caller.name and looks and not order.looks:  # it loads the model, or keeps it, as a WebSocket does
                self._count(caller)
            if not order.looks:
                if order.backend.spec.capture:
                    order.captured = Captured()
                    order.meter = self._meter = CapturingMeter(gateway.clock, order.captured)
                else:
                    order.meter = self._meter = Meter(gateway.clock)
            self._model = order.backend.spec.name
            if order.instead is not None and order.keep == Seconds(0):
                order.backend.keep(order.keep)  # to load it, and not to keep it: that is an unload
                self._status = order.instead.status
                return order.instead
            order.trail = self._trail(order, via)
            self._number = gateway.activity.began(head, self._model, self._began)
            self._exchange = Exchange(gateway.fleet, order, body, gateway.server.loading_comments)
            del body  # the exchange lets it go as soon as it can
            reply = self._reply = await self._exchange.reply()
            self._status = reply.status
            if order.prompt is not None:
                self._follow(order.prompt, reply)
        except BaseException as error:
            await self.__aexit__(type(error), error, None)
            raise
        return reply

    def _via(self) -> tuple[str, ...]:
        """Which llmsups it has come through. Raises Loop if this is one of them."""
        known = self._head.known
        via = known.via
        if via is None:
            via = known.via = read_via(self._head.header(VIA))
        if via:
            self._gateway.check_via(via)
        return via

    @staticmethod
    def _trail(order: Order, via: tuple[str, ...]) -> Trail | None:
        """What its backend wants to know of the request, if it does."""
        if not order.backend.spreads:
            return None
        return Trail(via=via, remembers=None if order.prompt is None else order.prompt.remembered_by)

    async def _moved(self, caller: Caller) -> Reply | None:
        """Where a path with a model's name alone leads: relative links on the engine's pages need the slash."""
        head = self._head
        if (await self._gateway.upstream(head, caller)).target is not None:
            return None
        return whole_reply(308, [(b"location", head.raw_path + b"/" + query_of(head))], b"")

    def _count(self, caller: Caller) -> None:
        """Count it among its key's requests. Raises RateLimited."""
        tally = self._gateway.usage.of(caller.name)
        tally.enter(caller)
        self._tally = tally

    def _follow(self, prompt: Trace, reply: Reply) -> None:
        """Note that the engine got this prompt; say in the answer's head what is known of it, if that was asked for."""
        if reply.status >= HTTPStatus.BAD_REQUEST:
            return
        self._prompt = prompt
        prompt.sent(self._where)
        if self._head.header(DEBUG) in ("1", "true"):
            reply.headers = [*reply.headers, (HEADER, prompt.in_short.encode())]
            reply.lines = None  # they are the headers without that one

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._inside:
            return
        try:
            if self._exchange is not None and not self._exchange.close_at_once():
                await self._exchange.close()
            if self._here and self._reply is not None and isinstance(self._reply.body, AsyncGeneratorType):
                await self._reply.body.aclose()  # it may hold a connection
        finally:
            self._account(error)
        # It may be in the answer yet, as long as nothing of that was sent.
        if isinstance(error, Error) and (told := self._caller.discreet(self._gateway.fleet, error)) is not error:
            raise told from None

    def _account(self, error: BaseException | None) -> None:
        """Free what it had, and count and log it."""
        gateway, exchange = self._gateway, self._exchange
        self._share.release()
        gateway.active -= 1
        gateway.notify()
        if error is None and (exchange is None or exchange.trouble is None):
            status, cause = self._status, ""
        else:
            status, cause = self._end(error or self._broke)
        now = gateway.clock()
        if self._number:
            type_ = self._reply.content_type if self._reply is not None else ""
            waited = exchange.waited if exchange is not None else 0.0
            key = self._caller.name
            gateway.activity.ended(self._number, now, self._status or status, type_, cause, key, waited, self._meter)
        outcome = f"{self._status} cut short ({cause})" if self._status and cause else status or cause
        known = self._head.known
        if not known.shown:
            known.shown = f"{self._head.method} {_printable(self._head.path)}"
        seconds = now - self._began
        if self._tally is not None:
            tokens = self._meter.tokens if self._meter is not None else None
            self._tally.leave(seconds, tokens, good=0 < self._status < HTTPStatus.BAD_REQUEST)
        if self._prompt is not None:
            self._prompt.ended(self._meter, self._where)
        whose = f" for {self._caller.name}" if self._caller.name else ""
        at = f" at {self._where}" if self._where else ""
        quick_log.info(log, f"{known.shown} {self._model}{at}{whose}: {outcome} in {seconds:.3f} s")
        if exchange is not None:
            exchange.forget()

    @property
    def _broke(self) -> Error | None:
        """Why a stream ended early although it was complete for the front end, because its last event is the error."""
        return self._exchange.trouble if self._exchange is not None else None

    @property
    def _where(self) -> str:
        """Which peer has served it; "" for an engine here, or nobody yet."""
        return "" if self._exchange is None else self._exchange.where

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


def _printable(path: str) -> str:
    return path[:200] if path.isprintable() else repr(path[:200])
