"""The ways to reach an engine that are compared; each is a process that is started here and reliably ended."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import tomli_w
import trio
from attrs import frozen

from llmsup.engines.address import Address, TcpAddress
from llmsup.engines.ports import LOOPBACK, free_port
from tools.bench_drive import Client, Failed, Request, until_answers

ROOT = Path(__file__).parent.parent
FAKE = ROOT / "tests" / "helpers" / "fake_engine.py"
MODEL = "smollm2"
HEALTH = Request("/health")

FAKES = {
    "fake": ("--tokens", "5000"),
    "brief": ("--tokens", "2"),
    "paced": ("--tokens", "200", "--tps", "100"),
    "slow": ("--tokens", "20", "--tps", "1"),
}
"""Fake engines, and their switches."""


@frozen
class Way:
    """One column: an address, and the process behind it.

    Attributes:
        pid: The process that listens there, which may be the engine or something in front of it.
    """

    name: str
    address: Address
    pid: int

    def cpu(self) -> float:
        """Seconds of CPU that the process has used, its children's not counted."""
        times = psutil.Process(self.pid).cpu_times()
        return times.user + times.system


@contextmanager
def process(argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program with its output in a file, and end it and its group on the way out."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=log.parent, start_new_session=True
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            print(f"{argv[0]} (pid {child.pid}) does not end: killing it", file=sys.stderr)
        with suppress(OSError):  # usually nothing is left
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def line_in(log: Path, pattern: str, child: subprocess.Popen[bytes], patience: float = 30) -> re.Match[str]:
    """Wait for a line of a program's output. Raises Failed."""
    deadline = time.monotonic() + patience
    while True:
        text = log.read_text("utf-8", "replace")
        if match := re.search(pattern, text):
            return match
        if child.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{child.args!r} did not get ready:\n{text[-2000:]}")
        time.sleep(0.01)


@contextmanager
def llmsup(directory: Path, config: dict[str, Any]) -> Iterator[Way]:
    """`llmsup serve` with its own config and home directory."""
    directory.mkdir()
    home = directory / "home"
    home.mkdir()
    file, log = directory / "llmsup.toml", directory / "llmsup.log"
    file.write_text(tomli_w.dumps(config), encoding="utf-8")
    env = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)}
    argv = [sys.executable, "-m", "llmsup", "serve", "--config", str(file), "--listen", f"{LOOPBACK}:0"]
    with process(argv, log, env) as child:
        port = int(line_in(log, r"listening on \S+:(\d+)", child, patience=300)[1])
        yield Way("llmsup", TcpAddress(LOOPBACK, port), child.pid)


async def command_of(way: Way) -> list[str]:
    """The command line of the engine that llmsup is running."""
    client = Client(way.address)
    [entry] = json.loads(await client.ask(Request("/running")))
    await client.close()
    return shlex.split(entry["cmd"])


def with_host(command: Sequence[str], *host: str) -> list[str]:
    """The same command line with another address to listen on."""
    at = list(command).index("--host")
    return [*command[:at], "--host", *host, *command[at + 2 :]]


@contextmanager
def direct(directory: Path, command: Sequence[str]) -> Iterator[Way]:
    """The engine itself, on a TCP port."""
    address = TcpAddress(LOOPBACK, free_port())
    argv = with_host(command, address.host, "--port", str(address.port))
    with process(argv, directory / "direct.log") as child:
        trio.run(until_answers, address, HEALTH)
        yield Way("direct", address, child.pid)


@contextmanager
def router(directory: Path, command: Sequence[str], model: Path) -> Iterator[Way]:
    """llama-server's own router, which passes the same flags to its children."""
    models = directory / "models"
    models.mkdir()
    (models / f"{MODEL}.gguf").symlink_to(model)
    address = TcpAddress(LOOPBACK, free_port())
    words = with_host(command, address.host, "--port", str(address.port), "--models-dir", str(models))
    for flag in ("--model", "--alias"):
        at = words.index(flag)
        del words[at : at + 2]
    with process(words, directory / "router.log") as child:
        trio.run(until_answers, address, HEALTH)
        yield Way("router", address, child.pid)


@contextmanager
def llama_swap(directory: Path, program: Path, command: Sequence[str]) -> Iterator[Way]:
    """llama-swap in front of an engine with the same flags, and of the same fake ones as llmsup. Its config is JSON,
    which is valid YAML; it splits commands like a shell, and replaces `${PORT}`.
    """
    file, address = directory / "llama-swap.yaml", TcpAddress(LOOPBACK, free_port())
    commands = {MODEL: with_host(command, LOOPBACK, "--port", "${PORT}")}
    for name, switches in FAKES.items():
        commands[name] = [sys.executable, str(FAKE), "--port", "${PORT}", *switches]
    models = {
        name: {"cmd": shlex.join(words).replace("'${PORT}'", "${PORT}"), "proxy": f"http://{LOOPBACK}:${{PORT}}"}
        for name, words in commands.items()
    }
    groups = {"all": {"swap": False, "exclusive": False, "members": list(models)}}
    config = {"startPort": free_port(), "healthCheckTimeout": 120, "models": models, "groups": groups}
    file.write_text(json.dumps(config), encoding="utf-8")
    argv = [str(program), "-config", str(file), "-listen", f"{address.host}:{address.port}"]
    with process(argv, directory / "llama-swap.log") as child:
        trio.run(until_answers, address, HEALTH)
        yield Way("llama-swap", address, child.pid)


@contextmanager
def fake(directory: Path, *switches: str) -> Iterator[Way]:
    """The tests' fake engine, on a TCP port."""
    log = directory / f"fake{'-'.join(switches)}.log"
    with process([sys.executable, str(FAKE), "--port", "0", *switches], log) as child:
        port = int(line_in(log, r"listening on http://\S+:(\d+)", child)[1])
        yield Way("direct", TcpAddress(LOOPBACK, port), child.pid)
