"""How long `/health` takes while large bodies come in, and how much memory they take: python -m tools.bench_bodies.

The target is 50 ms during any body up to `max_body`; it is not checked here.
"""

from __future__ import annotations

import http.client
import itertools
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import tomli_w

FAKE = Path(__file__).parent.parent / "tests" / "helpers" / "fake_engine.py"
MIB = 2**20

PART = b'--B\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n'
FILE = (
    PART.replace(b"x", b"model").replace(b"\r\n\r\n\r\n", b"\r\n\r\nm\r\n")
    + PART.replace(b'"x"', b'"x"; filename="x"')[:-2]
)
FORM = "multipart/form-data; boundary=B"

OLLAMA = "/api/chat"

Body = tuple[str, int, Iterable[bytes]]
"""Its content type, its length, and its pieces."""


def filled(begin: bytes, filler: bytes, size: int, end: bytes, kind: str = "application/json") -> Body:
    """A body with about so many bytes of filler."""
    block = filler * max(1, MIB // len(filler))
    count = max(1, size // len(block))
    return kind, len(begin) + count * len(block) + len(end), itertools.chain([begin], [block] * count, [end])


def images(size: int) -> Body:
    """A chat of Ollama's with about so many bytes of images, as base64."""
    begin = b'{"model":"m","stream":false,"messages":[{"role":"user","content":"what?","images":["'
    return filled(begin, b"A", size, b'"]}]}')


def bodies() -> Iterator[tuple[str, int, Body]]:
    """What to send: a name, how many at the same time, and the body."""
    model = b'{"model":"m",'
    yield "256 MiB: one string", 1, filled(model + b'"a":"', b"A", 255 * MIB, b'"}')
    yield "256 MiB: escapes", 1, filled(model + b'"a":"', b"\\n", 255 * MIB, b'"}')
    yield "256 MiB: numbers", 1, filled(model + b'"a":[', b"12345,", 255 * MIB, b"0]}")
    yield "256 MiB: texts", 1, filled(model + b'"a":[', b'"%s",' % (b"word " * 200), 255 * MIB, b'""]}')
    yield "256 MiB: empty arrays", 1, filled(model + b'"a":[', b"[],", 255 * MIB, b"0]}")
    yield "256 MiB: members of one name", 1, filled(b"{", b'"a":0,', 255 * MIB, b'"model":"m"}')
    yield "256 MiB: spaces", 1, filled(model, b" ", 255 * MIB, b"}")
    yield "256 MiB: a file in a form", 1, filled(FILE, b"A", 255 * MIB, b"\r\n--B--\r\n", FORM)
    yield "10 MiB: empty parts of a form", 1, filled(b"", PART, 10 * MIB, b"--B--\r\n", FORM)
    yield "400 MiB: too large", 1, filled(model + b'"a":"', b"A", 400 * MIB, b'"}')
    for _ in range(3):
        yield "20 MiB: images for Ollama", 1, images(20 * MIB)
    for_six = [filled(model + b'"a":"', b"A", 100 * MIB, b'"}') for _ in range(6)]
    yield "6 x 100 MiB: one string", 6, for_six[0]


def send(port: int, path: str, body: Body, said: list[str]) -> None:
    """Send one as fast as it is accepted, and record the response's status."""
    kind, size, pieces = body
    with socket.create_connection(("127.0.0.1", port)) as sock:
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
        status = b""
        try:
            sock.sendall(f"{head}content-length: {size}\r\n\r\n".encode())
            for piece in pieces:
                sock.sendall(piece)
        except OSError:
            pass  # cut off, but the response is there
        try:
            status = sock.recv(65536)[9:12]
        except OSError:
            status = b"cut"
        said.append(status.decode())


def measure(
    port: int, process: psutil.Process, count: int, path: str, body: Body
) -> tuple[list[float], int, list[str]]:
    """Request `/health` until all bodies are answered: the seconds of each, the peak memory, and the responses."""
    kind, size, pieces = body
    copies = itertools.tee(pieces, count)
    said: list[str] = []
    threads = [threading.Thread(target=send, args=(port, path, (kind, size, each), said)) for each in copies]
    times, most = [], 0
    health = http.client.HTTPConnection("127.0.0.1", port)
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        began = time.perf_counter()
        health.request("GET", "/health")
        health.getresponse().read()
        times.append(time.perf_counter() - began)
        most = max(most, process.memory_info().rss)
        time.sleep(0.002)
    return times, most, said


def main() -> None:
    """Start llmsup with a fake engine, and send it one kind of body after another."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(FAKE), "--socket", "${SOCKET}"]
        config = {
            "server": {"listen": f"127.0.0.1:{port}", "state_dir": folder},
            "catalog": {"roots": [], "ollama": ""},
            "bridge": {"every": "never"},
            "models": {"m": {"command": command}},
        }
        file = Path(folder, "llmsup.toml")
        file.write_text(tomli_w.dumps(config))
        serve = [sys.executable, "-m", "llmsup", "serve", "--config", str(file)]
        served = subprocess.Popen(serve, stderr=subprocess.DEVNULL)
        try:
            process = psutil.Process(served.pid)
            warm_up(port)
            print(f"{'body':32} {'median':>9} {'99 %':>9} {'worst':>9} {'memory':>9}  answers")
            for what, count, body in bodies():
                times, most, said = measure(
                    port, process, count, OLLAMA if "Ollama" in what else "/v1/chat/completions", body
                )
                times.sort()
                shown = [times[len(times) // 2], times[int(len(times) * 0.99)], times[-1]]
                figures = " ".join(f"{1000 * each:6.1f} ms" for each in shown)
                print(f"{what:32} {figures} {most / MIB:5.0f} MiB  {' '.join(said)}", flush=True)
        finally:
            served.terminate()
            served.wait()


def warm_up(port: int) -> None:
    """Wait until it answers and the model is loaded."""
    for _ in range(300):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port)
            connection.request("POST", "/v1/chat/completions", json.dumps({"model": "m", "messages": []}))
            connection.getresponse().read()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit("llmsup does not answer")


if __name__ == "__main__":
    main()
