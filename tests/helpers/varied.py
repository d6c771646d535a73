"""Requests of every sort for a llama-server: each path that it routes, streamed or not, and bad ones.

All are cheap: a few tokens at most. Which answers are right is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import Factory, evolve, frozen

HI = [{"role": "user", "content": "Say hi."}]
MODEL = "chat"
EMBEDDER = "embed"

GRAMMAR = 'root ::= "yes" | "no"'
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "look", "description": "Look.", "parameters": SCHEMA}}
CLAUDE_TOOL = {"name": "look", "description": "Look.", "input_schema": SCHEMA}
RESPONSES_TOOL = {"type": "function", "name": "look", "description": "Look.", "parameters": SCHEMA}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}

CHAT = ("/v1/chat/completions", "/chat/completions")
TEXT = ("/v1/completions", "/completion", "/completions")
RESPONSES = ("/v1/responses", "/responses")


@frozen
class Request:
    """One request.

    Attributes:
        about: What is special about it.
        body: As it is sent; b"" for none.
    """

    method: str
    path: str
    body: bytes = b""
    about: str = ""
    headers: Mapping[str, str] = Factory(dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path} ({self.about or 'plain'})"


JSON = {"Content-Type": "application/json"}


def post(path: str, about: str, **members: Any) -> Request:
    """A JSON body that names the model, and leaves nothing to chance."""
    data = json.dumps({"model": MODEL, "seed": 1, "temperature": 0, **members}).encode()
    return Request("POST", path, data, about, JSON)


def raw(path: str, about: str, body: bytes, kind: str = "application/json") -> Request:
    """A body of any bytes."""
    return Request("POST", path, body, about, {"Content-Type": kind} if kind else {})


SAMPLING: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "streamed": {"stream": True},
    "a stop": {"stop": ["a", "e"]},
    "top_k by name": {"samplers": ["top_k", "temperature"], "top_k": 3},
    "grammar": {"grammar": GRAMMAR},
    "a bias": {"logit_bias": {"42": -100, "43": 5}},
    "a biased string, streamed": {"logit_bias": [["the", False]], "stream": True},
    "timings with each token": {"timings_per_token": True, "stream": True},
    "progress": {"return_progress": True, "stream": True},
    "min_p, typical, sigma": {"min_p": 0.1, "typical_p": 0.9, "top_n_sigma": 1.5},
    "everything null": dict.fromkeys(("stream", "stop", "top_k", "top_p", "min_p", "n", "grammar", "tools")),
    "unknown members": {"frobnicate": {"a": [1, 2, {"b": None}]}, "user": "me", "metadata": {}},
    "no cache": {"cache_prompt": False},
    "an unusual seed": {"seed": 2**31 - 1},
    "a seed beyond 32 bits": {"seed": 2**40},
}
"""What can be asked of every path that samples."""

BAD_SAMPLING: Mapping[str, Mapping[str, Any]] = {
    "stream is a word": {"stream": "yes"},
    "stream is a number": {"stream": 1},
    "temperature is a word": {"temperature": "hot"},
    "top_k is a list": {"top_k": [1]},
    "huge top_k": {"top_k": 10**30},
    "seed is a word": {"seed": "x"},
    "a broken grammar": {"grammar": "root ::= ("},
    "samplers are numbers": {"samplers": 7},
    "a negative n": {"n": -1},
    "n is a word": {"n": "two"},
    "stop is a number": {"stop": 5},
    "a bias of nonsense": {"logit_bias": "none"},
    "a broken grammar, streamed": {"grammar": "root ::= (", "stream": True},
}


def chats() -> Iterator[Request]:
    """OpenAI's chat."""
    few = {"max_tokens": 3}
    for about, members in (*SAMPLING.items(), *BAD_SAMPLING.items()):
        yield post(CHAT[0], about, messages=HI, **few, **members)
    more: Mapping[str, Mapping[str, Any]] = {
        "usage in the stream": {"stream": True, "stream_options": {"include_usage": True}},
        "logprobs": {"logprobs": True, "top_logprobs": 2},
        "logprobs, streamed": {"logprobs": True, "top_logprobs": 2, "stream": True},
        "top_logprobs alone": {"top_logprobs": 2},
        "a schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
        "an object": {"response_format": {"type": "json_object"}, "stream": True},
        "a format that is none": {"response_format": {"type": "xml"}},
        "a format of nonsense": {"response_format": 3},
        "tools": {"tools": [TOOL]},
        "tools, streamed": {"tools": [TOOL], "stream": True},
        "a tool that must be used": {"tools": [TOOL], "tool_choice": "required", "max_tokens": 4},
        "tools that are none": {"tools": "hammer"},
        "tool_choice of nonsense": {"tools": [TOOL], "tool_choice": 9},
        "template arguments": {"chat_template_kwargs": {"enable_thinking": False}},
        "template arguments of nonsense": {"chat_template_kwargs": "no"},
        "max_completion_tokens": {"max_completion_tokens": 2},
        "no tokens": {"max_tokens": 0},
        "max_tokens is a word": {"max_tokens": "many"},
        "max_tokens is a fraction": {"max_tokens": 1.5},
        "two answers": {"n": 2},
        "grammar and tools": {"grammar": GRAMMAR, "tools": [TOOL]},
        "thinking": {"reasoning_format": "auto", "reasoning_effort": "low"},
        "a wrong thinking": {"reasoning_format": "loud"},
    }
    for about, members in more.items():
        yield post(CHAT[0], about, messages=HI, **{**few, **members})
    for about, messages in MESSAGES.items():
        yield post(CHAT[0], about, messages=messages, **few)
        if about in ("system", "no list", "too long"):
            yield post(CHAT[0], f"{about}, streamed", messages=messages, **few, stream=True)
    yield post(CHAT[0], "no messages at all", **few)
    yield post(CHAT[1], "plain", messages=HI, **few)
    yield post(CHAT[1], "streamed", messages=HI, **few, stream=True)
    yield post(CHAT[1], "no messages at all", **few)
    yield post(f"{CHAT[0]}?beta=true&x=%20y", "a query", messages=HI, **few)

    for about, headers in FRAMED.items():
        yield evolve(post(CHAT[0], about, messages=HI, **few), headers={**JSON, **headers})
        streamed = post(CHAT[0], f"{about}, streamed", messages=HI, **few, stream=True)
        yield evolve(streamed, headers={**JSON, **headers})


FRAMED: Mapping[str, Mapping[str, str]] = {
    "in chunks": {"Transfer-Encoding": "chunked"},
    "announced": {"Expect": "100-continue"},
    "to be closed": {"Connection": "close"},
    "one that wants it packed": {"Accept-Encoding": "gzip, deflate, br"},
    "one that wants events": {"Accept": "text/event-stream"},
    "from a page": {"Origin": "http://localhost:3000"},
    "with a key": {"Authorization": "Bearer sk-none", "X-Api-Key": "none"},
}

MESSAGES: Mapping[str, Any] = {
    "system": [{"role": "system", "content": "Be brief."}, *HI],
    "a conversation": [*HI, {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "Again."}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "Say"}, {"type": "text", "text": "hi."}]}],
    "unicode": [{"role": "user", "content": "Grüße, 你好, مرحبا, 👩‍👩‍👧 \u0000 \u2028"}],
    "a tool's answer": [*HI, {"role": "tool", "tool_call_id": "1", "content": "42"}],
    "an assistant to go on": [*HI, {"role": "assistant", "content": "Hello"}],
    "no list": "hello",
    "an empty object": {},
    "numbers": [1, 2],
    "no role": [{"content": "hi"}],
    "content is a number": [{"role": "user", "content": 5}],
    "content is null": [{"role": "user", "content": None}],
    "a part of nonsense": [{"role": "user", "content": [{"type": "smell"}]}],
    "an image": [{"role": "user", "content": [{"type": "text", "text": "What?"}, IMAGE]}],
    "too long": [{"role": "user", "content": "one two three " * 400}],
}


def texts() -> Iterator[Request]:
    """Completions: OpenAI's, and llama.cpp's own."""
    for path in TEXT[:2]:
        length = "max_tokens" if path.startswith("/v1") else "n_predict"
        few = {"prompt": "Once upon", length: 3}
        for about, members in (*SAMPLING.items(), *BAD_SAMPLING.items()):
            yield post(path, about, **few, **members)
        for about, prompt in PROMPTS.items():
            yield post(path, about, **{**few, "prompt": prompt})
        yield post(path, "no prompt", **{length: 3})
        yield post(path, "probabilities", **few, n_probs=2, logprobs=2)
        yield post(path, "probabilities, streamed", **few, n_probs=2, stream=True)
        yield post(path, "echo and suffix", **few, echo=True, suffix="x")
    few = {"prompt": "Once upon", "n_predict": 2}
    yield post(TEXT[2], "plain", **few)
    yield post(TEXT[2], "streamed", **few, stream=True)
    yield post(TEXT[1], "tokens returned", **few, return_tokens=True)
    yield post(TEXT[1], "chosen members", **few, response_fields=["content", "tokens_predicted"])
    yield post(TEXT[1], "a slot that isn't there", **few, id_slot=99)
    yield post("/infill", "plain", input_prefix="a", input_suffix="b", n_predict=2)
    yield post("/infill", "nothing", n_predict=2)


PROMPTS: Mapping[str, Any] = {
    "an empty prompt": "",
    "tokens": [1, 2, 3],
    "text and tokens": ["Once", 7],
    "several prompts": ["Once", "Twice"],
    "an object": {"prompt": 1},
    "a number": 5,
    "a token that isn't there": [10**6],
    "unicode": "Grüße 你好 👩‍👩‍👧",
}


def others() -> Iterator[Request]:
    """Responses, Anthropic's messages, vectors, tokens, templates, settings."""
    for path in RESPONSES:
        yield post(path, "plain", input="Say hi.", max_output_tokens=3)
    path = RESPONSES[0]
    yield post(path, "streamed", input="Say hi.", max_output_tokens=3, stream=True)
    yield post(path, "a list", input=[{"role": "user", "content": "hi"}], max_output_tokens=3, instructions="Be kind.")
    yield post(path, "tools", input="hi", max_output_tokens=3, tools=[RESPONSES_TOOL], stream=True)
    yield post(path, "no input", max_output_tokens=3)
    yield post(path, "input is a number", input=5, max_output_tokens=3)
    yield post(path, "goes on", input="hi", max_output_tokens=3, previous_response_id="resp_1")
    for path in ("/v1/messages", "/v1/messages?beta=true"):
        yield post(path, "plain", messages=HI, max_tokens=3)
        yield post(path, "streamed", messages=HI, max_tokens=3, stream=True)
    path = "/v1/messages"
    yield post(path, "system and tools", messages=HI, max_tokens=3, system="Be brief.", tools=[CLAUDE_TOOL])
    yield post(path, "blocks", messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}], max_tokens=3)
    yield post(path, "no messages", max_tokens=3)
    yield post(path, "no length", messages=HI, stop_sequences=["i", "e", "a", "o", "."], n_predict=3)
    yield post(path, "wrong messages", messages=7, max_tokens=3)
    yield post(path, "too long, streamed", messages=MESSAGES["too long"], max_tokens=3, stream=True)
    yield post("/v1/messages/count_tokens", "plain", messages=HI)
    yield post("/v1/messages/count_tokens", "nothing")
    for prefix in ("", "/v1"):
        yield post(f"{prefix}/chat/completions/input_tokens", "plain", messages=HI)
        yield post(f"{prefix}/responses/input_tokens", "plain", input="hi")
    yield post("/v1/chat/completions/control", "unknown", id="x", action="reasoning_end")
    yield post("/v1/chat/completions/control", "nothing")
    for path in ("/embedding", "/embeddings", "/v1/embeddings"):
        yield post(path, "by a chat model", input="hi", content="hi")
    for path in ("/rerank", "/reranking", "/v1/rerank", "/v1/reranking"):
        yield post(path, "by a chat model", query="a", documents=["b", "c"])
    yield post("/tokenize", "plain", content="Hello wörld 👋")
    yield post("/tokenize", "pieces", content="Hello wörld 👋", with_pieces=True, add_special=True)
    yield post("/tokenize", "nothing")
    yield post("/tokenize", "a number", content=5)
    yield post("/detokenize", "plain", tokens=[1, 2, 300])
    yield post("/detokenize", "a token that isn't there", tokens=[10**6])
    yield post("/detokenize", "words", tokens="x")
    yield post("/apply-template", "plain", messages=HI)
    yield post("/apply-template", "nothing")
    yield post("/apply-template", "tools", messages=HI, tools=[TOOL])
    yield post("/props", "not enabled", default_generation_settings={})
    yield post("/slots/0?action=erase", "plain")
    yield post("/slots/0?action=save", "a file", filename="x")
    yield post("/slots/0?action=dance", "unknown")
    yield post("/slots/x?action=erase", "no number")
    yield raw(f"/lora-adapters?model={MODEL}", "none", b"[]")
    yield raw(f"/lora-adapters?model={MODEL}", "one that isn't there", b'[{"id": 0, "scale": 0.5}]')
    yield raw(f"/lora-adapters?model={MODEL}", "no list", b"{}")
    yield raw(f"/lora-adapters?model={MODEL}", "not JSON", b"[")


def looks() -> Iterator[Request]:
    """What is only read."""
    for path in ("/props", "/slots", "/slots?fail_on_no_slot=1", "/metrics", "/health", "/v1/health", "/lora-adapters"):
        query = ("&" if "?" in path else "?") + f"model={MODEL}"
        yield Request("GET", path + query)
        yield Request("HEAD", path + query)
    yield Request("GET", "/health")
    yield Request("GET", "/v1/health")
    for path in ("/models", "/v1/models", "/v1/models/chat"):
        yield Request("GET", path)


def under() -> Iterator[Request]:
    """Any path of an engine."""
    prefix = f"/upstream/{MODEL}"
    for path in ("/", "/index.html", "/favicon.ico", "/models", "/v1/models", "/props", "/slots", "/tools", "/x/y?z=1"):
        yield Request("GET", prefix + path)
    for path in ("/cors-proxy", "/v1/stream/abc", "/v1/stream/?conv_id=abc", "/metrics", "/lora-adapters", "/health"):
        yield Request("GET", prefix + path)
    for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"):
        yield Request(method, f"{prefix}/v1/models")
        yield Request(method, f"{prefix}/v1/chat/completions")
    yield post(f"{prefix}/v1/chat/completions", "plain", messages=HI, max_tokens=3)
    yield post(f"{prefix}/v1/chat/completions", "streamed", messages=HI, max_tokens=3, stream=True)
    yield post(f"{prefix}/v1/streams/lookup", "none", conversation_ids=["abc"])
    yield post(f"{prefix}/v1/streams/lookup", "nothing")
    yield Request("DELETE", f"{prefix}/v1/stream/abc")
    for about, body in BODIES.items():
        yield raw(f"{prefix}/tokenize", about, body)
    yield raw(f"{prefix}/v1/audio/transcriptions", "a form", FORM, f"multipart/form-data; boundary={BOUNDARY}")


NO_OBJECT: Mapping[str, bytes] = {
    "nothing": b"",
    "half an object": b'{"model": "chat", "content": "x"',
    "no JSON": b"hello",
    "a list": b'["content"]',
    "a word": b'"content"',
    "a number": b"7",
    "half a surrogate pair": b'{"model": "chat", "content": "\\ud800"}',
    "something behind it": b'{"model": "chat", "content": "x"} x',
    "not a number": b'{"model": "chat", "content": NaN}',
    "a comment": b'{"model": "chat", "content": "x" /* y */}',
    "a comma too many": b'{"model": "chat", "content": "x",}',
    "zero bytes": b"\0" * 20,
}
BODIES: Mapping[str, bytes] = {
    **NO_OBJECT,
    "bytes that are no UTF-8": b'{"model": "chat", "content": "\xff\xfe"}',
    "a byte order mark": b'\xef\xbb\xbf{"model": "chat", "content": "x"}',
    "a member twice": b'{"model": "chat", "content": "x", "content": "y"}',
    "deep": b'{"model": "chat", "content": ' + b"[" * 200 + b"]" * 200 + b"}",
    "a number without end": b'{"model": "chat", "content": "x", "with_pieces": 1e999}',
    "many members": b'{"model": "chat", "content": "x"' + b"".join(b', "m%d": %d' % (i, i) for i in range(300)) + b"}",
    "spaces": b' {\t"model" :\r\n "chat", "content":  "x" } \n',
    "an escaped name": b'{"m\\u006fdel": "ch\\u0061t", "content": "x"}',
}
BOUNDARY = "----b"
FORM = (
    b'------b\r\nContent-Disposition: form-data; name="model"\r\n\r\nchat\r\n'
    b'------b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\0\0\r\n"
    b"------b--\r\n"
)


def bad() -> Iterator[Request]:
    """Bodies that are no JSON, forms that are broken, methods and paths that there aren't."""
    for about, body in BODIES.items():
        yield raw("/tokenize", about, body)
    for about in ("half an object", "a list", "bytes that are no UTF-8", "half a surrogate pair"):
        yield raw(CHAT[0], about, BODIES[about])
        yield raw("/v1/messages", about, BODIES[about])
    yield raw("/tokenize", "no type", b'{"model": "chat", "content": "x"}', "")
    yield raw("/tokenize", "another type", b'{"model": "chat", "content": "x"}', "text/plain")
    yield raw("/tokenize", "a form's type", b"model=chat&content=x", "application/x-www-form-urlencoded")
    for path in ("/v1/audio/transcriptions", "/audio/transcriptions"):
        yield raw(path, "a form", FORM, f"multipart/form-data; boundary={BOUNDARY}")
    path = "/v1/audio/transcriptions"
    yield raw(path, "no form", b'{"model": "chat"}')
    yield raw(path, "a form without a boundary", FORM, "multipart/form-data")
    yield raw(path, "half a form", FORM[:-30], f"multipart/form-data; boundary={BOUNDARY}")
    yield raw(CHAT[0], "a form", FORM, f"multipart/form-data; boundary={BOUNDARY}")
    for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"):
        yield Request(method, CHAT[0])
        yield Request(method, "/tokenize")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        yield Request(method, "/health")
        yield Request(method, f"/slots?model={MODEL}")
    for path in ("/nope", "/v1/nope", "/v1/chat/completion", "/v2/models", "/%00", "/%C3%BC", "no-slash"):
        yield Request("GET", path)
        yield Request("POST", path, b"{}")


def vectors() -> list[Request]:
    """For a model that embeds, in an order that is always the same."""
    inputs: Mapping[str, Any] = {
        "plain": "hello",
        "several": ["hello", "wörld", "👋"],
        "tokens": [1, 2, 3],
        "lists of tokens": [[1, 2], [3]],
        "an empty text": "",
        "an empty list": [],
        "a number": 7,
        "an object": {"a": 1},
        "null": None,
        "too long": "one two three " * 400,
        "a token that isn't there": [10**6],
    }
    found = []
    for path in ("/v1/embeddings", "/embeddings", "/embedding"):
        for about, text in inputs.items():
            found.append(post(path, about, model=EMBEDDER, input=text, content=text))
        found.append(post(path, "nothing", model=EMBEDDER))
        found.append(post(path, "in base64", model=EMBEDDER, input="hello", encoding_format="base64"))
        found.append(post(path, "in nonsense", model=EMBEDDER, input="hello", encoding_format="morse"))
        found.append(post(path, "streamed", model=EMBEDDER, input="hello", stream=True))
    for path in ("/rerank", "/v1/rerank", "/reranking", "/v1/reranking"):
        found += [post(path, "by an embedder", model=EMBEDDER, query="a", documents=["b", "c"])]
    found.append(post(CHAT[0], "by an embedder", model=EMBEDDER, messages=HI, max_tokens=2))
    found.append(post(TEXT[1], "by an embedder", model=EMBEDDER, prompt="a", n_predict=2))
    found.append(post("/tokenize", "by an embedder", model=EMBEDDER, content="hello"))
    found += [Request("GET", f"{path}?model={EMBEDDER}") for path in ("/props", "/slots", "/health")]
    return found


def everything() -> list[Request]:
    """All the others, in an order that is always the same."""
    return [*looks(), *chats(), *texts(), *others(), *under(), *bad()]
