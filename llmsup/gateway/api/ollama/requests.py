"""Ollama's requests as engines want them."""

from __future__ import annotations

import msgspec

from ....engines.http import Buffer
from ....errors import BadRequest
from ....units import Seconds
from ...body import JsonBody, written
from ...keeping import wanted_keep
from ...message import Reply
from . import options
from .dialect import json_reply, stamp
from .messages import chat_messages, is_empty, must_be_text, prompt_messages


def streams(body: JsonBody) -> bool:
    """Unless it says otherwise, an answer is a stream. Raises BadRequest."""
    return body.flag("stream", default=True)


def never_streams(_body: JsonBody) -> bool:
    """Of embeddings there is no stream."""
    return False


def is_raw(body: JsonBody) -> bool:
    """Whether a prompt goes to the model as it is, without a template. Raises BadRequest."""
    return body.flag("raw", default=False)


def chat(body: JsonBody) -> JsonBody | Reply:
    """`/api/chat`; without messages it only wants the model loaded. Raises BadRequest."""
    if is_empty(body, "messages"):
        return _loaded(body, {"message": {"role": "assistant", "content": ""}})
    options.refuse_what_cannot_be(body, "template")
    members = {"messages": chat_messages(body), **_answered(body)}
    members |= options.response_format(body) | options.thinking(body)
    tools = body.raw("tools")
    if tools is not None and not is_empty(body, "tools"):
        if bytes(tools[:1]) != b"[":
            raise BadRequest("`tools` must be a list of tools.", param="tools")
        members["tools"] = tools
    return JsonBody.of(members | _likelihoods(body))


def generate(body: JsonBody) -> JsonBody | Reply:
    """`/api/generate`; without a prompt it only wants the model loaded. Raises BadRequest."""
    if is_empty(body, "prompt") and is_empty(body, "images"):
        return _loaded(body, {"response": ""})
    options.refuse_what_cannot_be(body, *options.CANNOT)
    for name in ("prompt", "system", "suffix"):
        must_be_text(body, name)
    raw, fills = is_raw(body), not is_empty(body, "suffix")
    if not raw and not fills:
        members = {"messages": prompt_messages(body), **_answered(body), **_likelihoods(body)}
        return JsonBody.of(members | options.response_format(body) | options.thinking(body))
    for name in ("system", "images"):
        if not is_empty(body, name):
            what = "a prompt with `suffix`" if fills else "`raw`"
            raise BadRequest(f"`{name}` needs the model's template, which {what} leaves out.", param=name)
    members, schema, prompt = _answered(body), options.wanted_format(body), body.raw("prompt") or b'""'
    if schema is not None:
        members["json_schema"] = msgspec.json.encode(schema or {"type": "object"})
    if fills:
        return JsonBody.of(members | {"input_prefix": prompt, "input_suffix": body.raw("suffix") or b'""'})
    if top := options.likelihoods(body):
        members["logprobs"] = b"%d" % top
    return JsonBody.of(members | {"prompt": prompt})


def generate_target(body: JsonBody) -> str:
    """Where a prompt goes. Raises BadRequest."""
    if not is_empty(body, "suffix"):
        return "/infill"
    return "/v1/completions" if is_raw(body) else "/v1/chat/completions"


def embed(body: JsonBody) -> JsonBody | Reply:
    """`/api/embed`: one text or many."""
    if is_empty(body, "input"):
        return json_reply({"model": named(body), "embeddings": []})
    dimensions = wanted_dimensions(body)
    wanted = {"dimensions": b"%d" % dimensions} if dimensions else {}
    return JsonBody.of(_input(body, "input", many=True) | wanted)


def embeddings(body: JsonBody) -> JsonBody | Reply:
    """`/api/embeddings`, the older one: one text."""
    if is_empty(body, "prompt"):
        return json_reply({"embedding": []})
    return JsonBody.of(_input(body, "prompt", many=False))


def wanted_dimensions(body: JsonBody) -> int:
    """How many numbers each vector shall have at most; 0: all. Raises BadRequest."""
    wanted = body.get("dimensions")
    if wanted is None:
        return 0
    if type(wanted) is not int or not 0 <= wanted < 2**31:
        said = wanted if type(wanted) is int and abs(wanted) < 2**63 else written(wanted)
        raise BadRequest(f"`dimensions` must be a whole number from 0 on, not {said}.", param="dimensions")
    return wanted


def named(body: JsonBody) -> str:
    """The model as the client calls it: answers repeat that."""
    return str(body.get("model") or "")


def _input(body: JsonBody, name: str, *, many: bool) -> dict[str, Buffer]:
    options.samplers(body)  # which there are none of; but what is wrong in a request is told
    body.flag("truncate", default=True)
    must_be_text(body, name, many=many)
    return {**_addressed(body), "input": body.raw(name) or b'""', "encoding_format": b'"float"'}


def _likelihoods(body: JsonBody) -> dict[str, Buffer]:
    """As chats have them."""
    top = options.likelihoods(body)
    return {"logprobs": b"true", "top_logprobs": b"%d" % top} if top else {}


def _addressed(body: JsonBody) -> dict[str, Buffer]:
    """As the client has it: an engine that isn't llama.cpp may want to read it."""
    model = body.raw("model")
    return {} if model is None else {"model": model}


def _answered(body: JsonBody) -> dict[str, Buffer]:
    """How it shall be answered: at once or bit by bit, how long, how bold."""
    members = _addressed(body) | options.samplers(body)
    if streams(body):
        members |= {"stream": b"true", "stream_options": b'{"include_usage":true}'}
    return members


def _loaded(body: JsonBody, said: dict[str, object]) -> Reply:
    reason = "unload" if wanted_keep(body) == Seconds(0) else "load"
    return json_reply({"model": named(body), "created_at": stamp(), **said, "done": True, "done_reason": reason})
