"""Compressed bodies (`Content-Encoding`): gzip, deflate and zstd are decompressed, a little at a time.

The size is not limited here: callers must count the bytes they get.
"""

from __future__ import annotations

import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, Callable
from typing import ClassVar

import trio

from ..errors import BadRequest, UnsupportedEncoding
from .message import RequestHead

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE = 65536
"""Bytes that are unpacked at a time: a megabyte of zeros arrives as a kilobyte."""

WINDOW_LOG = 23
"""Base-2 logarithm of the most memory that a zstd frame may want for its window: 8 MiB, as RFC 9659 has it for HTTP.
Without a limit a body of a few bytes could claim 128 MiB."""

ACCEPTED = "gzip, deflate, zstd"

_NONE = ("", "identity")


class Unpacker(ABC):
    """Unpacks one member (gzip) or frame (zstd), after which another one may follow.

    Attributes:
        flaws: What its methods raise if the data is malformed.
        many: Whether another one may follow.
        rest: The data that it has not taken: what comes after its end, once that is reached.
        ended: Whether its end is reached.
    """

    flaws: ClassVar[type[Exception]]
    many: ClassVar[bool] = True
    rest: bytes = b""
    ended: bool = False

    @abstractmethod
    def unpack(self, data: bytes) -> tuple[bytes, bool]:
        """Take more data (perhaps none) and return up to `PIECE` bytes, and whether there is more to be had."""

    def follows(self, data: bytes) -> bool:
        """Tell whether data after the end begins another one."""
        return self.many and bool(data)


class _Zlib(Unpacker):
    flaws = zlib.error

    def __init__(self, bits: int) -> None:
        self._object = zlib.decompressobj(bits)

    def unpack(self, data: bytes) -> tuple[bytes, bool]:
        piece = self._object.decompress(self.rest + data, PIECE)
        self.ended = self._object.eof
        self.rest = self._object.unused_data if self.ended else self._object.unconsumed_tail
        return piece, not self.ended and (bool(self.rest) or len(piece) == PIECE)


class _Gzip(_Zlib):
    """Any number of members (RFC 1952, 2.2)."""

    def __init__(self) -> None:
        super().__init__(zlib.MAX_WBITS | 16)

    def follows(self, data: bytes) -> bool:
        return data.startswith(b"\x1f")


class _Deflate(_Zlib):
    """With zlib's header or, as many send it, without (RFC 9110, 8.4.1.2)."""

    many = False

    def __init__(self) -> None:
        super().__init__(zlib.MAX_WBITS)
        self._began = False

    def unpack(self, data: bytes) -> tuple[bytes, bool]:
        if data and not self._began:
            self._began = True
            if data[0] & 0x0F != zlib.DEFLATED:
                self._object = zlib.decompressobj(-zlib.MAX_WBITS)
        return super().unpack(data)


class _Zstd(Unpacker):
    """Any number of frames, skippable ones included (RFC 8878, 3.1).

    Its window is memory that is only touched as far as data has been unpacked, and that is counted.
    """

    flaws = zstd.ZstdError

    def __init__(self) -> None:
        options = {int(zstd.DecompressionParameter.window_log_max): WINDOW_LOG}
        self._object = zstd.ZstdDecompressor(options=options)

    def unpack(self, data: bytes) -> tuple[bytes, bool]:
        piece = self._object.decompress(data, PIECE)
        self.ended = self._object.eof
        self.rest = self._object.unused_data if self.ended else b""
        return piece, not self.ended and not self._object.needs_input


_READ: dict[str, Callable[[], Unpacker]] = {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate, "zstd": _Zstd}


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
            hint="Send it as it is, or with gzip, deflate or zstd.",
        )
    return names[0]


async def unpacked(chunks: AsyncIterable[bytes], how: str) -> AsyncGenerator[bytes, None]:
    """Yield a body's decompressed bytes.

    Raises:
        BadRequest: The body isn't compressed, or not in this way.
    """
    unpacker = _READ[how]()
    began = False
    try:
        async for chunk in chunks:
            began = began or bool(chunk)
            data, more = chunk, True
            while more:
                if unpacker.ended and data:
                    if not unpacker.follows(data):
                        raise BadRequest(f"The body goes on after its {how} data.")
                    unpacker = _READ[how]()
                piece, more = unpacker.unpack(data)
                data = b""
                if unpacker.ended and unpacker.rest:
                    data, more = unpacker.rest, True
                yield piece
                await trio.lowlevel.checkpoint()
    except unpacker.flaws as error:
        raise BadRequest(f"The body says Content-Encoding: {how}, but is something else: {error}.") from None
    if began and not unpacker.ended:
        raise BadRequest(f"The body's {how} data ends too early.")
