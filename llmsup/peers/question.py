"""Our questions to a peer, and its answers: bounded in time and size, and never believed to be what they should be."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import msgspec
import trio
from attrs import field, frozen

from ..catalog.name_parts import printable
from ..engines.connection import Disconnected
from ..engines.pool import ConnectionPool
from ..errors import EngineBadAnswer
from ..units import Seconds
from .address import Door
from .via import VIA

TIMEOUT = Seconds(5)
"""How long a peer may take to answer a question, the connection included."""

LARGEST = 8 * 1024**2
"""Bytes that an answer may have: thousands of models."""

_LONGEST = 200
"""Characters of a peer's words that are repeated."""


class NoAnswer(Exception):
    """A peer has not answered, or not to the question; the message is a clause for people, about "it".

    Attributes:
        awake: Its machine has done something, so that waking it would not help.
    """

    def __init__(self, reason: str, *, awake: bool = False) -> None:
        super().__init__(reason)
        self.awake = awake


class Odd(NoAnswer):
    """It has answered, but not what is asked for."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, awake=True)


class Busy(NoAnswer):
    """It has not answered in time, but said something else meanwhile: it is at work."""


class Refused(Odd):
    """It answers, but not to us: it wants a key, or one that may ask this."""


@frozen
class Said:
    """A whole answer.

    Attributes:
        path: What was asked.
        headers: Its headers, by name in lower case.
    """

    path: str
    status: int
    headers: Mapping[bytes, bytes] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Return what it says. Raises Odd: it isn't JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Odd(f"its answer to {self.path} is not JSON") from None

    def checked(self) -> Said:
        """Return itself if it is an answer to the question.

        Raises:
            Refused: The key isn't good for it.
            Odd: Its status says that something is wrong.
        """
        if self.status in (401, 403):
            raise Refused("it wants a key, or another one than the 'key' in its table")
        if 300 <= self.status < 400:
            where = shown(self.headers.get(b"location", b"").decode("latin-1"))
            raise Odd(f"it sends elsewhere ({where or 'it does not say where'}): put that address into 'url'")
        if not 200 <= self.status < 300:
            raise Odd(f"it answers {self.path} with status {self.status}{self._words()}")
        return self

    def _words(self) -> str:
        try:
            said = msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return ""
        error = said.get("error") if isinstance(said, dict) else None
        words = error.get("message") if isinstance(error, dict) else error
        # A clause, as all this is: what comes behind it has an end of its own.
        return f": {shown(words).rstrip('.?! ')}" if isinstance(words, str) and words else ""


@frozen
class Questions:
    """What a peer is asked on.

    Attributes:
        via: The identity of this llmsup.
        took: Seconds that each answer has taken so far, since this was made.
    """

    pool: ConnectionPool = field(repr=False)
    door: Door | None = field(repr=False)
    via: str
    took: list[float] = field(factory=list)

    async def get(self, path: str) -> Said:
        """Ask, and return the answer, whatever its status.

        Raises:
            NoAnswer: There was none; Busy: not in time; Odd: it is too large.
            OutOfResources: We ourselves can't ask.
        """
        began = trio.current_time()
        try:
            with trio.fail_after(TIMEOUT):
                return await self._get(path)
        except trio.TooSlowError:
            if self.pool.heard > began:
                raise Busy(f"it has not answered within {TIMEOUT:g} s, but goes on with requests") from None
            raise NoAnswer(f"it has not answered within {TIMEOUT:g} s") from None
        except Disconnected as error:
            if isinstance(error.__cause__, OSError):
                awake = isinstance(error.__cause__, ssl.SSLError)
                raise NoAnswer(await self._why(error.__cause__), awake=awake) from None
            raise NoAnswer("it hung up instead of answering", awake=True) from None
        except EngineBadAnswer:
            raise NoAnswer("what it says is not HTTP", awake=True) from None

    async def json(self, path: str) -> Any:
        """Ask for JSON. Raises as `get`, `Said.checked` and `Said.json` do."""
        return (await self.get(path)).checked().json()

    async def _get(self, path: str) -> Said:
        began = trio.current_time()
        answer = await self.pool.request("GET", path.encode(), [(VIA, self.via.encode()), (b"accept", b"*/*")], b"")
        try:
            body = bytearray()
            while part := await answer.body():
                body += part
                if len(body) > LARGEST:
                    raise Odd(f"its answer to {path} is larger than {LARGEST // 1024**2} MiB")
        finally:
            await answer.close()
        self.took.append(trio.current_time() - began)
        return Said(path, answer.status, {name.lower(): value for name, value in answer.headers}, bytes(body))

    async def _why(self, error: OSError) -> str:
        return str(error) if self.door is None else await self.door.why(error)


def shown(text: str) -> str:
    """Return words of a peer's in a form that can be shown: printable, and not long."""
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    return printable(text)
