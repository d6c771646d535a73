"""Ollama's port beside the usual one: who has it is named."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_ollama import fake_ollama
from serving import Client, fake, serving

from llmsup.cli import main
from llmsup.config import Config, Server
from llmsup.config.keys import hash_of
from llmsup.config.load import parse
from llmsup.engines.kinds import KINDS
from llmsup.errors import ConfigError, SetupError
from llmsup.web import second_port
from llmsup.web.second_port import listen_all, occupant


def read(said: object) -> Config:
    return parse({"server": {"ollama_listen": said}}, "x", engines=KINDS.words)


@pytest.mark.parametrize(
    ("said", "meant"), [(True, "127.0.0.1:11434"), (False, ""), ("", ""), ("[::1]:11434", "[::1]:11434")]
)
def test_true_is_ollamas_own_address(said: object, meant: str) -> None:
    assert read(said).server.ollama_listen == meant


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (11434, 'expected HOST:PORT, or true for "127.0.0.1:11434"'),
        ("11434", "is not HOST:PORT"),
        ("127.0.0.1:5005", "it is the address of 'listen'"),
    ],
)
def test_what_it_can_not_be(said: object, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(said)
    assert told in caught.value.mistakes[0]
    assert caught.value.mistakes[0].endswith("server.ollama_listen")


def test_both_are_bound() -> None:
    table = {"listen": "127.0.0.1:0", "ollama_listen": "127.0.0.1:0"}
    sockets = listen_all(parse({"server": table}, "x", engines=KINDS.words).server)
    assert len({each.getsockname() for each in sockets}) == 2
    for each in sockets:
        each.close()


def test_an_ollama_that_has_it_is_named() -> None:
    with fake_ollama() as ollama, pytest.raises(SetupError) as caught:
        listen_all(Server(listen="127.0.0.1:0", ollama_listen=ollama.address))
    assert f"Can't listen on {ollama.address} (server.ollama_listen): Ollama 0.12.6 does already." in str(caught.value)
    assert "OLLAMA_HOST" in (caught.value.hint or "")


def test_anybody_else_who_has_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who never answers doesn't hold up the start."""
    monkeypatch.setattr(second_port, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SetupError) as caught:
            listen_all(Server(listen="127.0.0.1:0", ollama_listen=address))
    assert f"Can't listen on {address} (server.ollama_listen): Address already in use. Stop " in str(caught.value)


async def test_the_same_is_served_there() -> None:
    """One app, one set of rules, two addresses."""
    async with serving(fake("m"), second=True) as served:
        second = Client(served.tree.sockets[1].getsockname()[1])
        assert (await second.get("/api/tags")).json == (await served.client.get("/api/tags")).json
        assert (await second.chat("m")).status == 200
        got = await second.ask("GET", "/api/tags", None, [(b"origin", b"https://evil.example")])
        assert got.status == 403
        await second.pool.close()


def test_check_tells_who_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A llmsup that runs with this config has it rightly."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "l.toml"
    with fake_ollama() as ollama:
        path.write_text(f"[server]\nollama_listen = '{ollama.address}'\n[catalog]\nroots = []\nollama = ''\n")
        assert "Ollama 0.12.6 does already" in CliRunner().invoke(main, ["check", "--config", str(path)]).stderr
        monkeypatch.setattr(
            "llmsup.cli.preflight.servers_of", lambda _dir: [type("F", (), {"urls": (f"http://{ollama.address}",)})]
        )
        assert "Ollama" not in CliRunner().invoke(main, ["check", "--config", str(path)]).stderr


def test_check_asks_for_a_key_where_others_can_reach_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key with a name is one, too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "l.toml"
    open_ = "[server]\nollama_listen = '0.0.0.0:0'\n[catalog]\nroots = []\nollama = ''\n"
    for keys, told in (("", True), (f"[keys.laptop]\nhash = '{hash_of('sk-laptop')}'\n", False)):
        path.write_text(open_ + keys)
        got = CliRunner().invoke(main, ["check", "--config", str(path)])
        assert got.exit_code == 0
        assert ("anyone who can reach 0.0.0.0:0" in got.stderr) == told


def test_nobody_is_nobody() -> None:
    assert occupant("127.0.0.1:1") == ""
