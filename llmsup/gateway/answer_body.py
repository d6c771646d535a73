"""An engine's answer on its way to the client: its bytes as they come, and what is said where the rest can't be had.

Iterators, not generators: a generator costs a small answer about as much as reading it does. They don't know why an
engine hung up (`exchange`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self

from ..engines.connection import Disconnected
from ..engines.pool import Answer
from ..errors import Error
from .ending import Ending


class AnswerBody(AsyncIterator[bytes]):
    """The answer as it is. If the rest can't be had this raises, and the front end cuts the connection: the client sees
    that the body is short.
    """

    def __init__(
        self,
        answer: Answer,
        explain: Callable[[Disconnected], Awaitable[Error]],
        was_cut_off: Callable[[], Awaitable[Error | None]],
    ) -> None:
        """`explain` says why an engine hung up, `was_cut_off` whether it died where its end is the answer's, too."""
        self._answer = answer
        self._ending = Ending(answer.headers) if answer.streams or answer.unframed else None
        self._explain = explain
        self._was_cut_off = was_cut_off

    @property
    def whole(self) -> bool:
        """The answer has said that nothing more will come: clients may leave then, and many do."""
        return self._ending is not None and self._ending.reached

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes. Raises Error: there are more, but they can't be had."""
        answer, ending = self._answer, self._ending
        try:
            data = await answer.body()
        except Disconnected as gone:
            if ending is not None and ending.reached:
                raise StopAsyncIteration from None  # the last frame is missing, but nothing of what was said
            raise await self._explain(gone) from None
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
    """A stream of events as it is. If the rest can't be had, one more event says why."""

    def __init__(self, body: AnswerBody, broken: Callable[[Error], bytes]) -> None:
        """`broken` is told why, and words the event."""
        self._body = body
        self._tell = broken
        self._tail = b""
        self._broken = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """The next bytes."""
        if self._broken:
            raise StopAsyncIteration
        try:
            data = await anext(self._body)
        except Error as error:
            self._broken = True
            return (b"" if self._tail == b"\n\n" else b"\n\n") + self._tell(error)
        self._tail = (self._tail + data)[-2:]
        return data
