"""Compressed bodies (`Content-Encoding`): what zlib can decompress is decompressed, a little at a time.

The size is not limited here: callers must count the bytes they get.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterable

import trio

from ..errors import BadRequest, UnsupportedEncoding
from .message import RequestHead

PIECE = 65536
"""Bytes that are unpacked at a time: a megabyte of zeros arrives as a kilobyte."""

_GZIP = b"\x1f"
"""The first bytes of each gzip member."""

_NONE = ("", "identity")
_READ = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


def encoding(head: RequestHead) -> str:
    """Return how the body is compressed; "" if it isn't.

    Raises:
        UnsupportedEncoding: The encoding is not supported.
    """
    if (known := head.known.encoding) is not None:
        return known
    head.known.encoding = found = _encoding(head)
    return found


def _encoding(head: RequestHead) -> str:
    values = [value.decode("latin-1") for name, value in head.headers if name == b"content-encoding"]
    names = [name for each in ",".join(values).split(",") if (name := each.strip().lower()) not in _NONE]
    if not names:
        return ""
    if len(names) > 1 or names[0] not in _READ:
        raise UnsupportedEncoding(
            f"A body with Content-Encoding: {', '.join(names)[:100]} can't be read here.",
            hint="Send it as it is, or with gzip or deflate.",
        )
    return names[0]


async def unpacked(chunks: AsyncIterable[bytes], how: str) -> AsyncGenerator[bytes, None]:
    """Yield a body's decompressed bytes.

    Raises:
        BadRequest: The body isn't compressed, or not in this way.
    """
    unpack = zlib.decompressobj(_READ[how])
    began = False
    try:
        async for chunk in chunks:
            if not began and chunk and how == "deflate" and chunk[0] & 0x0F != zlib.DEFLATED:
                unpack = zlib.decompressobj(-zlib.MAX_WBITS)  # many omit zlib's header (RFC 9110, 8.4.1.2)
            began = began or bool(chunk)
            rest, more = chunk, True
            while more:
                if unpack.eof and rest:
                    if how == "deflate" or not rest.startswith(_GZIP):
                        raise BadRequest(f"The body goes on after its {how} data.")
                    unpack = zlib.decompressobj(_READ[how])  # gzip may have any number of members (RFC 1952, 2.2)
                piece = unpack.decompress(rest, PIECE)
                rest = unpack.unused_data if unpack.eof else unpack.unconsumed_tail
                more = bool(rest) or (len(piece) == PIECE and not unpack.eof)
                yield piece
                await trio.lowlevel.checkpoint()
    except zlib.error as error:
        raise BadRequest(f"The body says Content-Encoding: {how}, but is something else: {error}.") from None
    if began and not unpack.eof:
        raise BadRequest(f"The body's {how} data ends too early.")
