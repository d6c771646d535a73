"""One request on its way: waits for its model, goes to the engine, and its answer's bytes come back.

It does not know who may ask (`guard`), nor which front end carries the bytes.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from functools import partial

import trio
from attrs import define

from ..engines.connection import Disconnected, Headers, Payload, Unreachable
from ..engines.pool import Answer
from ..errors import EngineBadAnswer, EngineDied, Error, ModelNotFound
from ..fleet.fleet import Fleet
from ..fleet.model.model import Model
from ..fleet.model.queue import Lease
from ..fleet.model.run import Run
from ..fleet.model.watchdogs import SOCKET_GONE
from ..units import NEVER, Seconds, format_seconds
from . import sse
from .answer_body import AnswerBody, EventsBody
from .message import Reply, for_client, switching
from .tunnel import relay

log = logging.getLogger(__name__)

VERDICT_PATIENCE = 5.0
"""Seconds to wait for the reason when an engine hangs up: the broken connection is seen before the exit is, and up to
a second goes by for its last words."""


def _nothing() -> None:
    pass


def _gone(_run: Run) -> Payload:
    raise RuntimeError("the body has been sent, and is no longer there")


@define(kw_only=True)
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
    """One request and its lease, which begins at once; whoever makes one must `close` it, at whatever point.

    Attributes:
        trouble: Why the rest of the answer couldn't be had, also where the client was told so by an event.
    """

    def __init__(self, fleet: Fleet, order: Order, body: Callable[[Run], Payload], loading_comments: Seconds) -> None:
        """`body` makes the body for an engine, which may lack something that the body must then say."""
        self._fleet = fleet
        self._order = order
        self._body = body
        self._comments = loading_comments if order.streaming else NEVER
        self.trouble: Error | None = None
        self._relayed: AnswerBody | None = None
        self._answer: Answer | None = None
        self._run: Run | None = None
        self._lease: Lease = fleet.enter(order.model, order.ttl, order.client)

    @property
    def whole(self) -> bool:
        """The answer has said that nothing more will come: clients may leave then, and many do."""
        return self._relayed is not None and self._relayed.whole

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
        run = self._lease.served_by
        if run is None:
            with trio.move_on_after(self._comments):
                run = await self._lease.run(self._order.model.spec.queue_timeout)
        if run is None:
            return Reply(status=200, headers=sse.HEADERS, body=self._late())
        await self._ask(run)
        assert self._answer is not None
        answer, headers, tunnel = self._answer, for_client(self._answer.headers), None
        if answer.status == 101:
            headers += switching(answer.headers)
            tunnel = partial(relay, answer)
        elif answer.streams and not any(name.lower() == b"x-accel-buffering" for name, _ in headers):
            headers.append((b"X-Accel-Buffering", b"no"))
        return Reply(
            status=answer.status, headers=headers, body=self._body_of(answer), reason=answer.reason, tunnel=tunnel
        )

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
                self.trouble = None
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
        self.trouble = error = await self._reason(gone)
        return error

    async def _reason(self, gone: Disconnected) -> Error:
        assert self._run is not None
        if isinstance(gone, Unreachable):
            self._order.model.replace(self._run, SOCKET_GONE)  # so that the next one to serve us is another
            return EngineDied(f"The engine of {self._order.model.spec.name} can't be reached: its socket was removed.")
        verdict = await self._run.ended(VERDICT_PATIENCE)
        if verdict is None:
            return EngineBadAnswer(f"The engine of {self._order.model.spec.name} lives, but hung up {gone}.")
        return verdict.again()

    async def _was_cut_off(self) -> Error | None:
        """Whether an answer that ended by closing did so because its engine died."""
        assert self._run is not None
        fate = await self._run.fate(VERDICT_PATIENCE)
        self.trouble = fate.again() if isinstance(fate, EngineDied) else None
        return self.trouble

    # Its body...

    def _body_of(self, answer: Answer) -> AnswerBody | EventsBody:
        body = self._relayed = AnswerBody(answer, self._explain, self._was_cut_off)
        return EventsBody(body, self._order.model.spec.name, self._order.path) if answer.streams else body

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
            body = self._body_of(self._answer)
            if self._answer.streams:
                async for data in body:
                    yield data
            else:  # an error of the engine's own: the head has gone out, so its body becomes an event
                whole = b"".join([data async for data in body])
                yield b"data: %s\n\n" % whole.replace(b"\r", b"").replace(b"\n", b"\ndata: ")
        except Error as error:
            self.trouble = error
            yield sse.error_event(error, self._order.path)
