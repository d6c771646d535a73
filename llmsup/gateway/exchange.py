"""One request on its way: waits for its model, goes to the engine, and its answer's bytes come back.

It does not know who may ask (`guard`), nor which front end carries the bytes.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial

import trio
from attrs import define

from ..engines.connection import Disconnected
from ..engines.pool import Answer
from ..engines.wire import Headers, Payload
from ..errors import EngineDied, Error, ModelNotFound
from ..fleet.backend import Backend, BackendLease, BackendRun
from ..fleet.fleet import Fleet
from ..units import NEVER, Seconds, format_seconds
from .answer_body import AnswerBody, EventsBody
from .api.dialect import Dialect, Translation
from .api.openai import OPENAI
from .message import Reply, for_client, switching, whole_reply
from .translated import OF_BODY, TranslatedBody, put
from .tunnel import relay

log = logging.getLogger(__name__)

CUT_OFF_PATIENCE = 5.0
"""Seconds to wait for the news that an engine has died, when its answer just ended: that is seen before the exit is."""


def _nothing() -> None:
    pass


def _gone(_run: BackendRun) -> Payload:
    raise RuntimeError("the body has been sent, and is no longer there")


@define(kw_only=True)
class Order:
    """What is wanted of an engine.

    Attributes:
        backend: Who shall do it.
        target: Path and query, as they are sent to the engine.
        dialect: Whose words are used for what isn't the engine's.
        translation: Puts the engine's answer into the client's words; None: it goes back as it comes.
        instead: The answer once the model is there; its engine isn't asked.
        looks: The model is asked only if it is loaded, and doesn't stay so for that.
        sent: Called when an engine has answered: the body isn't needed any more.
        streaming: The client asked for a stream.
        ttl: How long the client wants the model kept, in seconds.
        client: Whose request it is.
    """

    backend: Backend
    method: str
    target: bytes
    headers: Headers
    dialect: Dialect = OPENAI
    translation: Translation | None = None
    instead: Reply | None = None
    looks: bool = False
    streaming: bool = False
    ttl: Seconds = Seconds(0)
    client: str = ""
    sent: Callable[[], None] = _nothing


class Exchange:
    """One request and its lease, which begins at once; whoever makes one must `close` it, at whatever point.

    Attributes:
        trouble: Why the rest of the answer couldn't be had, also where the client was told so by an event.
    """

    def __init__(
        self, fleet: Fleet, order: Order, body: Callable[[BackendRun], Payload], loading_comments: Seconds
    ) -> None:
        """`body` makes the body for an engine, which may lack something that the body must then say."""
        self._fleet = fleet
        self._order = order
        self._body = body
        self._comments = loading_comments if order.streaming and order.dialect.gives_signs else NEVER
        self.trouble: Error | None = None
        self._relayed: AnswerBody | TranslatedBody | None = None
        self._answer: Answer | None = None
        self._run: BackendRun | None = None
        self._lease: BackendLease = self._enter()

    def _enter(self) -> BackendLease:
        order = self._order
        if order.looks:
            return self._fleet.look(order.backend)
        return self._fleet.enter(order.backend, order.ttl, order.client)

    @property
    def whole(self) -> bool:
        """The answer has said that nothing more will come: clients may leave then, and many do."""
        return self.trouble is None and self._relayed is not None and self._relayed.whole

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
                run = await self._lease.run(self._order.backend.spec.queue_timeout)
        if run is None:
            return Reply(status=200, headers=self._order.dialect.stream_headers, body=self._late())
        if self._order.instead is not None:
            return self._order.instead
        await self._ask(run)
        assert self._answer is not None
        answer, headers, tunnel = self._answer, for_client(self._answer.headers), None
        if self._order.translation is not None:
            return await self._translated(answer, headers, self._order.translation)
        if answer.status == 101:
            headers += switching(answer.headers)
            tunnel = partial(relay, answer)
        elif answer.streams and not any(name.lower() == b"x-accel-buffering" for name, _ in headers):
            headers.append((b"X-Accel-Buffering", b"no"))
        return Reply(
            status=answer.status, headers=headers, body=self._body_of(answer), reason=answer.reason, tunnel=tunnel
        )

    async def _translated(self, answer: Answer, headers: Headers, translation: Translation) -> Reply:
        """The answer in the client's words: a stream event by event, anything else whole."""
        headers = [header for header in headers if header[0].lower() not in OF_BODY]
        body = self._body_of(answer)
        if answer.streams:
            headers += [(b"Content-Type", translation.stream_type), (b"X-Accel-Buffering", b"no")]
            return Reply(status=answer.status, headers=headers, body=body, reason=answer.reason)
        whole = put(translation, answer.status, b"".join([data async for data in body]))
        return whole_reply(answer.status, [*headers, (b"Content-Type", translation.whole_type)], whole)

    async def _ask(self, run: BackendRun) -> None:
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
                log.info("%s: asking a fresh engine: %s", order.backend.spec.name, error)
            else:
                self._body = _gone
                self.trouble = None
                order.sent()
                return
            self._lease.__exit__()
            try:
                self._lease = self._enter()
            except ModelNotFound:  # removed meanwhile: that is not what went wrong
                raise error from None
            run = await self._lease.run(order.backend.spec.queue_timeout)

    async def _explain(self, gone: Disconnected) -> Error:
        """Why the engine hung up."""
        assert self._run is not None
        self.trouble = error = await self._order.backend.explain(self._run, gone)
        return error

    async def _was_cut_off(self) -> Error | None:
        """Whether an answer that ended by closing did so because its engine died."""
        assert self._run is not None
        self.trouble = await self._run.died_of(CUT_OFF_PATIENCE)
        return self.trouble

    def _body_of(self, answer: Answer) -> AsyncIterator[bytes]:
        """The rest of the answer, as the client gets it; what is no stream has yet to be translated."""
        body = self._relayed = AnswerBody(answer, self._explain, self._was_cut_off)
        if not answer.streams:
            return body
        if self._order.translation is None:
            return EventsBody(body, self._broken)
        self._relayed = translated = TranslatedBody(body, self._order.translation, self._broken)
        return translated

    def _broken(self, error: Error) -> bytes:
        """A stream's rest can't be had: what its client is told instead."""
        self.trouble = error
        log.info("%s: stream broken: %s", self._order.backend.spec.name, error)
        return self._order.dialect.error_event(error)

    async def _late(self) -> AsyncGenerator[bytes, None]:
        """Signs of life until the model is there, then the answer; errors can only be events now."""
        order = self._order
        try:
            run: BackendRun | None = None
            while run is None:
                waited = format_seconds(self._lease.waited)
                yield order.dialect.sign_of_life(f"loading {order.backend.spec.name} {waited}")
                with trio.move_on_after(self._comments):
                    run = await self._lease.run(order.backend.spec.queue_timeout)
            if order.instead is not None:
                async for data in order.instead.body:
                    yield data
                return
            await self._ask(run)
            assert self._answer is not None
            body = self._body_of(self._answer)
            if self._answer.streams:
                async for data in body:
                    yield data
            else:  # an error of the engine's own: the head has gone out, so its body becomes an event
                whole = b"".join([data async for data in body])
                if order.translation is not None:
                    whole = put(order.translation, self._answer.status, whole)
                yield order.dialect.refusal_event(whole)
        except Error as error:
            self.trouble = error
            yield order.dialect.error_event(error)
