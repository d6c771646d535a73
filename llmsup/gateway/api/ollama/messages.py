"""The messages of a chat, and a prompt with its images, as engines want them.

Images are megabytes, so they are never decoded, and messages that are the same in both APIs are passed on as they lie.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ....engines.http import Buffer
from ....errors import BadRequest
from ...body import JsonBody
from ...outline import plainly

_KINDS = {b"/9j/": b"jpeg", b"iVBO": b"png", b"R0lG": b"gif", b"UklG": b"webp"}
"""How images begin in base64."""

_EMPTY = (None, b"null", b'""', b"[]")


class _Function(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    role: msgspec.Raw
    content: msgspec.Raw = msgspec.Raw(b'""')
    images: list[msgspec.Raw] | None = None
    tool_calls: list[_Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    thinking: str | None = None


_MESSAGES = msgspec.json.Decoder(list[_Message])
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_IMAGES = msgspec.json.Decoder(list[msgspec.Raw] | None)


def is_empty(body: JsonBody, name: str) -> bool:
    """Whether a member isn't there, or says nothing."""
    return body.raw(name) in _EMPTY


def must_be_text(body: JsonBody, name: str, *, many: bool = False) -> None:
    """Raise BadRequest unless a member is a string, or nothing, or with `many` a list of strings."""
    raw = body.raw(name)
    if raw is None or bytes(raw[:1]) == b'"' or bytes(raw[:4]) == b"null":
        return
    if many and bytes(raw[:1]) == b"[":
        try:
            items = _ITEMS.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadRequest(f"`{name}` can't be understood: {plainly(error)}.", param=name) from None
        if all(bytes(memoryview(item)[:1]) == b'"' for item in items):
            return
    raise BadRequest(f"`{name}` must be a string{' or a list of strings' if many else ''}.", param=name)


def chat_messages(body: JsonBody) -> Buffer:
    """The messages of a chat. Raises BadRequest."""
    raw = body.raw("messages")
    assert raw is not None
    try:
        messages = _MESSAGES.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"`messages` can't be understood: {plainly(error)}.", param="messages") from None
    for message in messages:
        if not _is_text(message.role, b'"') or not _is_text(message.content, b'"[n'):
            raise BadRequest("`messages` must have a `role` and a `content` that are strings.", param="messages")
    if not any(map(_differs, messages)):
        return raw
    ids, pieces = _Ids(), list[Buffer]()
    for message in messages:
        pieces += [b"," if pieces else b"[", *_message(message, ids)]
    return b"".join([*pieces, b"]"])


def _differs(message: _Message) -> object:
    """Whether it has what the two APIs have in different shapes."""
    return message.images or message.tool_calls or message.tool_name or message.thinking


def _is_text(raw: msgspec.Raw, begins: bytes) -> bool:
    """Whether a value is one that begins so: a string, or parts of one as OpenAI has them, which engines read, too."""
    return memoryview(raw)[0] in begins


def prompt_messages(body: JsonBody) -> Buffer:
    """A prompt, its images and its system text as messages. Raises BadRequest."""
    prompt, system = body.raw("prompt") or b'""', body.raw("system")
    try:
        images = _IMAGES.decode(body.raw("images") or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"`images` can't be understood: {plainly(error)}.", param="images") from None
    before = b"[" if is_empty(body, "system") else b'[{"role":"system","content":%s},' % system
    return b"".join([before, b'{"role":"user","content":', *_content(prompt, images), b"}]"])


class _Ids:
    """Ollama's calls have had no ids: a tool's answer is for the first call of its name that has none yet."""

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []

    def of_call(self, call: _Call) -> str:
        name = call.id or f"call_{self._count}"
        self._count += 1
        self._open.append((call.function.name, name))
        return name

    def of_answer(self, message: _Message) -> str | None:
        """The call that a tool's message answers."""
        wanted = [each for each in self._open if message.tool_name in (None, each[0])]
        if message.tool_call_id or not wanted:
            return message.tool_call_id
        self._open.remove(wanted[0])
        return wanted[0][1]


def _message(message: _Message, ids: _Ids) -> list[Buffer]:
    """In pieces, as one of them may be an image's megabytes, to be copied once."""
    members: dict[str, Any] = {"role": message.role}
    if message.thinking:
        members["reasoning_content"] = message.thinking
    if message.tool_calls:
        members["tool_calls"] = [
            {"id": ids.of_call(call), "type": "function", "function": _function(call)} for call in message.tool_calls
        ]
    if bytes(message.role) == b'"tool"':
        members |= {"tool_call_id": ids.of_answer(message) or "call_0"}
        members |= {"name": message.tool_name} if message.tool_name else {}
    return [msgspec.json.encode(members)[:-1], b',"content":', *_content(message.content, message.images), b"}"]


def _function(call: _Call) -> dict[str, str]:
    """Ollama has the arguments as an object, OpenAI the text of one."""
    return {"name": call.function.name, "arguments": bytes(call.function.arguments).decode()}


def _content(text: Buffer | msgspec.Raw, images: list[msgspec.Raw] | None) -> list[Buffer]:
    if not images:
        return [memoryview(text)]
    pieces: list[Buffer] = [] if bytes(text) in _EMPTY else [b'[{"type":"text","text":%s}' % bytes(text)]
    for image in images:
        pieces += [b"," if pieces else b"[", *_image(image)]
    return [*pieces, b"]"]


def _image(raw: msgspec.Raw) -> list[Buffer]:
    data = memoryview(raw)
    if bytes(data[:1]) != b'"':
        raise BadRequest("`images` must be strings in base64.", param="images")
    kind = _KINDS.get(bytes(data[1:5]), b"png")
    return [b'{"type":"image_url","image_url":{"url":"data:image/%s;base64,' % kind, data[1:-1], b'"}}']
