"""How many tokens a request took and how fast they came; only the answer's beginning and end are looked at.

Engines report that at the end of an answer or a stream, or before its vectors; Anthropic's streams have a part at both
ends. What isn't reported is not estimated.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from attrs import frozen

from ..engines.connection import Disconnected
from ..engines.pool import Answer
from ..errors import EngineBadAnswer, Error
from .answer_body import AnswerBody

HEAD = 2048
TAIL = 4096
"""Bytes to look at. llama-server's last event, with its timings and its usage, has some 700."""

_COUNT = re.compile(rb'"(\w+)"\s*:\s*(\d{1,12})(?![\d.])')
"""A member with a number. No text in an answer can look like one: in a string, quotation marks are escaped."""

_THOUGHT = re.compile(rb'"(?:reasoning_content|thinking)"\s*:\s*"')
_TIMED = re.compile(rb'"(prompt_n|cache_n|prompt_ms)"\s*:\s*(\d{1,12}(?:\.\d{1,9})?)')
"""What llama.cpp's timings say of a prompt: tokens that were computed, tokens that were not, milliseconds."""

_GENERATING = re.compile(rb'"predicted_ms"\s*:\s*(\d{1,12}(?:\.\d{1,12})?)(?![\d.])')
"""How long llama.cpp says that it generated, in milliseconds."""


@frozen
class Counts:
    """What an answer tells of itself; None where it doesn't.

    Attributes:
        tokens_in: Tokens of the prompt.
        cached: How many of these the engine had in its cache.
        tokens_out: Tokens of the answer.
        generating: Seconds that they took, without the prompt's.
        thought: Whether the answer begins with reasoning; it always tells that.
        prompt: How many tokens of the prompt were computed, how many were cached, and the seconds that computing took,
            if llama-server's timings tell.
    """

    tokens_in: int | None = None
    cached: int | None = None
    tokens_out: int | None = None
    generating: float | None = None
    thought: bool = False
    prompt: tuple[int, int, float | None] | None = None


class Meter:
    """Reads one answer.

    Attributes:
        first: When its first bytes came, by the clock given; None: none has.
        streams: Whether it is a stream, so that the first bytes are the first token.
    """

    __slots__ = ("_counts", "_head", "_now", "_tail", "first", "streams")

    def __init__(self, now: Callable[[], float]) -> None:
        self.first: float | None = None
        self.streams = False
        self._now = now
        self._head = b""
        self._tail = b""
        self._counts: Counts | None = None

    def saw(self, data: bytes) -> None:
        """Note the answer's next bytes."""
        if self.first is None and data[:1] != b":":  # which begins a comment, to keep the connection alive
            self.first = self._now()
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
        self._tail = (self._tail + data)[-TAIL:]

    def counts(self) -> Counts:
        """What the whole answer tells: to be asked for when it is over, by whichever thread; it is read then, once."""
        if self._counts is None:
            counts = self._read()
            if self._counts is None:  # else another thread has been faster, and the bytes may be gone
                self._counts = counts
            self._head = self._tail = b""  # a thousand meters may be kept
        return self._counts

    def _read(self) -> Counts:
        seen = self._head + b"\n" + self._tail
        told = {name: int(count) for name, count in _COUNT.findall(seen)}
        tokens_in, tokens_out = _tokens(told)
        cached = next(
            (told[name] for name in (b"cache_n", b"cached_tokens", b"cache_read_input_tokens") if name in told), None
        )
        spent = _GENERATING.findall(seen)
        generating = float(spent[-1]) / 1000 if spent else None
        thought = _THOUGHT.search(self._head) is not None
        return Counts(tokens_in, cached, tokens_out, generating, thought, self._prompt())

    def _prompt(self) -> tuple[int, int, float | None] | None:
        if (at := self._tail.rfind(b'"timings"')) < 0:
            return None
        told = dict(_TIMED.findall(self._tail, at))
        if b"prompt_n" not in told or b"cache_n" not in told:
            return None
        took = told.get(b"prompt_ms")
        return int(told[b"prompt_n"]), int(told[b"cache_n"]), None if took is None else float(took) / 1000

    @property
    def cached(self) -> int | None:
        """How many tokens of the prompt the engine had in its cache; None if the answer doesn't tell."""
        return self.counts().cached

    @property
    def thought(self) -> bool:
        """Whether the answer begins with reasoning."""
        return self.counts().thought

    @property
    def prompt(self) -> tuple[int, int, float | None] | None:
        """What the engine computed of the prompt, as in `Counts`; read by itself: each answer is asked for it."""
        return self._prompt() if self._counts is None else self._counts.prompt

    @property
    def tokens(self) -> tuple[int, int] | None:
        """How many tokens came in and went out; None if the answer doesn't tell."""
        counts = self.counts()
        return None if counts.tokens_in is None else (counts.tokens_in, counts.tokens_out or 0)


def _tokens(told: dict[bytes, int]) -> tuple[int, int] | tuple[None, None]:
    if b"prompt_tokens" in told:  # OpenAI's; an embedding has no others
        return told[b"prompt_tokens"], told.get(b"completion_tokens", 0)
    if b"input_tokens" in told and b"output_tokens" in told:  # Anthropic's, and OpenAI's responses
        cached = (b"cache_read_input_tokens", b"cache_creation_input_tokens")
        return told[b"input_tokens"] + sum(told.get(name, 0) for name in cached), told[b"output_tokens"]
    if b"prompt_n" in told and b"predicted_n" in told:  # llama.cpp's timings
        return told[b"prompt_n"] + told.get(b"cache_n", 0), told[b"predicted_n"]
    return None, None


class MeteredBody(AnswerBody):
    """An answer that is read by a meter as it passes."""

    def __init__(
        self,
        answer: Answer,
        explain: Callable[[Disconnected | EngineBadAnswer], Awaitable[Error]],
        was_cut_off: Callable[[], Awaitable[Error | None]],
        meter: Meter,
    ) -> None:
        super().__init__(answer, explain, was_cut_off)
        self._meter = meter

    async def __anext__(self) -> bytes:
        """Return the next bytes. Raises Error if there are more, but they are lost."""
        data = await super().__anext__()
        self._meter.saw(data)
        return data
