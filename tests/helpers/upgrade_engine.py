"""An engine that switches protocols: WebSocket at /ws, an echo of bytes at /echo. It has nothing else but /health.

python tests/upgrade_engine.py --socket PATH --record events.jsonl
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import socketserver
from typing import BinaryIO

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §1.3."""

TEXT, CLOSE = 0x81, 0x88
"""A whole message, and the good-bye."""


class Engine(socketserver.ThreadingUnixStreamServer):
    """The server."""

    daemon_threads = True
    request_queue_size = 128
    record: str


class Handler(socketserver.StreamRequestHandler):
    """One connection; one request on it."""

    server: Engine
    wfile: BinaryIO  # type: ignore[assignment]

    def handle(self) -> None:
        """Answer, and note what came and how it ended."""
        path = self.rfile.readline().decode("latin-1").split(" ")[1]
        headers = {}
        while line := self.rfile.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        if path == "/health":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
            return
        self.note("request", path=path, headers=headers)
        with contextlib.suppress(ConnectionError):  # who leaves with something unread resets the connection
            if not self.serve(path, headers):
                return
        self.note("left")

    def serve(self, path: str, headers: dict[str, str]) -> bool:
        """Speak what is asked for, to the end; False: it is none of the protocols here."""
        if path.startswith("/ws") and headers.get("upgrade") == "websocket":
            accept = base64.b64encode(hashlib.sha1(headers["sec-websocket-key"].encode() + MAGIC).digest())  # noqa: S324
            self.switch(b"websocket", b"Sec-WebSocket-Accept: " + accept + b"\r\n")
            self.talk()
        elif path == "/echo" and headers.get("upgrade") == "echo":
            self.switch(b"echo")
            while data := self.request.recv(65536):
                self.request.sendall(data)
        else:
            self.wfile.write(b"HTTP/1.1 404 Not Here\r\nContent-Length: 4\r\n\r\nnone")
            return False
        return True

    def switch(self, protocol: bytes, more: bytes = b"") -> None:
        """Take the offer."""
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: " + protocol + b"\r\nConnection: Upgrade\r\n"
        self.wfile.write(head + more + b"\r\n")

    def talk(self) -> None:
        """Greet at once, echo short messages, hang up without a word on "bye"."""
        self.wfile.write(bytes((TEXT, 5)) + b"hello")
        while len(head := self.rfile.read(2)) == 2:
            kind, length = head[0], head[1] & 0x7F
            mask, data = self.rfile.read(4), self.rfile.read(length)
            data = bytes(byte ^ mask[n % 4] for n, byte in enumerate(data))
            if data == b"bye":
                return
            self.wfile.write(bytes((kind, length)) + data)
            if kind == CLOSE:
                return

    def note(self, event: str, **fields: object) -> None:
        """Append a line for the test."""
        with open(self.server.record, "ab", buffering=0) as file:
            file.write(json.dumps({"event": event, **fields}).encode() + b"\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--record", default=os.devnull)
    options = parser.parse_args()
    with Engine(options.socket, Handler) as engine:
        engine.record = options.record
        engine.serve_forever()
