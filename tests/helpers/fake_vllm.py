"""A stand-in for `vllm serve`, written from vLLM's documentation: its command line, its HTTP, and how it sleeps.

It does not know llmsup. Run as `python fake_vllm.py serve MODEL --uds PATH ...`; what it is to do wrong, and how long
it takes, is in the variable FAKE_VLLM, as JSON: see `Moods`.

A request to one that is asleep ends it, as it did vLLM (its issue 15483): nobody may do that.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import threading
import time
from typing import Any, NoReturn
from urllib.parse import parse_qs, urlsplit

from fake_engine import CHUNKED, Connection, Gone, Request, reply, send_chunk

VERSION = "0.33.0"


class Moods:
    """What FAKE_VLLM may hold."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.load_time: float = said.get("load_time", 0.0)
        self.sleep_time: float = said.get("sleep_time", 0.0)
        self.wake_time: float = said.get("wake_time", 0.0)
        self.fails: list[str] = said.get("fails", [])  # paths that answer 500
        self.hangs: list[str] = said.get("hangs", [])  # paths that never answer
        self.dies: list[str] = said.get("dies", [])  # paths that end it
        self.lacks: list[str] = said.get("lacks", [])  # flags of newer versions
        self.tokens: int = said.get("tokens", 5)
        self.tps: float = said.get("tps", 0.0)
        self.record: str = said.get("record", "")
        self.no_help: bool = said.get("no_help", False)


def parser(moods: Moods) -> argparse.ArgumentParser:
    """The flags that matter here, of some three hundred."""
    made = argparse.ArgumentParser(prog="vllm serve", add_help=False)
    made.add_argument("model_tag", nargs="?")
    flags: list[tuple[tuple[str, ...], dict[str, Any]]] = [
        (("--host",), {}),
        (("--port",), {"type": int, "default": 8000}),
        (("--uds",), {"help": "Unix domain socket path. If set, host and port arguments are ignored."}),
        (("--served-model-name",), {"nargs": "+"}),
        (("--max-model-len",), {"type": int}),
        (("--max-num-seqs",), {"type": int}),
        (("--gpu-memory-utilization",), {"type": float, "default": 0.92}),
        (("--kv-cache-memory-bytes",), {}),
        (("--kv-cache-dtype",), {"choices": ["auto", "fp8"]}),
        (("--runner",), {"choices": ["auto", "draft", "generate", "pooling"], "default": "auto"}),
        (("--tensor-parallel-size", "-tp"), {"type": int, "default": 1}),
        (("--pipeline-parallel-size", "-pp"), {"type": int, "default": 1}),
        (("--distributed-executor-backend",), {}),
        (("--enable-sleep-mode",), {"action": argparse.BooleanOptionalAction}),
        (("--api-key",), {}),
    ]
    for names, how in flags:
        if names[0] not in moods.lacks:
            made.add_argument(*names, **how)
    return made


class Vllm:
    """The server."""

    def __init__(self, args: argparse.Namespace, moods: Moods) -> None:
        self.args = args
        self.moods = moods
        self.names: list[str] = args.served_model_name or [args.model_tag]
        self.dev = os.environ.get("VLLM_SERVER_DEV_MODE") == "1"
        self.can_sleep = bool(getattr(args, "enable_sleep_mode", False))
        self.asleep: set[str] = set()  # the tags whose memory is gone
        self.weights = True  # false: level 2 dropped them, and nobody has read them again
        self.lock = threading.Lock()
        self.log = os.open(moods.record, os.O_WRONLY | os.O_APPEND | os.O_CREAT) if moods.record else None

    def record(self, event: str, **fields: Any) -> None:
        if self.log is not None:
            os.write(self.log, json.dumps({"event": event, "pid": os.getpid(), **fields}).encode() + b"\n")

    def run(self) -> NoReturn:
        self.record("start", argv=sys.argv[1:], env={k: v for k, v in os.environ.items() if "VLLM" in k or "RAY" in k})
        time.sleep(self.moods.load_time)  # vLLM binds its port early, and answers once it has loaded
        uds = getattr(self.args, "uds", None)
        if uds:
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(uds)
        else:
            listener = socket.create_server((self.args.host or "0.0.0.0", self.args.port))
        listener.listen(128)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=self.serve, args=[sock], daemon=True).start()

    def serve(self, sock: socket.socket) -> None:
        connection = Connection(sock)
        try:
            for request in connection.requests():
                self.record("request", method=request.method, target=request.target)
                if not self.answer(connection, request):
                    break
        except (Gone, OSError, ValueError):
            pass
        finally:
            connection.file.close()
            sock.close()

    def answer(self, connection: Connection, request: Request) -> bool:
        parts = urlsplit(request.target)
        path, query = parts.path, parse_qs(parts.query)
        if path in self.moods.dies:
            os._exit(1)
        if path in self.moods.hangs:
            connection.wait(3600)
        if path in self.moods.fails:
            return reply(connection, request, {"detail": "as told"}, "500 Internal Server Error")
        match request.method, path:
            case "GET", "/health" | "/ping":
                return self.empty(connection, request)
            case "GET", "/version":
                return reply(connection, request, {"version": VERSION})
            case "GET", "/metrics":
                return reply(connection, request, "vllm:num_requests_running 0.0")
            case "GET", "/v1/models":
                return reply(connection, request, {"object": "list", "data": [{"id": name} for name in self.names]})
            case "POST", "/v1/chat/completions" | "/v1/embeddings":
                return self.infer(connection, request, path)
            case _ if self.dev:
                return self.develop(connection, request, path, query)
        return reply(connection, request, {"detail": "Not Found"}, "404 Not Found")

    def develop(self, connection: Connection, request: Request, path: str, query: dict[str, list[str]]) -> bool:
        """The paths of the development mode."""
        with self.lock:
            match request.method, path:
                case "POST", "/sleep" if self.can_sleep:
                    time.sleep(self.moods.sleep_time)
                    level = int(query.get("level", ["1"])[0])
                    self.asleep = {"weights", "kv_cache"}
                    self.weights = self.weights and level < 2
                    self.record("sleep", level=level)
                    return self.empty(connection, request)
                case "POST", "/wake_up" if self.can_sleep:
                    time.sleep(self.moods.wake_time)
                    self.asleep -= set(query.get("tags", ["weights", "kv_cache"]))
                    self.record("wake", tags=query.get("tags"))
                    return self.empty(connection, request)
                case "POST", "/collective_rpc":
                    body = request.body_as_json()
                    if body == {"method": "reload_weights"} and "weights" not in self.asleep:
                        self.weights = True
                    self.record("rpc", body=body)
                    return reply(connection, request, {"results": [None]})
                case "GET", "/is_sleeping":
                    return reply(connection, request, {"is_sleeping": bool(self.asleep)})
        return reply(connection, request, {"detail": "Not Found"}, "404 Not Found")

    def empty(self, connection: Connection, request: Request) -> bool:
        connection.send(b"HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-length: 0\r\n\r\n")
        return True

    def infer(self, connection: Connection, request: Request, path: str) -> bool:
        if self.asleep:
            self.record("asked asleep")
            os._exit(9)  # CUDA error: an illegal memory access was encountered
        body = request.body_as_json() or {}
        if body.get("model") not in self.names:
            error = {"message": f"The model `{body.get('model')}` does not exist.", "type": "NotFoundError"}
            return reply(connection, request, {"error": {**error, "code": 404}}, "404 Not Found")
        about = {"id": "chatcmpl-1", "created": 0, "model": body["model"]}
        if path == "/v1/embeddings":
            data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
            return reply(connection, request, {**about, "object": "list", "data": data})
        words = [f"token{number} " if self.weights else "!" for number in range(self.moods.tokens)]
        if body.get("stream"):
            connection.send(CHUNKED)
            for word in words:
                connection.wait(1 / self.moods.tps if self.moods.tps else 0)
                choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
                event = {**about, "object": "chat.completion.chunk", "choices": [choice]}
                send_chunk(connection, b"data: " + json.dumps(event).encode() + b"\n\n")
            send_chunk(connection, b"data: [DONE]\n\n")
            send_chunk(connection, b"")
            return True
        connection.wait(self.moods.tokens / self.moods.tps if self.moods.tps else 0)
        message = {"role": "assistant", "content": "".join(words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": 1 + len(words)}
        whole = {**about, "object": "chat.completion", "choices": [choice], "usage": usage, "request_body": body}
        return reply(connection, request, whole)


def main() -> None:
    moods = Moods(json.loads(os.environ.get("FAKE_VLLM", "{}")))
    words = sys.argv[1:]
    assert words[:1] == ["serve"], words
    made = parser(moods)
    if "--help" in words:
        print(made.prog, "Config Groups: ModelConfig, Frontend")  # since 0.11
        return
    if "--help=all" in words:
        if moods.no_help:
            sys.exit("RuntimeError: Failed to infer device type")
        print(made.format_help())
        return
    Vllm(made.parse_args(words[1:]), moods).run()


if __name__ == "__main__":
    main()
