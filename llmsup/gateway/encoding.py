"""Compressed bodies (`Content-Encoding`): what zlib can read is read, a little at a time.

It does not know how large a body may be: whoever takes the pieces counts them.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator, AsyncIterable

import trio

from ..errors import BadRequest, UnsupportedEncoding
from .message import RequestHead

PIECE = 65536
"""Bytes that are unpacked at a time: a megabyte of zeros is a kilobyte when it comes."""

_GZIP = b"\x1f"
"""What each of gzip's members begins with."""

_NONE = ("", "identity")
_READ = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


def encoding(head: RequestHead) -> str:
    """How the body is compressed; "" if it isn't.

    Raises:
        UnsupportedEncoding: In a way that can't be read here.
    """
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
    """A body's bytes as they were before they were compressed.

    Raises:
        BadRequest: They weren't, or not like this.
    """
    unpack = zlib.decompressobj(_READ[how])
    began = False
    try:
        async for chunk in chunks:
            if not began and chunk and how == "deflate" and chunk[0] & 0x0F != zlib.DEFLATED:
                unpack = zlib.decompressobj(-zlib.MAX_WBITS)  # many send it without zlib's header (RFC 9110, 8.4.1.2)
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
