"""Parses the answer to a request: its head, the pieces of its body, its end. It does no I/O; `connection` feeds it."""

from __future__ import annotations

import httptools

from ..errors import EngineBadAnswer
from .http import Again, AnswerHead, Headers
from .template import LONGEST, Template

MAX_FRAMING = 65536
"""Bytes in a row that may come without being a body's: a head, trailers, chunk extensions. An answer's head is rarely
longer than 1 kB; llama-server's own limit for a request's is 8 kB a line."""


class Response:
    """The answers on one connection, one after the other.

    Attributes:
        head: None until it is complete.
        complete: The whole answer has arrived.
        began: At least one byte of it has arrived.
        ended_by_closing: Only the end of the connection marked its end, so a truncated one looks complete.
        keep_alive: The connection can carry another request.
        rest: The first bytes of another protocol, once the engine has switched to that.
    """

    def __init__(self) -> None:
        self._last: tuple[Template, AnswerHead] | None = None
        self._reset()
        self.begin("")

    def begin(self, method: str, *, upgrading: bool = False) -> None:
        """A request goes out. `upgrading`: it asks for another protocol, so an answer with status 101 is one."""
        self.head: AnswerHead | None = None
        self.complete = self.began = self.keep_alive = False
        self._method = method
        self._upgrading = upgrading
        if self._parser is not None or self._body:  # else the last answer has left nothing else behind
            self._reset()

    def _reset(self) -> None:
        self._parser: httptools.HttpResponseParser | None = None  # made when it is needed
        self._headers: Headers = []
        self._body: list[bytes] = []
        self._until_close = False
        self.ended_by_closing = False
        self._reason = b""
        self._framing = 0
        self.rest = b""

    def at_hand(self) -> bytes | None:
        """Return the next bytes of the body that have arrived; b"" at its end, None if there are none yet."""
        if not self._body:
            return b"" if self.complete else None
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body.clear()
        return body

    def end(self) -> bool:
        """Note that the connection has ended. Returns whether that completes the answer: some bodies end only so."""
        if self._until_close and self.head is not None:
            self.complete = self.ended_by_closing = True
            return True
        return False

    def feed(self, data: bytes | bytearray) -> None:
        """Parse the next bytes of the connection, at least one.

        Raises:
            EngineBadAnswer: They are not HTTP, or the head has no end.
        """
        if not self.began and self._recognised(data):
            return
        first, self.began = not self.began, True
        bodies, head = len(self._body), self.head
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as switched:
            if self.head is None or self.head.status != 101:
                text = "The engine's answer is not HTTP: it switched to another protocol without having been asked to."
                raise EngineBadAnswer(text) from None
            self.rest = bytes(data[switched.args[0] :])
        except httptools.HttpParserError as error:
            if not self.complete:
                raise EngineBadAnswer(f"The engine's answer is not HTTP: {error}.") from None
            self.keep_alive = False  # bytes after the answer's end: the answer is fine, the connection is not
        arrived = self.complete or len(self._body) > bodies or self.head is not head
        self._framing = 0 if arrived else self._framing + len(data)
        if self._framing >= MAX_FRAMING:
            what = "trailers or chunk extensions have" if self.head else "head has"
            raise EngineBadAnswer(f"The {what} no end: {self._framing} bytes of the engine's answer so far.")

        if first and self.keep_alive:
            self._remember(bytes(data))

    def _recognised(self, data: bytes | bytearray) -> bool:
        """Take a whole answer with the same head as the last one on this connection, but for the body's length."""
        if self._last is None or self._method == "HEAD" or not isinstance(data, bytes):
            return False
        template, last = self._last
        if (found := template.match(data)) is None:
            return False
        digits, end = found
        if digits is None or int(digits) != len(data) - end:
            return False  # there is more to come, or something behind it: llhttp follows that
        template.set_length(digits)  # the last answer is over, and so nobody needs its head any more
        last.digits = digits
        self.head = last
        if end < len(data):
            self._body.append(data[end:])
        self.began = self.complete = self.keep_alive = True
        return True

    def _remember(self, data: bytes) -> None:
        """Remember the head of an answer that came in one piece and leaves the connection open."""
        end = data.find(b"\r\n\r\n", 0, LONGEST) + 4
        head = self.head
        if end < 4 or head is None or self._method == "HEAD" or data[9:12] != b"%d" % head.status:
            return  # the last: it began with an interim answer
        template = Template(data[:end], head.headers)
        found = template.match(data)
        unusual = any(
            name.lower() == b"transfer-encoding" or (name.lower() == b"connection" and value.lower() != b"keep-alive")
            for name, value in head.headers
        )
        if not unusual and found is not None and found[0] is not None and int(found[0]) == len(data) - end:
            head.digits, head.again = found[0], Again()
            self._last = (template, head)

    # httptools calls these while it is fed...

    def on_message_begin(self) -> None:
        self._headers = []
        self._reason = b""
        if self.complete:
            self.keep_alive = False  # another answer without a request; the connection is of no further use

    def on_status(self, reason: bytes) -> None:
        self._reason += reason  # comes in pieces where the packets end in it

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head is None:  # what comes after the body are trailers, not headers
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if self.head is not None:
            return
        switched = status == 101 and self._upgrading and self._parser.should_upgrade()
        if status < 200 and not switched:
            return
        fields = {name.lower(): value.lower() for name, value in self._headers}
        chunked = fields.get(b"transfer-encoding", b"").endswith(b"chunked")
        streams = fields.get(b"content-type", b"").startswith(b"text/event-stream")
        self._until_close = not chunked and b"content-length" not in fields
        self.head = AnswerHead(status, self._headers, self._reason, streams, self._until_close)
        if self._method == "HEAD" or switched:
            # llhttp can't be told that no body follows: the answer is complete, its state is of no further use.
            self.complete = True

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self.head is not None and not self.complete:
            assert self._parser is not None
            self.complete = True
            self.keep_alive = self._parser.should_keep_alive()  # llhttp forgets right after this callback
