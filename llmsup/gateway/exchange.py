"""One request: it waits for its model, goes to the engine, and the answer's bytes come back."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial

import trio

from ..catalog.name_parts import printable
from ..engines.connection import Disconnected
from ..engines.http import HeaderLines, Headers, Payload
from ..engines.pool import Answer
from ..errors import EngineBadAnswer, EngineDied, Error, ModelNotFound, PeerFailed
from ..fleet.backend import Backend, BackendLease, BackendRun, Trail
from ..fleet.fleet import Fleet
from ..units import NEVER, Seconds, format_seconds
from .answer_body import AnswerBody, EventsBody
from .api.dialect import Dialect, Translation
from .api.llama_cpp import check_slots
from .api.openai import OPENAI
from .capture import Captured
from .message import Reply, Whole, for_client, reply_again, switching, whole_reply
from .metering import Meter, MeteredBody
from .prompts.watch import Trace
from .translated import OF_BODY, TranslatedBody, put
from .tunnel import relay

log = logging.getLogger(__name__)

REDIRECTS = 300
"""The first status that sends a client elsewhere."""

CUT_OFF_PATIENCE = 5.0
"""Seconds to wait for the news that an engine has died, when its answer just ended: that is seen before the exit is."""


def _nothing() -> None:
    pass


def _as_it_is(error: Error) -> Error:
    return error


def _gone(_run: BackendRun) -> Payload:
    raise RuntimeError("the body has been sent, and is no longer there")


class Order:
    """What a client wants from an engine. Most want nothing unusual, so only what differs is set.

    Attributes:
        backend: What serves it.
        target: Path and query, as they are sent to the engine.
        dialect: The API that words whatever doesn't come from the engine.
        translation: Translates the engine's answer for the client; None to pass it on unchanged.
        prepare: Replaces what makes the body, with the help of the engine; None for nothing.
        instead: A reply to give once the model is loaded, instead of asking its engine.
        looks: Whether to ask the model only if it is loaded, and not to keep it loaded for this.
        loads: Whether the model may be loaded for it; else it is refused unless the model is loaded.
        sent: Called when an engine has answered and the body is no longer needed.
        streaming: Whether the client asked for a stream.
        ttl: How long the client wants the model kept, in seconds.
        client: Identifies the client, for sharing fairly.
        meter: Counts the answer's tokens; None: nobody wants to know.
        keep: What replaces the model's ttl from this request on, in seconds; None for nothing.
        told: Words an error for the client, which may not know of every model.
        prompt: What its prompt has in common with earlier ones; None: it isn't looked at.
        by_path: Whether the model was named in front of the path, so that `target` is an engine's own.
        trail: Where the request has come from, and has been; None unless its backend wants to know.
        captured: Gets what is asked and answered; None: that isn't kept.
    """

    dialect: Dialect = OPENAI
    translation: Translation | None = None
    prepare: Callable[[BackendRun], Awaitable[Callable[[BackendRun], Payload]]] | None = None
    instead: Reply | None = None
    looks: bool = False
    loads: bool = True
    streaming: bool = False
    ttl: Seconds = Seconds(0)
    keep: Seconds | None = None
    client: str = ""
    meter: Meter | None = None
    prompt: Trace | None = None
    by_path: bool = False
    trail: Trail | None = None
    captured: Captured | None = None
    sent: Callable[[], None] = staticmethod(_nothing)
    told: Callable[[Error], Error] = staticmethod(_as_it_is)

    def __init__(self, backend: Backend, method: str, target: bytes, headers: HeaderLines) -> None:
        self.backend = backend
        self.method = method
        self.target = target
        self.headers = headers


class Exchange:
    """One request and its lease, which begins at once; its creator must `close` it in every case.

    Attributes:
        trouble: Why the rest of the answer was lost, even if an event has told the client.
        waited: Seconds that it waited for its model; None while it does.
    """

    trouble: Error | None = None
    waited: float | None = 0.0
    _relayed: AnswerBody | TranslatedBody | None = None
    _answer: Answer | None = None
    _run: BackendRun | None = None
    _listener: Meter | None = None  # for the engine, if that wants to know
    _last_try = False
    _read: AnswerBody | None = None  # the engine's, before it is translated

    def __init__(
        self, fleet: Fleet, order: Order, body: Callable[[BackendRun], Payload], loading_comments: Seconds
    ) -> None:
        """`body` makes the body for an engine, which may lack something that the body must then say."""
        self._fleet = fleet
        self._order = order
        self._body = body
        self._comments = loading_comments if order.streaming and order.dialect.gives_signs else NEVER
        self._lease: BackendLease = self._enter()

    def _enter(self) -> BackendLease:
        order = self._order
        if order.looks:
            return self._fleet.look(order.backend)
        if not order.loads:
            self._fleet.look(order.backend).__exit__()  # raises if it isn't loaded
        return self._fleet.enter(order.backend, order.ttl, order.client, order.trail)

    @property
    def where(self) -> str:
        """Which peer has, or had, the request; "" for an engine here, or none yet."""
        return "" if self._run is None else self._run.where

    @property
    def whole(self) -> bool:
        """Whether the answer is complete by its own account; clients may leave then, and many do."""
        return self.trouble is None and self._relayed is not None and self._relayed.whole

    async def close(self) -> None:
        """Close the engine's connection, or keep it for another request, and end the lease. Works in a cancelled
        task.
        """
        try:
            self._tell_engine()
            if self._answer is not None:
                await self._answer.close()
        finally:
            self._lease.__exit__()

    def close_at_once(self) -> bool:
        """As `close`, if the engine's connection is kept; else returns False, and `close` must be called."""
        if self._answer is None or not self._answer.end():
            return False
        self._tell_engine()
        self._lease.__exit__()
        return True

    def _tell_engine(self) -> None:
        """Tell the engine what the answer says about its prompt, if it wants to know."""
        if self._listener is not None and self._run is not None and (prompt := self._listener.prompt) is not None:
            self._listener = None
            self._run.answered(*prompt)

    def forget(self) -> None:
        """Let go of the body, which knows this exchange: else each request would leave a dozen objects to the garbage
        collector, whose runs took a twentieth of a busy server's time. Nothing may be asked of it any more.
        """
        self._relayed = self._read = None

    async def reply(self) -> Reply:
        """Return the reply: the engine's, or a stream that begins with signs of life if the model takes long to load.

        Raises:
            Error: There will be no answer.
        """
        order, answer = self._order, None
        while answer is None:
            run = self._lease.served_by
            if run is None:
                self.waited = None
                with trio.move_on_after(self._comments):
                    run = await self._lease.run(order.backend.spec.queue_timeout)
                    self.waited = self._lease.waited
            if run is None:
                return Reply(status=200, headers=order.dialect.stream_headers, body=self._late())
            if order.keep is not None:
                self._keep(run)
            if order.instead is not None:
                return order.instead
            answer = await self._ask(run)
        head = answer.head
        if (again := head.again) is not None and order.translation is None and not head.streams:
            data = answer.whole()
            if (meter := self._meter()) is not None:
                meter.saw(data)
            return reply_again(head, again, Whole(data))
        headers, tunnel = for_client(answer.headers), None
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
        """Translate the answer for the client: a stream event by event, anything else as a whole."""
        headers = [header for header in headers if header[0].lower() not in OF_BODY]
        body = self._body_of(answer)
        if answer.streams:
            headers += [(b"Content-Type", translation.stream_type), (b"X-Accel-Buffering", b"no")]
            return Reply(status=answer.status, headers=headers, body=body, reason=answer.reason)
        whole = put(translation, answer.status, b"".join([data async for data in body]))
        return whole_reply(answer.status, [*headers, (b"Content-Type", translation.whole_type)], whole)

    async def _ask(self, run: BackendRun) -> Answer | None:
        """Send the request. None: what served it was lost before the first byte, or refused it; a new lease has begun,
        on a fresh engine or another server, which is the last try.
        """
        order = self._order
        self._run = run
        if run.keeps_slots:
            check_slots(order.target)
        target, headers = (order.target, order.headers) if not run.where else self._directed(run)
        try:
            if order.prepare is not None and not run.where:
                self._body = await order.prepare(run)
            body = self._body(run)
            if order.captured is not None:
                order.captured.asked(body)
            answer = await run.pool.request(order.method, target, headers, body)
        except (Disconnected, EngineBadAnswer) as broken:
            self._try_again(run, await self._unless_last(broken))
            return None
        if run.where and (error := self._sent_elsewhere(run, answer)) is not None:
            await answer.close()
            self.trouble = error
            if self._last_try or not self._lease.others:
                raise error
            self._try_again(run, error)
            return None
        if run.where and run.refuses(answer.status) and not self._last_try and self._lease.others:
            await answer.close()
            self._try_again(run, PeerFailed(f"{run.where} answered with status {answer.status}."))
            return None
        self._answer = answer
        self._body, order.prepare = _gone, None
        self.trouble = None
        order.sent()
        return answer

    def _sent_elsewhere(self, run: BackendRun, answer: Answer) -> Error | None:
        """Return the error if a peer redirects what isn't only a look: the client can't follow, as a rule, and would
        leave the peer's key behind.
        """
        if not REDIRECTS <= answer.status < REDIRECTS + 100 or self._order.method in ("GET", "HEAD"):
            return None
        location = next((value for name, value in answer.headers if name.lower() == b"location"), b"")
        where = printable(location[:200].decode("latin-1")) or "it does not say where"
        return run.broke(
            f"it sends elsewhere, with status {answer.status}", f"it sends elsewhere ({where}): put that into 'url'"
        )

    def _directed(self, run: BackendRun) -> tuple[bytes, HeaderLines]:
        """Path and headers for a peer."""
        order = self._order
        via = () if order.trail is None else order.trail.via
        return run.directed(order.target, order.headers, via, by_path=order.by_path)

    async def _unless_last(self, broken: Disconnected | EngineBadAnswer) -> Error:
        """Return why a try has failed. Raises it if it was the last, or a byte has been said, or nobody else can be
        asked.
        """
        began = False
        error: Error
        if isinstance(broken, Disconnected):
            began, error = broken.began, await self._explain(broken)
        else:
            error = await self._explain(broken)
        if self._last_try or began or not (isinstance(error, EngineDied) or self._lease.others):
            # Two engines have died of this request: don't let it kill a third automatically.
            twice = self._last_try and isinstance(error, EngineDied)
            raise (error.again(lasting=True) if twice else error) from None
        return error

    def _try_again(self, run: BackendRun, error: Error) -> None:
        """Begin the last try, after one that has failed with this error. Raises Error if there can be none."""
        other = "another server" if self._lease.others else "a fresh engine"
        log.info("%s: asking %s: %s", self._order.backend.spec.name, other, error)
        self._last_try = True
        if self._order.trail is not None:
            self._order.trail.failed[run.where] = error
        self._lease.__exit__()
        try:
            self._lease = self._enter()
        except ModelNotFound:  # removed meanwhile, but that is not the cause
            raise error from None

    def _keep(self, run: BackendRun) -> None:
        """Say how long to keep what serves now; before this request ends, so that it counts for it already."""
        if self._order.keep is not None and not run.where:
            self._order.backend.keep(self._order.keep)

    async def _explain(self, gone: Disconnected | EngineBadAnswer) -> Error:
        """Why the engine hung up, or whose answer is none."""
        assert self._run is not None
        if isinstance(gone, EngineBadAnswer):
            self.trouble = gone
            if self._run.where:
                said = gone.message.rstrip(".").replace("The engine's answer", "its answer", 1)
                self.trouble = self._run.broke(f"{said[:1].lower()}{said[1:]}".replace("the engine's", "its"))
            return self.trouble
        self.trouble = error = await self._order.backend.explain(self._run, gone)
        return error

    async def _was_cut_off(self) -> Error | None:
        """Return the error if an answer ended with a closed connection because its engine died."""
        assert self._run is not None
        self.trouble = await self._run.died_of(CUT_OFF_PATIENCE)
        if self.trouble is None and self._run.where and self._read is not None and self._read.unfinished:
            # An engine here that ends so has died; of a peer that goes on, what is behind it may have.
            self.trouble = self._run.broke("it closed its connection before the end of a stream")
        return self.trouble

    def _body_of(self, answer: Answer) -> AsyncIterator[bytes]:
        """Return the rest of the answer, translated if it is a stream; anything else has yet to be."""
        meter = self._meter()
        if meter is None:
            body = AnswerBody(answer, self._explain, self._was_cut_off)
        else:
            meter.streams = answer.streams
            body = MeteredBody(answer, self._explain, self._was_cut_off, meter)
        self._relayed = self._read = body
        if not answer.streams:
            return body
        if self._order.translation is None:
            return EventsBody(body, self._broken)
        self._relayed = translated = TranslatedBody(body, self._order.translation, self._broken)
        return translated

    def _meter(self) -> Meter | None:
        """What reads the answer as it passes, for the gateway or for the engine; None: nobody wants to know."""
        if self._listener is None and self._run is not None and self._run.listens:
            self._listener = self._order.meter or Meter(trio.current_time)
        return self._listener or self._order.meter

    def _broken(self, error: Error) -> bytes:
        """Word an event for a client that has lost the rest of a stream."""
        self.trouble = error
        log.info("%s: stream broken: %s", self._order.backend.spec.name, error)
        return self._order.dialect.error_event(self._order.told(error))

    async def _late(self) -> AsyncGenerator[bytes, None]:
        """Yield signs of life until the model is loaded, then the answer; errors can only be events by then."""
        order = self._order
        try:
            answer: Answer | None = None
            while answer is None:
                run = self._lease.served_by
                while run is None:
                    doing = self._lease.awaits or f"loading {order.backend.spec.name}"
                    yield order.dialect.sign_of_life(f"{doing} {format_seconds(self._lease.waited)}")
                    with trio.move_on_after(self._comments):
                        run = await self._lease.run(order.backend.spec.queue_timeout)
                self.waited = self._lease.waited
                self._keep(run)
                if order.instead is not None:
                    async for data in order.instead.body:
                        yield data
                    return
                answer = await self._ask(run)
            body = self._body_of(answer)
            if answer.streams:
                async for data in body:
                    yield data
            else:  # the engine's error: the head is already sent, so its body becomes an event
                whole = b"".join([data async for data in body])
                if order.translation is not None:
                    whole = put(order.translation, answer.status, whole)
                yield order.dialect.refusal_event(whole)
        except Error as error:
            self.trouble = error
            yield order.dialect.error_event(order.told(error))
