"""A connection's last request head, so that another one like it needn't be parsed."""

from __future__ import annotations

from ..engines.template import LONGEST, Template
from .head import Head, HeadReader


class Recollection:
    """The last head on one connection. One that was refused is never remembered.

    A connection has one request at a time: when the next one comes, nobody needs the last one's head any more, and the
    next one gets the same objects, with its own Content-Length.

    Attributes:
        rest: The bytes that follow the head last returned.
    """

    __slots__ = ("_last", "_template", "rest")

    def __init__(self) -> None:
        self.rest = b""
        self._last: Head | None = None
        self._template: Template | None = None

    def feed(self, reader: HeadReader, data: bytes) -> Head | None:
        """Process received bytes, as `HeadReader.feed` does; that is done by `reader` unless they begin with the last
        head again, apart from its Content-Length.

        What the gateway found out about that one (`Head.request`) comes along.

        Raises:
            BadRequest: The head is malformed or too large.
        """
        template, last = self._template, self._last
        if template is None or last is None or reader.used or (found := template.match(data)) is None:
            head = reader.feed(data)
            if head is not None:
                self._remember(head, reader)
            return head
        digits, end = found
        self.rest = data[end:]
        if digits is not None:
            template.set_length(digits)
            last.length = int(digits)
            if last.request is not None:
                last.request.changed()
        return last

    def _remember(self, head: Head, reader: HeadReader) -> None:
        self.rest, raw = reader.rest, reader.raw
        self._last, self._template = (head, Template(raw, head.headers)) if len(raw) <= LONGEST else (None, None)
