"""A whole llmsup on a host of `netns`, with real engines, and clients that talk to it from any host."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import tomli_w
import trio
from attrs import define
from netns import PATIENCE
from netns_hosts import Host, Program
from real_engines import llama_server, smollm2
from serving import Client

from llmsup.engines.http import Headers
from llmsup.engines.pool import Answer

ROOT = Path(__file__).parents[2]
PORT = 5005


class HostClient(Client):
    """A client on a host."""

    patience = PATIENCE

    def __init__(self, host: Host, address: str, key: str, port: int = PORT) -> None:
        super().__init__(port)
        self._connect = partial(host.connect, address, port)
        self._key = [(b"authorization", b"Bearer " + key.encode())]
        self.pool._opening = f"host: {address}:{port}\r\n".encode()

    async def connect(self) -> trio.abc.Stream:
        return await self._connect()

    async def send(self, method: str, path: str, body: Any = None, headers: Headers | None = None) -> Answer:
        return await super().send(method, path, body, [*(headers or []), *self._key])


@define(eq=False)
class Machine:
    """A llmsup that runs on a host."""

    host: Host
    program: Program
    key: str
    client: HostClient
    log: Path

    def seen_from(self, host: Host) -> HostClient:
        """A client on another host."""
        return HostClient(host, self.host.address, self.key)


def smol(**table: Any) -> dict[str, Any]:
    """A model's table: the demo model on a real llama-server."""
    return {
        "path": str(smollm2()),
        "engine": "llama-server",
        "ctx_size": 8192,
        "parallel": 1,
        "threads": 1,
        **table,
    }


def by_command(*before: str) -> dict[str, Any]:
    """The same as a command of its own: nothing is known of how long it takes to load, so that whoever has it loaded is
    asked first, however busy the tests' machine is. `before`: what the command begins with.
    """
    server = [str(llama_server()), "-m", str(smollm2()), "-c", "8192", "-np", "1", "-t", "1", "--port", "${PORT}"]
    return {"command": [*before, *server]}


def gated(gate: Path) -> dict[str, Any]:
    """The same, but it begins to load when somebody writes to this FIFO."""
    return by_command("sh", "-c", 'read -r _ <"$0" && exec "$@"', str(gate))


def url(host: Host, port: int = PORT) -> str:
    """Where a llmsup on that host is."""
    return f"http://{host.address}:{port}"


@asynccontextmanager
async def llmsup(
    host: Host,
    folder: Path,
    *,
    models: Mapping[str, Any] | None = None,
    peers: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
    **tables: Any,
) -> AsyncIterator[Machine]:
    """Have one run on a host, as a process of its own, until the block is left. Its key is key-of-NAME."""
    home = folder / host.name
    home.mkdir(exist_ok=True)
    config, log, key = home / "llmsup.toml", home / "log", f"key-of-{host.name}"
    own = {"listen": f"{host.address}:{PORT}", "api_keys": [key], "state_dir": str(home / "state")}
    settings = {
        "server": {**own, "shutdown_grace": "1s", **(server or {})},
        "bridge": {"every": "never"},
        "catalog": {"roots": []},
        "engines": {"llama-server": {"command": [str(llama_server())]}},
        "models": models or {},
        "peers": peers or {},
        **tables,
    }
    config.write_text(tomli_w.dumps(settings))
    words = [sys.executable, "-m", "llmsup", "serve", "--config", str(config)]
    env = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": ""}
    with log.open("wb") as stderr:
        async with host.running(words, stdout=subprocess.DEVNULL, stderr=stderr, env=env, cwd=home) as program:
            with trio.fail_after(PATIENCE):
                while "listening on" not in log.read_text():
                    assert program.process.poll() is None, log.read_text()
                    await trio.sleep(0.02)  # a file can only be looked at again and again
            client = HostClient(host, host.address, key)
            try:
                yield Machine(host, program, key, client, log)
            except BaseException:
                print(f"---- {host.name}\n{log.read_text()}")
                raise
            finally:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
                    await client.pool.close()
