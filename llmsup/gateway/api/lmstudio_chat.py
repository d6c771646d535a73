"""LM Studio's `/api/v1/chat`: requests for it as engines want them. Its answers are in `lmstudio_chat_answers`.

Chats go on from the id of an answer. What it calls integrations (tools that the server runs) is not here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...config.sampling import PARAMETERS
from ...engines.http import Buffer
from ...errors import BadRequest, MethodNotImplemented
from ..body import JsonBody, written
from ..outline import plainly
from .lmstudio_turns import MOST_OF_ONE, PREFIX, Turn, Turns

TURNS = Turns()
"""Of this process."""

_SAMPLERS = ("temperature", "top_p", "top_k", "min_p", "repeat_penalty")
_REASONING = ("off", "low", "medium", "high", "on")


class _Item(msgspec.Struct):
    type: str
    content: msgspec.Raw = msgspec.Raw(b"")
    data_url: msgspec.Raw = msgspec.Raw(b"")


_ITEMS = msgspec.json.Decoder(list[_Item])


def chat(body: JsonBody) -> JsonBody:
    """The engine's request. Raises BadRequest, MethodNotImplemented."""
    if body.raw("integrations") not in (None, b"null", b"[]"):
        raise MethodNotImplemented(
            "llmsup runs no tools: `integrations` can't be used.",
            hint="Leave it out, or use POST /v1/chat/completions with `tools`, and run them yourself.",
            param="integrations",
        )
    body.flag("store", default=True)
    turn, before = turn_of(body), previous(body)
    system = [b'{"role":"system","content":%s}' % turn.system] if turn.system else []
    said = b",".join([*system, *(each.said for each in before), turn.said])
    members: dict[str, Buffer] = {"model": body.raw("model") or b'""', "messages": b"[%s]" % said, **_settings(body)}
    if body.flag("stream", default=False):
        members |= {"stream": b"true", "stream_options": b'{"include_usage":true}', "return_progress": b"true"}
    return JsonBody.of(members)


def previous(body: JsonBody) -> list[Turn]:
    """The turns that a request goes on from. Raises BadRequest."""
    name = body.get("previous_response_id")
    if name is None:
        return []
    if not isinstance(name, str) or not name.startswith(PREFIX):
        text = f'`previous_response_id` must be the `response_id` of an answer, "{PREFIX}…", not {written(name)}.'
        raise BadRequest(text, param="previous_response_id")
    return TURNS.until(name)


def turn_of(body: JsonBody) -> Turn:
    """A request's part of its turn. Raises BadRequest."""
    before = previous(body)
    system = body.get("system_prompt")
    if not isinstance(system, str | None):
        raise BadRequest(f"`system_prompt` must be a string, not {written(system)}.", param="system_prompt")
    inherited = before[-1].system if before else b""
    name = body.get("previous_response_id") if before else ""
    said = b'{"role":"user","content":%s}' % _content(body)
    return Turn(name, msgspec.json.encode(system) if system else inherited, said)


def is_kept(body: JsonBody) -> bool:
    """Whether its turn is to be kept. One with large images isn't: a few would push out all others'."""
    return body.flag("store", default=True) and len(body.raw("input") or b"") <= MOST_OF_ONE


def _content(body: JsonBody) -> bytes:
    raw = bytes(body.raw("input") or b"null")
    if raw[:1] == b'"' and raw != b'""':
        return raw
    if raw[:1] != b"[":
        raise BadRequest("`input` must be a text, or a list of texts and images.", param="input")
    try:
        items = _ITEMS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"`input` can't be understood: {plainly(error)}.", param="input") from None
    if not items:
        raise BadRequest("`input` is empty.", param="input")
    return b"[%s]" % b",".join(map(_part, items))


def _part(item: _Item) -> bytes:
    text, url = bytes(item.content), bytes(item.data_url)
    if item.type in ("message", "text") and text[:1] == b'"':
        return b'{"type":"text","text":%s}' % text
    if item.type == "image" and url.startswith(b'"data:'):
        return b'{"type":"image_url","image_url":{"url":%s}}' % url
    raise BadRequest(
        'An item of `input` must be {"type": "message", "content": "…"} or {"type": "image", "data_url": "data:…"}.',
        param="input",
    )


def _settings(body: JsonBody) -> dict[str, Buffer]:
    """How it shall be answered: how boldly, how long, with how much thought."""
    out: dict[str, Any] = {}
    for name in _SAMPLERS:
        value = body.get(name)
        if value is None:
            continue
        try:
            PARAMETERS[name].check(value)
        except ValueError as error:
            raise BadRequest(f"`{name}`: {error}.", param=name) from None
        out[name] = value
    most = body.get("max_output_tokens")
    if most is not None:
        if type(most) is not int or not 0 < most < 2**31:
            text = f"`max_output_tokens` must be a number of tokens, not {written(most)}."
            raise BadRequest(text, param="max_output_tokens")
        out |= {"max_tokens": most, "n_predict": most}
    reasoning = body.get("reasoning")
    if reasoning is not None:
        if reasoning not in _REASONING:
            words = ", ".join(f'"{word}"' for word in _REASONING)
            raise BadRequest(f"`reasoning` must be one of {words}, not {written(reasoning)}.", param="reasoning")
        effort = {} if reasoning in ("on", "off") else {"reasoning_effort": reasoning}
        out["chat_template_kwargs"] = {"enable_thinking": reasoning != "off", **effort}
    return {name: msgspec.json.encode(value) for name, value in out.items()}
