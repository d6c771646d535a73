"""A request's body: read up to a limit, its model found, its members edited without touching the rest.

It does not know what the members mean: see `edits`.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from typing import Any

import msgspec
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, Preamble

from ..errors import BodyTooLarge, InvalidJson
from ..units import Bytes, format_bytes
from .message import RequestHead

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


async def read_body(head: RequestHead, chunks: AsyncIterable[bytes], limit: Bytes) -> bytes:
    """Read a whole body.

    Raises:
        BodyTooLarge: It is, or says that it is, larger than `limit` bytes; the rest is not read.
    """
    too_large = BodyTooLarge(f"The body is larger than {format_bytes(limit)} (server.max_body).")
    declared = head.header(b"content-length")
    if declared.isdecimal() and (len(declared) > 20 or int(declared) > limit):
        raise too_large
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise too_large
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


class JsonBody:
    """A JSON object. Its top level is split once; members are decoded only when asked for, and those that nobody
    changes keep their bytes.
    """

    def __init__(self, data: bytes) -> None:
        """Raises InvalidJson."""
        self._data = data
        try:
            self._members = _OBJECT.decode(data)
        except msgspec.ValidationError as error:
            raise InvalidJson(f"The body must be a JSON object: {error}.") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidJson(f"The body is not JSON: {error}.") from None

    def get(self, name: str) -> Any:
        """A member's value, or None. Raises InvalidJson: the members were split, but not read until now."""
        try:
            return msgspec.json.decode(self._members[name]) if name in self._members else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidJson(f"The body's {name!r} can't be read: {error}.", param=name) from None

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def sets(self, name: str) -> bool:
        """Whether the client set a member; null means "your default" to llama-server, and so it does here."""
        return bytes(self._members.get(name, b"null")) != b"null"

    def edited(self, changes: Mapping[str, Any]) -> bytes:
        """The body with those members replaced or added; where the change is None, removed."""
        if not changes:
            return self._data
        members: dict[str, Any] = {**self._members, **changes}
        return b"{%s}" % b",".join(
            b"%s:%s" % (msgspec.json.encode(name), msgspec.json.encode(value))
            for name, value in members.items()
            if value is not None
        )


class MultipartBody:
    """A multipart form: only its plain fields are of interest."""

    def __init__(self, data: bytes, boundary: bytes) -> None:
        """Raises InvalidJson (for want of a better name: the client sees 400 and the message)."""
        self._data = data
        self._boundary = boundary
        decoder = MultipartDecoder(boundary)
        self._events: list[Event] = []
        try:
            decoder.receive_data(data)
            decoder.receive_data(None)
            while not isinstance(event := decoder.next_event(), (NeedData, Epilogue)):
                self._events.append(event)
            self._events.append(event)
        except (ValueError, RequestEntityTooLarge) as error:
            raise InvalidJson(f"The multipart body can't be read: {error}.") from None

    def get(self, name: str) -> str | None:
        """A plain field's value, or None."""
        values = [data for field, data in self._fields() if field == name]
        return values[0].decode("utf-8", "replace") if values else None

    def _fields(self) -> list[tuple[str, bytes]]:
        fields: list[tuple[str, bytes]] = []
        inside = False
        for event in self._events:
            if isinstance(event, (Field, File)):
                inside = isinstance(event, Field)
                if inside:
                    fields.append((event.name or "", b""))
            elif isinstance(event, Data) and inside:
                name, data = fields[-1]
                fields[-1] = (name, data + event.data)
        return fields

    def renamed(self, model: str) -> bytes:
        """The body with its `model` field replaced. Werkzeug's encoder would write file names without escapes."""
        out: list[bytes] = []
        replaced = False
        for event in self._events:
            if isinstance(event, (Field, File)):
                replaced = isinstance(event, Field) and event.name == "model"
                lines = "".join(f"{name}: {value}\r\n" for name, value in event.headers)
                out += (b"\r\n--%s\r\n%s\r\n" % (self._boundary, lines.encode()), model.encode() if replaced else b"")
            elif isinstance(event, Data):
                out.append(b"" if replaced else event.data)
            elif isinstance(event, Epilogue):
                out.append(b"\r\n--%s--\r\n%s" % (self._boundary, event.data))
            elif isinstance(event, Preamble):
                out.append(event.data)
        return b"".join(out)
