"""Answers in LM Studio's words: what it adds to OpenAI's, and its errors.

It does not know which paths there are.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any, ClassVar

import msgspec

from ...catalog.described import quantisation
from ...errors import Error, ModelNotFound
from ..body import JsonBody
from .dialect import Dialect, Translation, error_object
from .lmstudio_models import architecture, file_format

STOP_REASONS = {"stop": "eosFound", "length": "maxPredictedTokensReached", "tool_calls": "toolCalls"}
"""Of OpenAI's finish_reason. That is "stop" for a stop string, too: no engine tells one from the other there."""

_GOES_ON = re.compile(rb'"finish_reason":\s*null')
"""In an event, but for the last ones. It can't stand in a text, where its quotes would be escaped."""


class LmStudio(Dialect):
    """Its types of errors are few; `code` is a word of ours, as everywhere."""

    under: ClassVar[tuple[str, ...]] = ("/api/v0", "/api/v1")

    def error(self, error: Error) -> dict[str, object]:
        shape = error_object(error)
        assert isinstance(shape["error"], dict)
        shape["error"]["type"] = "model_not_found" if isinstance(error, ModelNotFound) else error_type(error.status)
        if error.param is None:
            del shape["error"]["param"]
        return shape


LMSTUDIO = LmStudio()


def error_type(status: int) -> str:
    """Its word for an error of that status."""
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return "not_implemented"
    return "invalid_request" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "internal_error"


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Said(msgspec.Struct):
    """What is read of an answer, or of an event."""

    choices: list[_Choice] = []
    timings: Any = None
    system_fingerprint: str | None = None
    error: Any = None


_SAID = msgspec.json.Decoder(_Said)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Passed(Translation):
    """An answer that is the engine's own, but for its errors."""

    stream_type = b"text/event-stream"

    def __init__(self, _body: JsonBody) -> None:
        pass

    def event(self, data: bytes) -> bytes:
        return _framed(data)

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def whole(self, body: bytes) -> bytes:
        return body

    def refusal(self, status: int, body: bytes) -> bytes:
        """llama.cpp's type is a code here, where that is a word; the rest stays."""
        error = msgspec.json.decode(body)["error"]
        if isinstance(error, str):
            error = {"message": error}
        code = error.get("type") if not isinstance(error.get("code"), str) else error["code"]
        return msgspec.json.encode({"error": {**error, "type": error_type(status), "code": code}})


class Generated(Passed):
    """With how fast it went, on what: beside the rest of a whole answer, and in the last event of a stream. Which one
    that is shows when the stream ends; so those that may be are kept until then, which is when nothing else is to come.
    """

    def __init__(self, body: JsonBody) -> None:
        super().__init__(body)
        self._kept = b""
        self._finish: str | None = None

    def event(self, data: bytes) -> bytes:
        if _GOES_ON.search(data):
            return self._let_go() + _framed(data)
        said = _SAID.decode(data)
        if said.error is not None:
            return self._let_go() + _framed(self.refusal(HTTPStatus.INTERNAL_SERVER_ERROR, data))
        finish = _finish(said)
        if said.choices and finish is None:
            return self._let_go() + _framed(data)
        self._finish = finish or self._finish
        before, self._kept = self._let_go(), data
        return before

    def end(self) -> bytes:
        last, self._kept = self._kept and _framed(self._with_more(self._kept)), b""
        return last + super().end()

    def whole(self, body: bytes) -> bytes:
        return self._with_more(body)

    def _let_go(self) -> bytes:
        kept, self._kept = self._kept, b""
        return kept and _framed(kept)

    def _with_more(self, body: bytes) -> bytes:
        """An answer's or event's members as they lie, and LM Studio's."""
        said = _SAID.decode(body)
        finish = _finish(said) or self._finish
        stats = _times(said.timings)
        stats["stop_reason"] = STOP_REASONS.get(finish or "", finish)
        more: dict[str, object] = {"stats": stats}
        if (model := self.model) is None:  # what is elsewhere says it itself, if it can
            return msgspec.json.encode({**_MEMBERS.decode(body), **more})
        entry, engine = model.served, model.run.engine if model.run else None
        more |= {
            "model_info": {
                "arch": architecture(entry),
                "quant": quantisation(entry) or None,
                "format": file_format(entry),
                "context_length": model.context,
            },
            "runtime": {
                "name": engine.launch.engine if engine else None,
                "version": said.system_fingerprint,
                "supported_formats": [file_format(entry)] if entry.found else [],
            },
        }
        return msgspec.json.encode({**_MEMBERS.decode(body), **more})


def _times(timings: Any) -> dict[str, object]:
    """In seconds, from llama-server's milliseconds. Engines that tell none get none."""
    if not isinstance(timings, dict):
        return {}
    named = (
        ("tokens_per_second", "predicted_per_second", 1),
        ("time_to_first_token", "prompt_ms", 1000),
        ("generation_time", "predicted_ms", 1000),
    )
    return {name: timings[of] / per for name, of, per in named if isinstance(timings.get(of), int | float)}


def _finish(said: _Said) -> str | None:
    return next((choice.finish_reason for choice in said.choices if choice.finish_reason), None)


def _framed(data: bytes) -> bytes:
    return b"data: %s\n\n" % (data.replace(b"\n", b"\ndata: ") if b"\n" in data else data)
