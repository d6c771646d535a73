"""A multipart form: its plain fields are parsed, its model can be renamed, and its files stay where they are."""

from __future__ import annotations

from attrs import define
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, State

from ..engines.http import Buffer, Payload
from ..errors import InvalidJson
from .body import AT_ONCE, Turn, in_turns

MAX_PARTS = 1000
"""As in Quart and Django; llama-server's HTTP library accepts 1024 files."""

WINDOW = 16384
"""Bytes parsed in a step, which may contain a few hundred parts; also the most that may precede the first part, or be
in one part's headers."""


@define
class _Plain:
    """A plain field: its name, and the offsets at which its value begins and ends."""

    name: str
    begin: int
    end: int


class MultipartBody:
    """A multipart form, parsed step by step until `step` returns False."""

    def __init__(self, data: Buffer, boundary: bytes) -> None:
        self._data = memoryview(data)
        self._decoder = MultipartDecoder(boundary, max_parts=MAX_PARTS)
        self._fed = 0
        self._plain: list[_Plain] = []
        self._inside = False  # of a plain field

    def step(self) -> bool:
        """Parse a little; returns whether there is more to do. Raises InvalidJson if malformed."""
        decoder = self._decoder
        try:
            decoder.receive_data(self._data[self._fed : self._fed + WINDOW])  # type: ignore[arg-type]  # any buffer will do
            self._fed = min(self._fed + WINDOW, len(self._data))
            if self._fed == len(self._data):
                decoder.receive_data(None)
            while not isinstance(event := decoder.next_event(), (NeedData, Epilogue)):
                self._take(event)
        except RequestEntityTooLarge:
            raise InvalidJson(f"The multipart body has more than {MAX_PARTS} parts.") from None
        except UnicodeDecodeError:
            raise InvalidJson("The multipart body can't be read: a part's headers are not UTF-8 text.") from None
        except ValueError as error:
            cut = "State." in str(error)  # werkzeug's name for where it stopped
            why = "it ends too early, or its boundary is another" if cut else str(error)
            raise InvalidJson(f"The multipart body can't be read: {why}.") from None
        if decoder.state in (State.PREAMBLE, State.PART) and len(decoder.buffer) > WINDOW:
            raise InvalidJson("The multipart body can't be read: the headers of a part are too long.")
        return decoder.state not in (State.EPILOGUE, State.COMPLETE)  # anything after that is ignored

    def _take(self, event: Event) -> None:
        at = self._fed - len(self._decoder.buffer)
        if isinstance(event, (Field, File)):
            self._inside = isinstance(event, Field)
            if self._inside:  # a line break comes before its value
                begin = at + (2 if bytes(self._data[at : at + 2]) == b"\r\n" else 1)
                self._plain.append(_Plain(event.name or "", begin, begin))
        elif isinstance(event, Data) and self._inside:
            self._plain[-1].end += len(event.data)

    def get(self, name: str) -> str | None:
        """Return the first plain field of that name, or None. Raises InvalidJson if its value is too large."""
        field = next((field for field in self._plain if field.name == name), None)
        if field is None:
            return None
        if field.end - field.begin > AT_ONCE:
            raise InvalidJson(f"`{name}` is too large to be looked into.", param=name)
        return str(self._data[field.begin : field.end], "utf-8", "replace")

    def renamed(self, model: str) -> Payload:
        """Return the body with the value of each `model` field replaced; everything else keeps its bytes."""
        pieces: list[Buffer] = []
        at = 0
        for field in self._plain:
            if field.name == "model":
                pieces += (self._data[at : field.begin], model.encode())
                at = field.end
        return (*pieces, self._data[at:])


async def read_form(data: Buffer, boundary: bytes, turn: Turn) -> MultipartBody:
    """Parse a form in steps, between which other tasks run. Raises InvalidJson."""
    body = MultipartBody(data, boundary)
    await in_turns(body.step, turn)
    return body
