"""A client that has nothing of llmsup's own: Python's, one connection a request, over a port or a Unix socket."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

from attrs import frozen
from varied import Request


@frozen
class Heard:
    """A whole answer, its framing undone.

    Attributes:
        headers: In lower case, in the order in which they came.
    """

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


class _Connection(http.client.HTTPConnection):
    def __init__(self, to: Path | int, patience: float) -> None:
        super().__init__("127.0.0.1", to if isinstance(to, int) else 80, timeout=patience)
        self._to = to

    def connect(self) -> None:
        if isinstance(self._to, int):
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._to))


def ask(to: Path | int, request: Request, patience: float = 30) -> Heard:
    """Send a request to a socket or to a port of this machine; blocks.

    Raises:
        OSError, http.client.HTTPException: There was no answer, or it was broken off.
    """
    connection = _Connection(to, patience)
    try:
        connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        chunked = request.headers.get("Transfer-Encoding") == "chunked"
        if not chunked and (request.body or request.method == "POST"):
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders(request.body or None, encode_chunked=chunked)
        response = connection.getresponse()
        body = response.read()
        headers = [(name.lower(), value) for name, value in response.getheaders()]
        return Heard(response.status, response.reason, headers, body)
    finally:
        connection.close()
