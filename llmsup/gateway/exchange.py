"""One request on its way: waits for its model, goes to the engine, and its answer's bytes come back.

It does not know who may ask (`guard`), nor which front end carries the bytes.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, nullcontext
from functools import partial

import trio
from attrs import frozen

from ..engines.connection import Disconnected, Headers, Payload, Unreachable
from ..engines.pool import Answer
from ..errors import EngineBadAnswer, EngineDied, Error, ModelNotFound
from ..fleet.fleet import Fleet
from ..fleet.model.model import Model
from ..fleet.model.outcome import Crash, as_error
from ..fleet.model.queue import Lease
from ..fleet.model.run import Run
from ..fleet.model.watchdogs import SOCKET_GONE
from ..units import NEVER, Seconds, format_seconds
from . import sse
from .ending import Ending
from .message import Reply, for_client, switching
from .tunnel import relay

log = logging.getLogger(__name__)

OUTCOME_PATIENCE = 5.0
"""Seconds to wait for the reason when an engine hangs up: the broken connection is seen before the exit is, and up to
a second goes by for its last words."""


def _nothing() -> None:
    pass


def _gone(_run: Run) -> Payload:
    raise RuntimeError("the body has been sent, and is no longer there")


@frozen(kw_only=True)
class Order:
    """What is wanted of an engine.

    Attributes:
        model: Who shall do it.
        target: Path and query, as they are sent to the engine.
        path: Decoded, for the log and for the shape of errors.
        sent: Called when an engine has answered: the body isn't needed any more.
        streaming: The client asked for a stream.
        ttl: How long the client wants the model kept, in seconds.
        client: Whose request it is.
    """

    model: Model
    method: str
    target: bytes
    path: str
    headers: Headers
    streaming: bool = False
    ttl: Seconds = Seconds(0)
    client: str = ""
    sent: Callable[[], None] = _nothing


class Exchange:
    """One request and its lease, which begins at once; whoever makes one must `close` it, at whatever point."""

    def __init__(self, fleet: Fleet, order: Order, body: Callable[[Run], Payload], loading_comments: Seconds) -> None:
        """`body` makes the body for an engine, which may lack something that the body must then say."""
        self._fleet = fleet
        self._order = order
        self._body = body
        self._comments = loading_comments if order.streaming else NEVER
        self._answer: Answer | None = None
        self._run: Run | None = None
        self._lease: Lease = fleet.enter(order.model, order.ttl, order.client)

    async def close(self) -> None:
        """Close the engine's connection, and end the lease. Works when cancelled."""
        try:
            if self._answer is not None:
                await self._answer.close()
        finally:
            self._lease.__exit__()

    async def reply(self) -> Reply:
        """The head of the reply: the engine's own, or a stream of comments if the model takes long to load.

        Raises:
            Error: There will be no answer.
        """
        run: Run | None = None
        with nullcontext() if self._lease.decided else trio.move_on_after(self._comments):
            run = await self._lease.run(self._order.model.spec.queue_timeout)
        if run is None:
            return Reply(status=200, headers=sse.HEADERS, body=self._late())
        await self._ask(run)
        assert self._answer is not None
        headers, tunnel, body = for_client(self._answer.headers), None, self._relay()
        if self._answer.status == 101:
            headers += switching(self._answer.headers)
            tunnel = partial(relay, self._answer)
        elif sse.is_stream(headers):
            body = self._relay_events()
            if not any(name.lower() == b"x-accel-buffering" for name, _ in headers):
                headers.append((b"X-Accel-Buffering", b"no"))
        return Reply(status=self._answer.status, headers=headers, body=body, reason=self._answer.reason, tunnel=tunnel)

    async def _ask(self, run: Run) -> None:
        """Send the request; once more on a fresh engine if this one dies without having said a word."""
        order = self._order
        for last_try in (False, True):
            self._run = run
            try:
                self._answer = await run.pool.request(order.method, order.target, order.headers, self._body(run))
            except Disconnected as gone:
                error = await self._explain(gone)
                if last_try or gone.began or not isinstance(error, EngineDied):
                    # Two engines died of it: a third shall not, unless somebody wants that.
                    twice = last_try and isinstance(error, EngineDied)
                    raise (error.again(lasting=True) if twice else error) from None
                log.info("%s: asking a fresh engine: %s", order.model.spec.name, error)
            else:
                self._body = _gone
                order.sent()
                return
            self._lease.__exit__()
            try:
                self._lease = self._fleet.enter(order.model, order.ttl, order.client)
            except ModelNotFound:  # removed meanwhile: that is not what went wrong
                raise error from None
            run = await self._lease.run(order.model.spec.queue_timeout)

    async def _explain(self, gone: Disconnected) -> Error:
        """Why the engine hung up."""
        assert self._run is not None
        if isinstance(gone, Unreachable):
            self._order.model.replace(self._run, SOCKET_GONE)  # so that the next one to serve us is another
            return EngineDied(f"The engine of {self._order.model.spec.name} can't be reached: its socket was removed.")
        outcome = await self._run.ended(OUTCOME_PATIENCE)
        if outcome is None:
            return EngineBadAnswer(f"The engine of {self._order.model.spec.name} lives, but hung up {gone}.")
        return as_error(outcome)

    # The three kinds of body...

    async def _relay(self) -> AsyncGenerator[bytes, None]:
        """The answer as it is. If the rest can't be had this raises, and the front end cuts the connection: the
        client sees that the body is short.
        """
        assert self._answer is not None
        ending = Ending(self._answer.headers)
        try:
            while data := await self._answer.body():
                ending.saw(data)
                yield data
        except Disconnected as gone:
            if ending.reached:
                return  # the last frame is missing, but nothing of what was said
            raise await self._explain(gone) from None
        if self._answer.ended_by_closing and not ending.reached and (error := await self._was_cut_off()):
            raise error

    async def _was_cut_off(self) -> Error | None:
        """Whether an answer that ended by closing did so because its engine died."""
        assert self._run is not None
        outcome = await self._run.fate(OUTCOME_PATIENCE)
        return as_error(outcome) if isinstance(outcome, Crash) else None

    async def _relay_events(self) -> AsyncGenerator[bytes, None]:
        """The answer as it is. If the rest can't be had, an error event says why."""
        tail = b""
        try:
            async with aclosing(self._relay()) as relay:
                async for data in relay:
                    tail = (tail + data)[-2:]
                    yield data
        except Error as error:
            log.info("%s: stream broken: %s", self._order.model.spec.name, error)
            yield (b"" if tail == b"\n\n" else b"\n\n") + sse.error_event(error, self._order.path)

    async def _late(self) -> AsyncGenerator[bytes, None]:
        """Comments until the model is there, then the answer; errors can only be events now."""
        spec = self._order.model.spec
        try:
            run: Run | None = None
            while run is None:
                yield sse.comment(f"loading {spec.name} {format_seconds(self._lease.waited)}")
                with trio.move_on_after(self._comments):
                    run = await self._lease.run(spec.queue_timeout)
            await self._ask(run)
            assert self._answer is not None
            if sse.is_stream(self._answer.headers):
                async with aclosing(self._relay_events()) as events:
                    async for data in events:
                        yield data
            else:  # an error of the engine's own: the head has gone out, so its body becomes an event
                whole = b"".join([data async for data in self._relay()])
                yield b"data: %s\n\n" % whole.replace(b"\r", b"").replace(b"\n", b"\ndata: ")
        except Error as error:
            yield sse.error_event(error, self._order.path)
