"""How many tokens a request took, as its engine reports them; only the answer's beginning and end are looked at.

Engines report that at the end of an answer or a stream, or before its vectors; Anthropic's streams have a part at both
ends. What isn't reported is not estimated.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from ..engines.connection import Disconnected
from ..engines.pool import Answer
from ..errors import Error
from .answer_body import AnswerBody

HEAD = 2048
TAIL = 4096
"""Bytes to look at. llama-server's last event, with its timings and its usage, has some 700."""

_COUNT = re.compile(rb'"(\w+)"\s*:\s*(\d{1,12})(?![\d.])')
"""A member with a number. No text in an answer can look like one: in a string, quotation marks are escaped."""

_THOUGHT = re.compile(rb'"(?:reasoning_content|thinking)"\s*:\s*"')
_TOOK = re.compile(rb'"prompt_ms"\s*:\s*(\d{1,9}(?:\.\d{1,9})?)')
"""Milliseconds."""


class Meter:
    """Reads one answer."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""

    def saw(self, data: bytes) -> None:
        """Note the answer's next bytes."""
        if len(self._head) < HEAD:
            self._head += data[: HEAD - len(self._head)]
        self._tail = (self._tail + data)[-TAIL:]

    def _told(self) -> dict[bytes, int]:
        return {name: int(count) for name, count in _COUNT.findall(self._head + b"\n" + self._tail)}

    @property
    def cached(self) -> int | None:
        """How many tokens of the prompt the engine had in its cache; None if the answer doesn't tell."""
        told = self._told()
        return next(
            (told[name] for name in (b"cache_n", b"cached_tokens", b"cache_read_input_tokens") if name in told), None
        )

    @property
    def thought(self) -> bool:
        """Whether the answer begins with reasoning."""
        return _THOUGHT.search(self._head) is not None

    @property
    def prompt(self) -> tuple[int, int, float | None] | None:
        """How many tokens of the prompt were computed, how many were cached, and the seconds that computing took, if
        llama-server's timings tell; None if the answer doesn't tell.
        """
        told = self._told()
        if b"prompt_n" not in told or b"cache_n" not in told:
            return None
        took = _TOOK.findall(self._tail)
        return told[b"prompt_n"], told[b"cache_n"], float(took[-1]) / 1000 if took else None

    @property
    def tokens(self) -> tuple[int, int] | None:
        """How many tokens came in and went out; None if the answer doesn't tell."""
        told = self._told()
        if b"prompt_tokens" in told:  # OpenAI's; an embedding has no others
            return told[b"prompt_tokens"], told.get(b"completion_tokens", 0)
        if b"input_tokens" in told and b"output_tokens" in told:  # Anthropic's, and OpenAI's responses
            cached = (b"cache_read_input_tokens", b"cache_creation_input_tokens")
            return told[b"input_tokens"] + sum(told.get(name, 0) for name in cached), told[b"output_tokens"]
        if b"prompt_n" in told and b"predicted_n" in told:  # llama.cpp's timings
            return told[b"prompt_n"] + told.get(b"cache_n", 0), told[b"predicted_n"]
        return None


class MeteredBody(AnswerBody):
    """An answer that is read by a meter as it passes."""

    def __init__(
        self,
        answer: Answer,
        explain: Callable[[Disconnected], Awaitable[Error]],
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
