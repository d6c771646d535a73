"""Engines' answers in Ollama's words. What a token says is passed on as it is written, without being decoded."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import msgspec

from ...body import JsonBody
from ..dialect import Translation
from .calls import Call, Calls
from .dialect import stamp
from .messages import is_empty
from .requests import named

_EMPTY = (b"null", b'""')
_NS = 1_000_000
"""Nanoseconds, in which Ollama counts, of a millisecond, in which llama.cpp does."""


class _Said(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")
    reasoning_content: msgspec.Raw = msgspec.Raw(b"null")
    tool_calls: list[Call] | None = None


class _Logprobs(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"null")


class _Choice(msgspec.Struct):
    delta: _Said | None = None
    message: _Said | None = None
    text: msgspec.Raw = msgspec.Raw(b"")
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class Usage(msgspec.Struct):
    """What llama.cpp and others count."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Timings(msgspec.Struct):
    prompt_n: int = 0
    prompt_ms: float = 0
    predicted_n: int = 0
    predicted_ms: float = 0


class _Answer(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: Usage | None = None
    timings: _Timings | None = None
    error: msgspec.Raw = msgspec.Raw(b"")


_ANSWERS = msgspec.json.Decoder(_Answer)
_NOTHING = _Said()


def refused(body: bytes) -> bytes:
    """An engine's error: its message alone. Raises ValueError, LookupError, TypeError: there is none in it."""
    error = msgspec.json.decode(body)["error"]
    return msgspec.json.encode({"error": error if isinstance(error, str) else error["message"]})


class Generated(Translation):
    """The answer to a prompt."""

    whole_type: ClassVar[bytes] = b"application/json; charset=utf-8"

    def __init__(self, body: JsonBody) -> None:
        self._began = time.perf_counter_ns()
        self._model = msgspec.json.encode(named(body))
        self._reason = "stop"
        self._usage: Usage | None = None
        self._timings: _Timings | None = None
        self._calls = Calls()
        self._failed = False

    def event(self, data: bytes) -> bytes:
        answer = _ANSWERS.decode(data)
        if bytes(answer.error):  # the engine's own last word, instead of the rest
            self._failed = True
            return refused(data) + b"\n"
        if answer.choices is None:
            raise ValueError("no choices")
        self._count(answer)
        if not answer.choices:
            return b""
        choice = answer.choices[0]
        said = choice.delta or _NOTHING
        self._calls.add(said.tool_calls)
        text, thought = bytes(choice.text) or bytes(said.content), bytes(said.reasoning_content)
        calls = self._calls.done(cut=self._reason == "length") if choice.finish_reason else b""
        if text in _EMPTY and thought in _EMPTY and not calls:
            return b""
        return self._line(text, thought, calls) + _likely(choice) + b',"done":false}\n'

    def end(self) -> bytes:
        return b"" if self._failed else self._line(b'""', b"null", b"") + self._last() + b"\n"

    def whole(self, body: bytes) -> bytes:
        answer = _ANSWERS.decode(body)
        self._count(answer)
        if not answer.choices:
            raise ValueError("no choices")
        choice = answer.choices[0]
        said = choice.message or _NOTHING
        self._calls.add(said.tool_calls)
        text, thought = bytes(choice.text) or bytes(said.content), bytes(said.reasoning_content)
        calls = self._calls.done(cut=self._reason == "length")
        return self._line(text, thought, calls) + _likely(choice) + self._last()

    def refusal(self, _status: int, body: bytes) -> bytes:
        return refused(body)

    def _line(self, text: bytes, thought: bytes, calls: bytes) -> bytes:
        """An object without its end; `calls` is b"" for none."""
        return b'{"model":%s,"created_at":"%s",%s' % (
            self._model,
            stamp().encode(),
            self._members(b'""' if text == b"null" else text, thought, calls),
        )

    def _members(self, text: bytes, thought: bytes, _calls: bytes) -> bytes:
        return b'"response":%s' % text + _thinking(thought)

    def _count(self, answer: _Answer) -> None:
        self._usage = answer.usage or self._usage
        self._timings = answer.timings or self._timings
        if answer.choices and answer.choices[0].finish_reason:
            self._reason = "length" if answer.choices[0].finish_reason == "length" else "stop"

    def _last(self) -> bytes:
        """The end of the last object. Of llama.cpp's numbers those that are not there are left out, as other engines
        have none. What was neither the prompt's time nor the tokens' was spent on getting there.
        """
        total = time.perf_counter_ns() - self._began
        numbers: dict[str, Any] = {"total_duration": total}
        usage, timings = self._usage, self._timings
        if timings is not None:
            prompt, tokens = round(timings.prompt_ms * _NS), round(timings.predicted_ms * _NS)
            numbers["load_duration"] = max(0, total - prompt - tokens)
            numbers["prompt_eval_count"] = usage.prompt_tokens if usage else timings.prompt_n
            numbers["prompt_eval_duration"] = prompt
            numbers["eval_count"] = usage.completion_tokens if usage else timings.predicted_n
            numbers["eval_duration"] = tokens
        elif usage is not None:
            numbers |= {"prompt_eval_count": usage.prompt_tokens, "eval_count": usage.completion_tokens}
        rest = msgspec.json.encode({"done": True, "done_reason": self._reason, **numbers})
        return b"," + rest[1:]


class Chatted(Generated):
    """The answer in a chat."""

    def _members(self, text: bytes, thought: bytes, calls: bytes) -> bytes:
        called = b',"tool_calls":' + calls if calls else b""
        return b'"message":{"role":"assistant","content":%s%s%s}' % (text, _thinking(thought), called)


class Filled(Generated):
    """The answer to a prompt with a suffix, which llama.cpp gives at a path of its own, in words of its own."""

    def event(self, data: bytes) -> bytes:
        filled = self._told(data)
        text = bytes(filled.content)
        return b"" if text in _EMPTY else self._line(text, b"null", b"") + b',"done":false}\n'

    def whole(self, body: bytes) -> bytes:
        filled = self._told(body)
        return self._line(bytes(filled.content), b"null", b"") + self._last()

    def _told(self, data: bytes) -> _Filled:
        filled = _FILLED.decode(data)
        self._timings = filled.timings or self._timings
        if filled.stop:
            self._reason = "length" if filled.stop_type == "limit" else "stop"
            self._usage = Usage(filled.tokens_evaluated, filled.tokens_predicted)
        return filled


class _Filled(msgspec.Struct):
    content: msgspec.Raw
    stop: bool = False
    stop_type: str = ""
    tokens_evaluated: int = 0
    tokens_predicted: int = 0
    timings: _Timings | None = None


_FILLED = msgspec.json.Decoder(_Filled)


def generated(body: JsonBody) -> Translation:
    """The translation for a prompt, with a suffix or without."""
    return Generated(body) if is_empty(body, "suffix") else Filled(body)


def _likely(choice: _Choice) -> bytes:
    """How likely its tokens were: the two APIs have the same shape there."""
    if choice.logprobs is None or bytes(choice.logprobs.content) in (b"null", b"[]"):
        return b""
    return b',"logprobs":' + choice.logprobs.content


def _thinking(thought: bytes) -> bytes:
    return b"" if thought in _EMPTY else b',"thinking":' + thought
