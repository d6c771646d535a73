"""An engine's answer on its way to the client: its bytes as they arrive, and an error if the rest is lost.

Iterators, not generators: for a small answer a generator costs about as much as reading the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from ..engines.connection import Disconnected
from ..engines.pool import Answer
from ..errors import EngineBadAnswer, Error
from .ending import Ending


class AnswerBody(AsyncIterator[bytes]):
    """The answer, unchanged.

    If the rest is lost this raises, and the front end cuts the connection, so that the client sees a truncated body.
    """

    def __init__(
        self,
        answer: Answer,
        explain: Callable[[Disconnected | EngineBadAnswer], Awaitable[Error]],
        was_cut_off: Callable[[], Awaitable[Error | None]],
    ) -> None:
        """`explain` says why an engine hung up, or who says what is no answer; `was_cut_off` whether a connection
        closed because it crashed.
        """
        self._answer = answer
        self._ending = Ending(answer.headers) if answer.streams or answer.head.unframed else None
        self._explain = explain
        self._was_cut_off = was_cut_off

    @property
    def whole(self) -> bool:
        """Whether the answer is complete by its own account; clients may leave then, and many do."""
        return self._ending is not None and self._ending.reached

    @property
    def unfinished(self) -> bool:
        """Whether it can't be complete, by what has come so far: see `Ending`."""
        return self._ending is not None and self._ending.unfinished

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes. Raises Error if there are more, but they are lost."""
        answer, ending = self._answer, self._ending
        try:
            data = await answer.body()
        except Disconnected as gone:
            if ending is not None and ending.reached:
                raise StopAsyncIteration from None  # only the final frame is missing, and no content
            raise await self._explain(gone) from None
        except EngineBadAnswer as bad:
            raise await self._explain(bad) from None
        if data:
            if ending is not None:
                ending.saw(data)
            return data
        if (
            answer.ended_by_closing
            and not (ending is not None and ending.reached)
            and (error := await self._was_cut_off())
        ):
            raise error
        raise StopAsyncIteration


class EventsBody(AsyncIterator[bytes]):
    """A stream of events, unchanged. If the rest is lost, one more event says why."""

    def __init__(self, body: AnswerBody, broken: Callable[[Error], bytes]) -> None:
        """`broken` words the event for an error."""
        self._body = body
        self._tell = broken
        self._tail = b""
        self._broken = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Return the next bytes."""
        if self._broken:
            raise StopAsyncIteration
        try:
            data = await anext(self._body)
        except Error as error:
            self._broken = True
            return (b"" if self._tail == b"\n\n" else b"\n\n") + self._tell(error)
        self._tail = (self._tail + data)[-2:]
        return data
