"""An engine that answers like an OpenAI-compatible server and fails in the ways that engines do, on demand.

It does not know llmsup. Plain sockets and threads, so that it starts at once and can break HTTP on purpose.

    python tests/fake_engine.py --port 0 --load-time 0.2 --tps 50 --record events.jsonl

It says "listening on ADDRESS" on its standard error once it is bound. `--help` lists what it can be made to do.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, NoReturn

STREAMABLE = ("/v1/chat/completions", "/v1/completions", "/completion", "/infill", "/v1/messages", "/v1/responses")
INFERENCE = (*STREAMABLE, "/v1/embeddings", "/v1/audio/transcriptions")
CLOSE = "Connection: close\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nServer: fake\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
UNFRAMED = b"HTTP/1.0 200 OK\r\nServer: fake\r\nContent-Type: %s\r\n\r\n"
LINE = "x" * 99 + "\n"


class Options(argparse.Namespace):
    """The switches, with their types."""

    port: int | None
    socket: str | None
    load_time: float
    never_ready: bool
    progress: bool
    hang_health: bool
    hang_health_after: int | None
    tokens: int
    tps: float
    exit_code: int
    exit_after: float | None
    exit_after_requests: int | None
    die_before_first_byte: int | None
    die_after_chunks: int | None
    once_file: str | None
    ignore_sigterm: bool
    grandchild: bool
    print: list[str]
    flood: int
    close_idle: bool
    garbage: bool
    until_close: bool
    no_done: bool
    timings: bool
    record: str | None


def parse_args() -> Options:
    """Read the switches."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="TCP port on 127.0.0.1; 0 = a free one")
    where.add_argument("--socket", help="path of a Unix socket")
    add = parser.add_argument
    add("--load-time", type=float, default=0, metavar="S", help="503 'Loading model' on every path for S seconds")
    add("--never-ready", action="store_true", help="... for ever")
    add("--progress", action="store_true", help="llama-server's child protocol on stdout while it loads")
    add("--hang-health", action="store_true", help="never answer /health")
    add("--hang-health-after", type=int, metavar="N", help="answer /health N times, then never again")
    add("--tokens", type=int, default=5, metavar="N", help="tokens in an answer")
    add("--tps", type=float, default=0, metavar="X", help="tokens a second; 0 = at once")
    add("--exit-code", type=int, default=0, metavar="C", help="for --exit-after and --exit-after-requests")
    add("--exit-after", type=float, metavar="S", help="exit after S seconds; 0 = before the port is bound")
    add("--exit-after-requests", type=int, metavar="N", help="exit once the Nth inference request is answered")
    add("--die-before-first-byte", type=int, metavar="N", help="exit 3 when the Nth inference request arrives")
    add("--die-after-chunks", type=int, metavar="N", help="exit 4 after N streamed chunks, over all requests")
    add("--once-file", metavar="PATH", help="exit and die only if PATH isn't there yet, and create it")
    add("--ignore-sigterm", action="store_true")
    add("--grandchild", action="store_true", help="fork a child that ignores SIGTERM; says 'grandchild PID'")
    add("--print", action="append", default=[], metavar="LINE", help="a line for stderr at the start; repeatable")
    add("--flood", type=int, default=0, metavar="N", help="N kB of lines to stdout and to stderr, at the start "
        "and for every inference request")  # fmt: skip
    add("--close-idle", action="store_true", help="hang up after each answer without having said so")
    add("--garbage", action="store_true", help="answer inference with something that is not HTTP")
    add("--until-close", action="store_true", help="frame inference answers by closing, as HTTP/1.0 does")
    add("--no-done", action="store_true", help="end streams without [DONE]")
    add("--timings", action="store_true", help="say how long it took, and end streams as llama-server does")
    add("--record", metavar="FILE", help="append a JSON line for each event")
    return parser.parse_args(namespace=Options())


class Gone(Exception):
    """The client left, or sent what can't be read."""


class Request:
    """One request, body and all; names of headers are in lower case."""

    def __init__(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.method = method
        self.target = target
        self.path = target.partition("?")[0]
        self.headers: dict[str, str] = {}
        for name, value in headers:
            self.headers[name] = f"{self.headers[name]}, {value}" if name in self.headers else value
        self.body = body

    def body_as_json(self) -> Any:
        """Read the body; None where it isn't JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Connection:
    """One client: reads requests, writes answers, and notices when it leaves."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")

    def requests(self) -> Iterator[Request]:
        """Yield requests until the client hangs up."""
        while line := self.file.readline():
            method, target, _version = line.decode("latin-1").split()
            headers = []
            while (line := self.file.readline().strip()) != b"":
                name, _, value = line.decode("latin-1").partition(":")
                headers.append((name.strip().lower(), value.strip()))
            fields = dict(headers)
            if fields.get("expect") == "100-continue":
                self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            chunked = fields.get("transfer-encoding", "").lower() == "chunked"
            length = int(fields.get("content-length", 0))
            yield Request(method, target, headers, self._chunks() if chunked else self.file.read(length))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.file.readline().split(b";")[0], 16):
            body += self.file.read(size)
            self.file.readline()
        while self.file.readline().strip():
            pass  # trailers
        return body

    def send(self, data: bytes) -> None:
        """Write all of it, or raise Gone."""
        try:
            self.sock.sendall(data)
        except OSError as error:
            raise Gone from error

    def wait(self, seconds: float) -> None:
        """Sleep, but raise Gone as soon as the client leaves."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self.sock], [], [], left)[0]:
                return
            try:
                if not self.sock.recv(1, socket.MSG_PEEK):
                    raise Gone
            except OSError as error:
                raise Gone from error
            time.sleep(min(left, 0.01))  # the next request is there already; it must not make us spin
            if not left:
                return


class Engine:
    """The server and its counters."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.lock = threading.Lock()
        self.healths = self.inferences = self.chunks = self.answered = 0
        self.ready = threading.Event()
        self.log = os.open(options.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if options.record else None

    # --- events -------------------------------------------------------------------------------------------

    def record(self, event: str, **fields: Any) -> None:
        """Append an event; one write each, so that threads and restarts don't mix their lines."""
        if self.log is not None:
            os.write(self.log, json.dumps({"event": event, "t": time.time(), **fields}).encode() + b"\n")

    def count(self, name: str) -> int:
        """Add one to a counter and return it."""
        with self.lock:
            value: int = getattr(self, name) + 1
            setattr(self, name, value)
            return value

    def die(self, code: int) -> None:
        """Exit without a word, unless --once-file says that it has happened already."""
        if self.options.once_file:
            try:
                os.close(os.open(self.options.once_file, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
        os._exit(code)

    def flood(self) -> None:
        """Write more than a pipe holds, if told to."""
        for _ in range(self.options.flood * 10):
            for fd in (1, 2):
                os.write(fd, LINE.encode())

    # --- the process --------------------------------------------------------------------------------------

    def run(self) -> NoReturn:
        """Start, load, and serve until a signal comes."""
        options = self.options
        self.record("start", pid=os.getpid(), argv=sys.argv)
        for line in options.print:
            say(line)
        if options.grandchild:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # before the fork: no signal may come in between
            pid = fork_stubborn()
            self.record("grandchild", pid=pid)
            say(f"grandchild {pid}")
        signal.signal(signal.SIGTERM, self.on_sigterm)
        if options.exit_after == 0:
            self.die(options.exit_code)
        listener = listen(options)
        if options.exit_after:
            timer = threading.Timer(options.exit_after, self.die, [options.exit_code])
            timer.daemon = True
            timer.start()
        threading.Thread(target=self.load, daemon=True).start()
        self.flood()
        # A signal that comes right before a blocking accept() would be seen only after it: this wakes the wait for one.
        woken, waking = socket.socketpair()
        waking.setblocking(False)
        signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([listener, woken], [], [])
            if woken in ready:
                woken.recv(64)
            if listener in ready:
                sock, _ = listener.accept()
                threading.Thread(target=self.serve, args=[sock], daemon=True).start()

    def on_sigterm(self, *_: object) -> None:
        """Leave as engines do, at once, or stay."""
        self.record("sigterm")
        if not self.options.ignore_sigterm:
            os._exit(0)

    def load(self) -> None:
        """Take the time that loading takes, and tell how far it is."""
        steps = 4
        for step in range(steps):
            self.tell("loading", {"stages": ["text_model"], "current": "text_model", "value": step / steps})
            time.sleep(self.options.load_time / steps)
        if not self.options.never_ready:
            self.ready.set()
            self.tell("ready", {"id": "fake", "tags": ["fake"], "meta": {"n_ctx": 4096, "n_vocab": 8}})

    def tell(self, state: str, payload: dict[str, Any]) -> None:
        """Write one line of llama-server's child protocol."""
        if self.options.progress:
            line = json.dumps({"state": state, "payload": payload}, separators=(",", ":"))
            os.write(1, f"cmd_child_to_router:state:{line}\n".encode())

    # --- requests -----------------------------------------------------------------------------------------

    def serve(self, sock: socket.socket) -> None:
        """Answer one connection's requests."""
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection, path = Connection(sock), ""
        try:
            for request in connection.requests():
                body, path = request.body_as_json(), request.path
                shown = body if body is not None else request.body.decode("latin-1")
                self.record("request", method=request.method, path=request.target, headers=request.headers, body=shown)
                if not self.answer(connection, request, body) or self.options.close_idle:
                    break
        except Gone:
            self.record("client_left", path=path)
        except (OSError, ValueError):
            pass  # it hung up in the middle of a request, or doesn't speak HTTP
        finally:
            connection.file.close()
            sock.close()

    def answer(self, connection: Connection, request: Request, body: Any) -> bool:
        """Answer one request; return whether the connection can be used again."""
        if not self.ready.is_set():
            return reply_error(connection, request, 503, "Loading model", "unavailable_error")
        if request.path in ("/health", "/v1/health"):
            return self.health(connection, request)
        if request.method == "POST" and request.path in INFERENCE:
            return self.infer(connection, request, body)
        if request.path == "/tokenize":
            words = str((body or {}).get("content", "")).split()
            return reply(connection, request, {"tokens": list(range(len(words)))})
        if request.path == "/props":
            return reply(
                connection, request, {"total_slots": 1, "model_path": "fake", "default_generation_settings": {}}
            )
        if request.path == "/echo-headers":
            return reply(connection, request, request.headers)
        return reply_error(connection, request, 404, "File Not Found", "not_found_error")

    def health(self, connection: Connection, request: Request) -> bool:
        """Answer /health, or let it hang."""
        after = self.options.hang_health_after
        if self.options.hang_health or (after is not None and self.count("healths") > after):
            connection.wait(3600)
        return reply(connection, request, {"status": "ok"})

    def infer(self, connection: Connection, request: Request, body: Any) -> bool:
        """Answer an inference request, or fail as told."""
        options = self.options
        if self.count("inferences") == options.die_before_first_byte:
            self.die(3)
        self.flood()
        if options.garbage:
            connection.send(b"\x00\x01 this is not HTTP \xff\r\n\r\n")
            return False
        if request.path == "/v1/audio/transcriptions":
            reply(connection, request, {"text": f"{len(request.body)} bytes"})
        elif not isinstance(body, dict):
            return reply_error(connection, request, 400, "the body is not a JSON object", "invalid_request_error")
        elif body.get("tool_choice") in ("required", {"type": "any"}) and request.path in CALLS:
            call(connection, request, body)
        elif body.get("stream") is True and request.path in STREAMABLE:
            self.stream(connection, request.path, body)
        else:
            connection.wait(options.tokens / options.tps if options.tps else 0)
            answer = whole(request.path, body, options.tokens)
            if options.timings:
                answer |= LAST
            if options.until_close:
                connection.send(UNFRAMED % b"application/json" + json.dumps(answer).encode())
            else:
                reply(connection, request, answer)
        if self.count("answered") == options.exit_after_requests:
            self.die(options.exit_code)
        return not options.until_close

    def stream(self, connection: Connection, path: str, body: dict[str, Any]) -> None:
        """Answer with server-sent events, one HTTP chunk each."""
        if self.options.until_close:
            connection.send(UNFRAMED % b"text/event-stream")
            send = connection.send
        else:
            connection.send(CHUNKED)

            def send(data: bytes) -> None:
                send_chunk(connection, data)

        for number in range(self.options.tokens):
            connection.wait(1 / self.options.tps if self.options.tps else 0)
            name = b"event: content_block_delta\n" if path == "/v1/messages" else b""
            send(name + b"data: " + json.dumps(piece(path, body, number)).encode() + b"\n\n")
            if self.count("chunks") == self.options.die_after_chunks:
                self.die(4)
        if self.options.timings:
            choice = {"index": 0, "delta": {}, "finish_reason": "length"}
            send(b"data: " + json.dumps({"choices": [choice], **LAST}).encode() + b"\n\n")
        if not self.options.no_done:
            send(b"data: [DONE]\n\n")
        if not self.options.until_close:
            send(b"")


# --- answers ----------------------------------------------------------------------------------------------


LAST = {
    "system_fingerprint": "b1-fake",
    "timings": {
        "prompt_n": 24,
        "prompt_ms": 111.0,
        "predicted_n": 53,
        "predicted_ms": 954.0,
        "predicted_per_second": 55.5,
    },
}
"""What llama-server says at the end of an answer."""


def whole(path: str, body: dict[str, Any], tokens: int) -> dict[str, Any]:
    """Make an answer that isn't streamed; it holds the request's body, so that tests can see what was edited."""
    model, text = body.get("model", "fake"), "".join(token(number) for number in range(tokens))
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
    answer: dict[str, Any] = {"id": "fake-1", "created": 0, "model": model, "usage": usage, "request_body": body}
    if path == "/v1/chat/completions":
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {**answer, "object": "chat.completion", "choices": [choice]}
    if path == "/v1/completions":
        choice = {"index": 0, "text": text, "finish_reason": "stop"}
        return {**answer, "object": "text_completion", "choices": [choice]}
    if path == "/v1/embeddings":
        inputs = body.get("input", "")
        count = len(inputs) if isinstance(inputs, list) else 1
        data = [{"object": "embedding", "index": n, "embedding": [0.5, -0.5]} for n in range(count)]
        return {**answer, "object": "list", "data": data}
    if path == "/v1/messages":
        return {**answer, "type": "message", "role": "assistant", "content": [{"type": "text", "text": text}]}
    if path == "/v1/responses":
        content = [{"type": "output_text", "text": text, "annotations": []}]
        output = [{"type": "message", "role": "assistant", "content": content}]
        return {**answer, "object": "response", "output": output}
    return {**answer, "content": text, "stop": True}


def piece(path: str, body: dict[str, Any], number: int) -> dict[str, Any]:
    """Make one event of a stream."""
    text, model = token(number), body.get("model", "fake")
    if path == "/v1/chat/completions":
        choice: dict[str, Any] = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        return {"id": "fake-1", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": [choice]}
    if path == "/v1/completions":
        choice = {"index": 0, "text": text, "finish_reason": None}
        return {"id": "fake-1", "object": "text_completion", "created": 0, "model": model, "choices": [choice]}
    if path == "/v1/messages":
        return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    return {"content": text, "stop": False, "model": model}


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":7}'}}
CHAT_CALLS: list[dict[str, Any]] = [
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"index": 0, **CALL, "function": {"name": "f", "arguments": ""}}],
    },
    {"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]},
    {"tool_calls": [{"index": 0, "function": {"arguments": ":7}"}}]},
]
BLOCK = {"type": "tool_use", "id": "call_1", "name": "f", "input": {}}
MESSAGE = {"id": "fake-1", "type": "message", "role": "assistant", "stop_sequence": None}
USED = {"input_tokens": 1, "output_tokens": 2}
MESSAGE_CALLS: list[dict[str, Any]] = [
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None, "usage": USED}},
    {"type": "content_block_start", "index": 0, "content_block": BLOCK},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": ":7}"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": USED},
    {"type": "message_stop"},
]
CALLS = {"/v1/chat/completions": CHAT_CALLS, "/v1/messages": MESSAGE_CALLS}
"""A call of a tool, in the pieces that llama-server streams it in."""


def call(connection: Connection, request: Request, body: dict[str, Any]) -> None:
    """Call the tool `f` with `{"a": 7}`, if that has to be."""
    about = {"id": "fake-1", "created": 0, "model": body.get("model")}
    chat = request.path == "/v1/chat/completions"
    if body.get("stream") is True:
        connection.send(CHUNKED)
        for piece in CALLS[request.path]:
            if chat:
                choice = {"index": 0, "delta": piece, "finish_reason": None}
                event, name = {**about, "object": "chat.completion.chunk", "choices": [choice]}, b""
            else:
                event, name = piece, b"event: %s\n" % piece["type"].encode()
            send_chunk(connection, name + b"data: " + json.dumps(event).encode() + b"\n\n")
        if chat:
            choice = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
            last = json.dumps({**about, "object": "chat.completion.chunk", "choices": [choice]})
            send_chunk(connection, b"data: " + last.encode() + b"\n\ndata: [DONE]\n\n")
        send_chunk(connection, b"")
    elif chat:
        message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        reply(connection, request, {**about, "object": "chat.completion", "choices": [choice]})
    else:
        content = [{**BLOCK, "input": {"a": 7}}]
        more = {"content": content, "stop_reason": "tool_use", "usage": USED, "model": body.get("model")}
        reply(connection, request, {**MESSAGE, **more})


def token(number: int) -> str:
    """Return the text of the token with this number."""
    return f"token{number} "


def reply(connection: Connection, request: Request, answer: Any, status: str = "200 OK") -> bool:
    """Send JSON; return whether the connection can be used again: llama-server closes it after every error."""
    data = json.dumps(answer).encode()
    keep = status.startswith("200") and request.headers.get("connection", "").lower() != "close"
    head = (
        f"HTTP/1.1 {status}\r\nServer: fake\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(data)}\r\n{'' if keep else CLOSE}\r\n"
    )
    connection.send(head.encode() + (b"" if request.method == "HEAD" else data))
    return keep


def reply_error(connection: Connection, request: Request, code: int, message: str, type_: str) -> bool:
    """Send an error in llama-server's shape."""
    error = {"error": {"message": message, "type": type_, "code": code}}
    return reply(connection, request, error, f"{code} Error")


def send_chunk(connection: Connection, data: bytes) -> None:
    """Send one HTTP chunk; an empty one ends the body."""
    connection.send(b"%x\r\n%b\r\n" % (len(data), data))


# --- the process ------------------------------------------------------------------------------------------


def say(line: str) -> None:
    """Write a line to the log."""
    os.write(2, line.encode() + b"\n")


def listen(options: Options) -> socket.socket:
    """Bind, and say where."""
    if options.socket is not None:
        if os.path.exists(options.socket):
            os.unlink(options.socket)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(options.socket)
        address = f"unix:{options.socket}"
    else:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", options.port))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.listen(128)
    say(f"listening on {address}")
    return listener


def fork_stubborn() -> int:
    """Fork a child that only SIGKILL ends, or ten minutes; it keeps our pipes and ignores what we ignore."""
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    return pid


if __name__ == "__main__":
    Engine(parse_args()).run()
