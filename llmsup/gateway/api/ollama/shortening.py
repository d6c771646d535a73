"""Texts that are too long for a vector are cut, as Ollama does it, unless the request says `"truncate": false`.

How long a text is, only the engine can tell: those that may be too long are taken apart and put together by it.
"""

from __future__ import annotations

import msgspec

from ....engines.http import Buffer
from ....engines.pool import ConnectionPool
from ...body import JsonBody

SPARED = 4
"""Tokens that are left for what the engine puts before and behind each text, and for a cut that isn't clean."""

_TEXTS = msgspec.json.Decoder(list[msgspec.Raw])
_JSON = [(b"content-type", b"application/json")]


async def shortened(body: JsonBody, wanted: JsonBody, pool: ConnectionPool, most: int) -> JsonBody:
    """The engine's body with texts of at most `most` tokens; `wanted` is the client's. What can't be cut stays.

    Raises:
        Disconnected, Error: As `ConnectionPool.request` does.
    """
    raw = body.raw("input")
    if raw is None or len(raw) <= most or not wanted.flag("truncate", default=True):
        return body  # no text has more tokens than bytes
    texts = _TEXTS.decode(raw) if bytes(raw[:1]) == b"[" else [msgspec.Raw(bytes(raw))]
    cut = [bytes(text) if len(memoryview(text)) <= most else await _cut(bytes(text), pool, most) for text in texts]
    members: dict[str, Buffer] = {name: value for name in body if (value := body.raw(name)) is not None}
    return JsonBody.of({**members, "input": b"[%s]" % b",".join(cut)})


async def _cut(text: bytes, pool: ConnectionPool, most: int) -> bytes:
    tokens = await _asked(pool, "/tokenize", b'{"content":%s,"add_special":false}' % text, "tokens")
    if not isinstance(tokens, list) or len(tokens) <= most - SPARED:
        return text
    few = msgspec.json.encode(tokens[: max(most - SPARED, 1)])
    shorter = await _asked(pool, "/detokenize", b'{"tokens":%s}' % few, "content")
    return msgspec.json.encode(shorter) if isinstance(shorter, str) else text


async def _asked(pool: ConnectionPool, path: str, body: bytes, member: str) -> object:
    """What an engine says there; None if it has no such path."""
    answer = await pool.request("POST", path.encode(), _JSON, body)
    try:
        parts = []
        while part := await answer.body():
            parts.append(part)
    finally:
        await answer.close()
    try:
        return msgspec.json.decode(b"".join(parts))[member]
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError):
        return None
