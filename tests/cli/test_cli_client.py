"""The client of the commands: which server is meant, what it is told, and what becomes of odd answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmsup.cli import main
from llmsup.cli.client import Client, NoServer, Refused, model_path
from llmsup.cli.target import _meant, connect
from llmsup.config import load_contact
from llmsup.errors import ConfigError, SetupError
from llmsup.process.server_file import ServerFile, left_in


class Canned(HTTPServer):
    """Answers everything alike, and remembers what it was asked."""

    status = 200
    body = b"[]"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.seen: list[tuple[str, str | None]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Canned

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its base's name for it
        pass


@pytest.fixture
def server() -> Iterator[Canned]:
    with Canned() as canned:
        thread = threading.Thread(target=canned.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield canned
        canned.shutdown()
        thread.join()


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config that is found; empty at first."""
    path = tmp_path / "llmsup.toml"
    path.touch()
    monkeypatch.setenv("LLMSUP_CONFIG", str(path))
    monkeypatch.delenv("LLMSUP_URL", raising=False)
    monkeypatch.delenv("LLMSUP_API_KEY", raising=False)
    return path


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("", "http://127.0.0.1:5005"),
        ('[server]\nlisten = "0.0.0.0:81"', "http://127.0.0.1:81"),
        ('[server]\nlisten = "[::]:81"', "http://[::1]:81"),
        ('[server]\nlisten = "box.lan:81"', "http://box.lan:81"),
        ('[server]\nlisten = "127.0.0.1:81"\ncertfile = "/c"\nkeyfile = "/k"', "https://127.0.0.1:81"),
    ],
)
def test_the_config_tells_where(config: Path, text: str, url: str) -> None:
    config.write_text(text)
    assert connect(None) == Client(url)


def test_a_port_that_nobody_knows(config: Path) -> None:
    config.write_text('[server]\nlisten = "127.0.0.1:0"')
    with pytest.raises(NoServer, match="--url"):
        connect(None)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("localhost:5005", "http://localhost:5005"),
        ("127.0.0.1:5005/v1", "http://127.0.0.1:5005"),
        ("http://127.0.0.1:5005/v1/", "http://127.0.0.1:5005"),
        ("https://box.lan/llm/v1", "https://box.lan:443/llm"),
        ("http://box.lan/llm/", "http://box.lan:80/llm"),
        (" HTTP://Box:81 ", "http://box:81"),
        (":81", "http://127.0.0.1:81"),
        ("0.0.0.0:81", "http://127.0.0.1:81"),
        ("[::1]:81", "http://[::1]:81"),
        ("http://[::]:81", "http://[::1]:81"),
        ("box.lan", "http://box.lan:5005"),
        ("localhost", "http://localhost:5005"),
        ("5005", "http://127.0.0.1:5005"),
        ("localhost:81/v1/models", "http://localhost:81"),
        ("http://box.lan:81/llm/v1/chat/completions?x=y#z", "http://box.lan:81/llm"),
        ("http://box.lan:81/health/", "http://box.lan:81"),
        ("http://box.lan:81/llm/healthy", "http://box.lan:81/llm/healthy"),
    ],
)
def test_a_url_as_people_write_it(config: Path, written: str, url: str) -> None:
    assert connect(written) == Client(url)


@pytest.mark.parametrize(
    "url", ["0", "70000", "ftp://x", "http://", "http://:81", "http://x:port", "x:99999", "[::1", " "]
)
def test_what_is_no_url(config: Path, url: str) -> None:
    with pytest.raises(SetupError, match="not a server's URL"):
        connect(url)


def test_keys(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text('[server]\napi_keys = ["first", "second"]')
    assert connect(None).key == "first"
    assert connect("http://localhost:1/").key == "first"
    assert connect("http://elsewhere:1").key == "", "another machine was told our key"
    monkeypatch.setenv("LLMSUP_API_KEY", "mine")
    assert connect(None).key == connect("http://elsewhere:1").key == "mine"
    assert "mine" not in repr(connect(None))


def test_with_a_url_a_broken_config_does_not_matter(config: Path) -> None:
    config.write_text("broken")
    assert connect("http://127.0.0.1:1").key == ""
    with pytest.raises(ConfigError):
        connect(None)


# A server that runs tells where it is, and how its own user gets in...


@pytest.fixture
def state(tmp_path: Path, config: Path) -> Path:
    """The `state_dir` of the config that is found."""
    config.write_text(f"server.state_dir = {str(tmp_path / 'state')!r}\n")
    return tmp_path / "state"


def test_the_server_that_runs_is_meant(state: Path, config: Path) -> None:
    """Whatever the config says by now."""
    with left_in(state, urls=("https://127.0.0.1:81", "https://[::1]:81"), token="tok", config=config):
        assert connect(None) == Client("https://127.0.0.1:81", "tok")
        assert connect("https://127.0.0.1:81") == connect("127.0.0.1:81/v1") == connect(None)
        assert connect("localhost:81") == connect(None), "somebody else may listen at another loopback address"
        assert connect("127.0.0.1:82").key == connect("http://elsewhere:81").key == ""
        before = config.read_text()
        for change in ("server.listen = 'x'", "server.api_keys = ['new']", "models.a.tttl = 1", "server.foo = 1"):
            config.write_text(f"{before}{change}\n")
            assert connect(None) == Client("https://127.0.0.1:81", "tok")
    assert connect(None) == Client("http://127.0.0.1:5005"), "it has ended"
    assert list(state.iterdir()) == []


def test_a_key_of_ones_own_goes_before(state: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMSUP_API_KEY", "mine")
    with left_in(state, urls=("http://127.0.0.1:81",), token="tok", config=config):
        assert connect(None) == connect(":81") == Client("http://127.0.0.1:81", "mine")


def test_a_broken_config_does_not_hide_the_server(state: Path, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual place is looked at then."""
    monkeypatch.setenv("HOME", str(state.parent))
    config.write_text("[server\n")
    with pytest.raises(ConfigError, match="1 mistake"):
        connect(None)
    with left_in(Path("~/.local/state/llmsup").expanduser(), urls=("http://[::1]:81",), token="t", config=None):
        assert connect(None) == Client("http://[::1]:81", "t")


def test_of_several_servers_the_one_of_this_config_is_meant(state: Path, config: Path) -> None:
    def one(url: str, began: float, config: str) -> ServerFile:
        return ServerFile(pid=1, began=began, urls=(url,), token="", config=config)

    contact = load_contact(config)
    ours, usual = one("http://x:1", 1, str(config)), one("http://127.0.0.1:5005", 2, "")
    others = [one("http://x:3", 3, ""), one("http://x:4", 4, "")]
    assert _meant([ours, usual, *others], contact) is ours
    assert _meant([usual, *others], contact) is usual
    assert _meant(others, contact) is others[1]


def test_a_key_that_is_wanted(server: Canned) -> None:
    server.status, server.body = 401, b'{"error": {"message": "No key.", "code": "invalid_api_key"}}'
    result = CliRunner().invoke(main, ["ps", "--url", server.url])
    assert (result.exit_code, result.stderr) == (1, "llmsup: No key. The commands take it from $LLMSUP_API_KEY.\n")


def test_what_is_asked(server: Canned) -> None:
    assert Client(server.url, "k").get("/running") == []
    assert Client(f"{server.url}/behind/proxy").get(model_path("/v1/models", "a/b c?")) == []
    assert server.seen == [("/running", "Bearer k"), ("/behind/proxy/v1/models/a%2Fb%20c%3F", None)]


def test_proxies_are_not_used(server: Canned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert Client(server.url).get("/running") == []


def test_an_error_of_the_server(server: Canned) -> None:
    server.status = 503
    server.body = json.dumps({"error": {"message": "No.", "code": "model_failed", "log_tail": ["a\x1b", "b"]}}).encode()
    with pytest.raises(Refused, match=r"^No\.$") as caught:
        Client(server.url).get("/x")
    assert caught.value.refusal == "model_failed"
    result = CliRunner().invoke(main, ["ps", "--url", server.url])
    assert result.exit_code == 1
    assert result.stderr == "llmsup: No.\n    a\\x1b\n    b\n"


@pytest.mark.parametrize(("status", "body"), [(404, b"<html>"), (500, b"[]"), (500, b'{"error": "x"}'), (200, b"<h1>")])
def test_somebody_else_answers(server: Canned, status: int, body: bytes) -> None:
    server.status, server.body = status, body
    with pytest.raises(NoServer, match="is not llmsup"):
        Client(server.url).get("/running")


def test_a_path_that_leads_nowhere(server: Canned) -> None:
    server.status, server.body = 404, b'{"error": {"message": "There is no GET /x/running.", "code": "not_found"}}'
    with pytest.raises(NoServer, match=f"Try {server.url}, without /x/y."):
        connect(f"{server.url}/x/y").get("/running")


@pytest.mark.parametrize("command", [["ps"], ["load", "x"], ["unload", "x"], ["logs"]])
def test_nobody_answers(command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == (
        "llmsup: no server answers at http://127.0.0.1:1 (Connection refused). "
        "Start one with `llmsup serve`; name another with --url, or its config in $LLMSUP_CONFIG.\n"
    )
