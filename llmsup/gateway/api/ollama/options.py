"""What a request says besides its text: `options`, `format`, `think`, and what can't be done per request."""

from __future__ import annotations

from typing import Any

import msgspec

from ....catalog.ollama.params import LARGEST_CONTEXT, NAMES, whole
from ....config.sampling import PARAMETERS
from ....engines.http import Buffer
from ....errors import BadRequest
from ...body import JsonBody, written
from .messages import is_empty

CANNOT = {
    "template": "an engine has one chat template, the GGUF's own, for as long as it runs. "
    "Leave `template` out, or apply it yourself and send the result as `prompt` with `raw` true.",
    "context": "engines remember by text, not by tokens. Send the conversation as messages to POST /api/chat.",
}
"""Members that ask for what llama-server can't do for one request, and what can be done."""

_MOST_LOGPROBS = 20

_EFFORTS = ("low", "medium", "high")


def refuse_what_cannot_be(body: JsonBody, *names: str) -> None:
    """Raises BadRequest: the body asks for one of `CANNOT`; an empty value asks for nothing."""
    for name in names:
        if not is_empty(body, name):
            raise BadRequest(f"`{name}` can't be followed: {CANNOT[name]}", param=name)


def samplers(body: JsonBody) -> dict[str, Buffer]:
    """`options` in llama.cpp's words. What concerns the loading of a model (`num_ctx`, `num_gpu` ...) is no reason to
    load it anew, and is passed over, as what nobody knows is by Ollama.

    Raises:
        BadRequest: One is of a wrong type or out of its range.
    """
    options = _options(body)
    out: dict[str, Any] = {}
    for theirs, ours in NAMES.items():
        value = options.get(theirs)
        if value is None:
            continue
        if theirs == "stop" and isinstance(value, str):
            value = [value]
        if int in PARAMETERS[ours].types:
            value = whole(value)
        if theirs == "num_predict" and type(value) is int and value < 0:
            value = -1  # -2, as much as the context holds, is where llama.cpp ends by itself
        try:
            PARAMETERS[ours].check(value)
        except ValueError as error:
            raise BadRequest(f"`options.{theirs}`: {error}.", param=f"options.{theirs}") from None
        out[ours] = value
    if "n_predict" in out:
        out["max_tokens"] = out["n_predict"]  # engines that aren't llama.cpp know this one alone
    return {name: msgspec.json.encode(value) for name, value in out.items()}


def wanted_context(body: JsonBody) -> int:
    """`options.num_ctx` in tokens; 0 if it isn't there. Raises BadRequest."""
    wanted = whole((_options(body)).get("num_ctx"))
    if wanted is None:
        return 0
    if type(wanted) is not int or not 0 < wanted <= LARGEST_CONTEXT:
        text = f"`options.num_ctx` must be a number of tokens, not {written(wanted)}."
        raise BadRequest(text, param="options.num_ctx")
    return wanted


def wanted_format(body: JsonBody) -> Any:
    """The JSON schema that an answer shall follow: {} for any object, None for none. Raises BadRequest."""
    wanted = body.get("format")
    if wanted in (None, ""):
        return None
    if wanted == "json":
        return {}
    if isinstance(wanted, dict):
        return wanted
    raise BadRequest(f'`format` must be "json" or a JSON schema, not {written(wanted)}.', param="format")


def response_format(body: JsonBody) -> dict[str, Buffer]:
    """`format` as chats have it."""
    schema = wanted_format(body)
    if schema is None:
        return {}
    kind = {"type": "json_schema", "json_schema": {"name": "format", "schema": schema}}
    return {"response_format": msgspec.json.encode(kind if schema else {"type": "json_object"})}


def likelihoods(body: JsonBody) -> int:
    """For how many tokens `logprobs` are wanted in each place; 0: none are. llama-server tells none of the token itself
    if it isn't asked for at least one. Raises BadRequest.
    """
    wanted, top = body.flag("logprobs", default=False), whole(body.get("top_logprobs"))
    if top is not None and (type(top) is not int or not 0 <= top <= _MOST_LOGPROBS):
        text = f"`top_logprobs` must be a number from 0 to {_MOST_LOGPROBS}, not {written(top)}."
        raise BadRequest(text, param="top_logprobs")
    return max(1, top or 0) if wanted else 0


def thinking(body: JsonBody) -> dict[str, Buffer]:
    """`think` for the chat template. Raises BadRequest."""
    think = body.get("think")
    if think in (None, ""):
        return {}
    if isinstance(think, bool):
        return {"chat_template_kwargs": b'{"enable_thinking":%s}' % (b"true" if think else b"false")}
    if think in _EFFORTS:
        return {"chat_template_kwargs": b'{"enable_thinking":true,"reasoning_effort":"%s"}' % think.encode()}
    efforts = ", ".join(f'"{effort}"' for effort in _EFFORTS)
    raise BadRequest(f"`think` must be true, false or one of {efforts}, not {written(think)}.", param="think")


def _options(body: JsonBody) -> dict[str, Any]:
    options = body.get("options")
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise BadRequest(f"`options` must be an object, not {written(options)}.", param="options")
    return options
