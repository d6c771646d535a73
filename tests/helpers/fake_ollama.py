"""Something that answers like an Ollama does, as far as llmsup asks one: its version, and pulls."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PULLING = (
    {"status": "pulling manifest"},
    {"status": "pulling abc", "digest": "sha256:abc", "total": 9, "completed": 4},
)


class FakeOllama:
    """A server on a port of its own.

    Attributes:
        address: HOST:PORT.
        version: What `/api/version` says.
        pulls: The bodies of `/api/pull` that came.
        pulled: Called before a pull says that it was a success.
        endless: A pull goes on until its client leaves, which sets `left`.
        breaks: It hangs up in the middle of a pull.
    """

    def __init__(self) -> None:
        self.version: Any = {"version": "0.12.6"}
        self.pulls: list[Any] = []
        self.pulled: Callable[[], object] = list
        self.breaks = False
        self.endless = False
        self.left = threading.Event()
        self.address = ""


@contextmanager
def fake_ollama() -> Iterator[FakeOllama]:
    """One that runs while the block does."""
    state = FakeOllama()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.whole(200 if self.path == "/api/version" else 404, state.version)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            state.pulls.append(body)
            if body.get("model") == "nosuch":
                self.whole(500, {"error": "pull model manifest: file does not exist"})
                return
            if body.get("stream") is False:
                state.pulled()
                self.whole(200, {"status": "success"})
                return
            self.send_response(200)
            self.send_header("content-type", "application/x-ndjson")
            self.end_headers()
            for line in PULLING:
                self.wfile.write(json.dumps(line).encode() + b"\n")
            while state.endless and not state.left.wait(0.01):
                try:
                    self.wfile.write(json.dumps(PULLING[1]).encode() + b"\n")
                except OSError:
                    state.left.set()
                    return
            if not state.breaks:
                state.pulled()
                self.wfile.write(b'{"status":"success"}\n')

        def whole(self, status: int, value: Any) -> None:
            data = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json; charset=utf-8")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield state
        finally:
            state.left.set()
            server.shutdown()
            thread.join()
