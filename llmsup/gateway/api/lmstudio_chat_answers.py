"""Answers of LM Studio's `/api/v1/chat`: what was thought and said, as a whole or in events that have names.

Texts are passed on as the engine wrote them, without being decoded.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
import trio

from ...errors import Error
from ..body import JsonBody
from .lmstudio_answers import LmStudio, Passed
from .lmstudio_chat import TURNS, is_kept, turn_of
from .lmstudio_turns import Turn, new_name

_EMPTY = (b"", b"null", b'""')


class _Text(msgspec.Struct):
    content: msgspec.Raw = msgspec.Raw(b"")
    reasoning_content: msgspec.Raw = msgspec.Raw(b"")


class _Choice(msgspec.Struct):
    delta: _Text | None = None
    message: _Text | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Timings(msgspec.Struct):
    prompt_ms: float | None = None
    predicted_per_second: float | None = None


class _Progress(msgspec.Struct):
    total: int = 0
    processed: int = 0


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    timings: _Timings | None = None
    prompt_progress: _Progress | None = None
    error: Any = None


_ANSWERS = msgspec.json.Decoder(_Answer)


class LmStudioChat(LmStudio):
    """In streams, its errors are events of that name."""

    under = ()

    def error_event(self, error: Error) -> bytes:
        return _event("error", **self.error(error))

    def refusal_event(self, body: bytes) -> bytes:
        return _event("error", **msgspec.json.decode(body))


LMSTUDIO_CHAT = LmStudioChat()


class Chatted(Passed):
    """One answer."""

    def __init__(self, body: JsonBody) -> None:
        super().__init__(body)
        self._asked_as = str(body.get("model") or "")
        self._turn: Turn | None = turn_of(body) if is_kept(body) else None
        self._began = trio.current_time()
        self._phase = ""
        self._said: list[tuple[str, list[bytes]]] = []
        self._usage = _Usage()
        self._timings = _Timings()

    def event(self, data: bytes) -> bytes:
        answer = _ANSWERS.decode(data)
        if answer.error is not None:
            refused = msgspec.json.decode(self.refusal(HTTPStatus.INTERNAL_SERVER_ERROR, data))
            return self._begin() + _event("error", **refused)
        self._count(answer)
        out = [self._begin()]
        if (progress := answer.prompt_progress) is not None and progress.total and self._phase == "prompt_processing":
            out.append(_event("prompt_processing.progress", progress=min(progress.processed / progress.total, 1)))
        text = (answer.choices[0].delta if answer.choices else None) or _Text()
        for kind, raw in (("reasoning", bytes(text.reasoning_content)), ("message", bytes(text.content))):
            if raw not in _EMPTY:
                out += [self._turn_to(kind), _delta(kind, raw)]
                self._said[-1][1].append(raw)
        return b"".join(out)

    def end(self) -> bytes:
        return self._begin() + self._turn_to("") + _event("chat.end", result=self._result())

    def whole(self, body: bytes) -> bytes:
        answer = _ANSWERS.decode(body)
        self._count(answer)
        text = answer.choices[0].message or _Text()
        for kind, raw in (("reasoning", bytes(text.reasoning_content)), ("message", bytes(text.content))):
            if raw not in _EMPTY:
                self._said.append((kind, [raw]))
        return msgspec.json.encode(self._result())

    def _begin(self) -> bytes:
        if self._phase or self._said:
            return b""
        return _event("chat.start", model_instance_id=self._asked_as) + self._turn_to("prompt_processing")

    def _turn_to(self, phase: str) -> bytes:
        """End what it was at, and begin with something else; "" is nothing."""
        if phase == self._phase:
            return b""
        ended = _event(f"{self._phase}.end") if self._phase else b""
        self._phase = phase
        if phase in ("reasoning", "message"):
            self._said.append((phase, []))
        return ended + (_event(f"{phase}.start") if phase else b"")

    def _count(self, answer: _Answer) -> None:
        self._usage = answer.usage or self._usage
        self._timings = answer.timings or self._timings

    def _result(self) -> dict[str, Any]:
        texts = [(kind, b'"%s"' % b"".join(raw[1:-1] for raw in raws)) for kind, raws in self._said]
        result: dict[str, Any] = {
            "model_instance_id": self._asked_as,
            "output": [{"type": kind, "content": msgspec.Raw(text)} for kind, text in texts],
            "stats": self._stats(texts),
        }
        if self._turn is not None:
            said = b'{"role":"assistant","content":"%s"}' % b"".join(t[1:-1] for kind, t in texts if kind == "message")
            result["response_id"] = name = new_name()
            TURNS.add(name, Turn(self._turn.before, self._turn.system, self._turn.said + b"," + said))
        return result

    def _stats(self, texts: list[tuple[str, bytes]]) -> dict[str, Any]:
        """Engines don't tell how many of the tokens were thoughts: that is estimated by length."""
        total = self._usage.completion_tokens
        sizes = {kind: sum(len(text) - 2 for of, text in texts if of == kind) for kind in ("reasoning", "message")}
        share = sizes["reasoning"] / (sum(sizes.values()) or 1)
        stats: dict[str, Any] = {
            "input_tokens": self._usage.prompt_tokens,
            "total_output_tokens": total,
            "reasoning_output_tokens": round(total * share),
        }
        if self._timings.predicted_per_second is not None:
            stats["tokens_per_second"] = self._timings.predicted_per_second
        if self._timings.prompt_ms is not None:
            stats["time_to_first_token_seconds"] = self._timings.prompt_ms / 1000
        run = self.model.run if self.model else None
        if self.model and run and run.loaded_at is not None and run.loaded_at > self._began:
            stats["model_load_time_seconds"] = round(self.model.load_seconds or 0, 3)
        return stats


def _event(name: str, **members: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode({"type": name, **members}))


def _delta(kind: str, text: bytes) -> bytes:
    name = kind.encode()
    return b'event: %s.delta\ndata: {"type":"%s.delta","content":%s}\n\n' % (name, name, text)
