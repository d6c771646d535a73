"""`check` asks each peer once, in little time: what can be said of it is said, and nothing fails for it."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner
from engine_kinds import kinds
from gguf_files import tiny_llama

from llmsup.cli import main
from llmsup.cli.peer_look import Look, in_the_clear, look_at
from llmsup.config.schema import PeerSpec
from llmsup.process.server_file import left_in

KEY = "the-peers-own-key"
LIST = {"object": "list", "data": [{"id": "qwen", "owned_by": "llama-swap"}, {"id": "llama", "owned_by": "llama-swap"}]}


@contextmanager
def answering(
    body: Any,
    status: int = 200,
    tls: ssl.SSLContext | None = None,
    headers: dict[str, str] | None = None,
    paths: dict[str, Any] | None = None,
) -> Iterator[tuple[str, list[str]]]:
    """A server that gives this answer, and others for some paths; its URL, and the keys that it was sent."""
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            keys.append(f"{self.path} {self.headers['Authorization']}")
            told = (paths or {}).get(self.path, body)
            data = told if isinstance(told, bytes) else json.dumps(told).encode()
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", keys
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def look(url: str, **spec: Any) -> Look:
    (seen,) = look_at([PeerSpec(name="studio", url=url, **spec)])
    return seen


def test_one_that_answers() -> None:
    with answering(LIST) as (url, keys):
        seen = look(f"{url}/behind/a/proxy/", key=KEY, models=("Q*",))
    assert (seen.kind, seen.models, seen.let_in, seen.problem) == ("llama-swap", ("qwen", "llama"), ("qwen",), "")
    assert keys[0] == f"/behind/a/proxy/v1/models Bearer {KEY}"
    assert next(seen.lines()).endswith("/, 2 models, 1 of which 'models' lets in")
    assert list(seen.names) == ["qwen", "studio/qwen"]


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({"/": b"Ollama is running", "/api/ps": {"models": []}, "/api/tags": {"models": [{"name": "m"}]}}, "ollama"),
        ({"/api/v0/models": {"data": [{"id": "m", "state": "loaded"}]}}, "lmstudio"),
        ({}, "openai"),
    ],
)
def test_it_is_known_by_what_the_server_knows_it_by(answers: dict[str, Any], kind: str) -> None:
    """An owner in a list alone says nothing: Ollama's is whoever published the model."""
    with answering({"data": [{"id": "m", "owned_by": "library"}]}, paths=answers) as (url, _):
        seen = look(url)
    assert (seen.kind, seen.models) == (kind, ("m",))


def test_what_it_does_not_tell_is_told() -> None:
    """As `llmsup peers` would: it helps before the server runs, too."""
    page = {"/running": b"<html>"}
    with answering({"data": [{"id": "m"}]}, headers={"X-Llmsup-Id": "0123"}, paths=page) as (url, _):
        seen = look(url)
    assert seen.kind == "llmsup"
    assert "what is loaded is not known" in seen.note
    assert list(seen.lines())[1] == f"  {seen.note}"
    assert seen.as_json()["note"] == seen.note


@pytest.mark.parametrize(
    ("body", "status", "problem"),
    [
        (LIST, 401, "it wants a key, or another one than the 'key' in its table"),
        (LIST, 404, "it answers /v1/models with status 404"),
        (b"<html>", 200, "its answer to /v1/models is not JSON"),
        (b"\xff", 200, "its answer to /v1/models is not JSON"),
        ([1], 200, "its answer to /v1/models is not a list of models"),
        ({"error": "no"}, 500, "it answers /v1/models with status 500: no"),
    ],
)
def test_one_that_answers_something_else(body: Any, status: int, problem: str) -> None:
    with answering(body, status) as (url, _):
        assert look(url).problem == problem


def test_whom_it_trusts(tmp_path: Path) -> None:
    """The pinned one, or the authority's; a key is sent to nobody else."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    right = f"sha256:{hashlib.sha256(der).hexdigest()}"
    with answering(LIST, tls=tls) as (url, keys):
        assert "its certificate is not trusted" in look(url, key=KEY).problem
        wrong = look(url, key=KEY, fingerprint=f"sha256:{'0' * 64}")
        assert wrong.problem.startswith(f"it has another certificate than the pinned one: {right}")
        assert "'ca' can't be used: No such file" in look(url, key=KEY, ca=str(tmp_path / "none.pem")).problem
        assert keys == []
        assert look(url, key=KEY, fingerprint=right).kind == "llama-swap"
        assert look(url, key=KEY, ca=str(tmp_path / "ca.pem")).kind == "llama-swap"
    with answering(LIST) as (url, _):
        assert "speaks no TLS" in look(url.replace("http", "https")).problem


def test_one_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are asked at the same time, so that this doesn't add up."""
    monkeypatch.setattr("llmsup.cli.peer_look.PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        seen = look_at([PeerSpec(name=f"p{n}", url=url) for n in range(5)])
    assert {each.problem for each in seen} == {"it has not answered within 0.2 s"}
    assert [each.name for each in seen] == ["p0", "p1", "p2", "p3", "p4"]


@pytest.mark.parametrize(
    ("url", "key", "told"),
    [
        ("http://studio.local:5005", "k", True),
        ("http://studio.local:5005", "", False),
        ("https://studio.local:5005", "k", False),
        ("http://127.0.0.1:5005", "k", False),
        ("http://[::1]:5005", "k", False),
    ],
)
def test_a_key_that_others_can_read(url: str, key: str, told: bool) -> None:
    assert bool(in_the_clear(PeerSpec(name="studio", url=url, key=key))) == told


def check(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, dict[str, Any]]:
    tiny_llama(path / "m/org/tiny/tiny.gguf")
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setattr("llmsup.cli.resolved.KINDS", kinds(bundled=True))
    file = path / "l.toml"
    file.write_text(
        f"{text}\n[catalog]\nroots = ['{path}/m']\nollama = ''\n[defaults]\nengine = 'bundled'\nctx_size = 512\n"
    )
    plain = CliRunner().invoke(main, ["check", "--config", str(file)])
    told = CliRunner().invoke(main, ["check", "--config", str(file), "--json"])
    assert plain.exit_code == told.exit_code
    assert KEY not in plain.output + told.output
    return plain.exit_code, plain.output.replace(f"{file}: ", ""), json.loads(told.stdout)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(LIST) as (url, _):
        code, told, shape = check(
            tmp_path,
            f"[server]\ndefault_model = 'qwen'\n[peers.studio]\nurl = '{url}'\nkey = '{KEY}'\n"
            "models = ['qwen', 'lama']\n"
            f"[keys.k]\nhash = 'sha256:{'0' * 64}'\nmodels = ['studio/qwen', 'qwen', 'tiny']\n",
            monkeypatch,
        )
    assert code == 0
    assert f"peer studio: llama-swap at {url}, 2 models, 1 of which 'models' lets in\n" in told
    assert shape["peers"] == [
        {
            "name": "studio",
            "url": url,
            "kind": "llama-swap",
            "models": 2,
            "let_in": 1,
            "note": None,
            "problem": None,
        }
    ]
    (warning,) = shape["warnings"]
    assert warning.startswith("'lama' fits none of the peer's models")
    assert "llama" in warning.partition("(")[2] or "llama" in warning
    assert warning.endswith("peers.studio.models[1]")


def test_the_server_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the server that runs finds out as well; another one's file says nothing about this config."""
    file = tmp_path / "l.toml"
    with (
        left_in(tmp_path / "state", urls=(), token="", config=tmp_path / "other.toml", identity="0123"),
        answering({"data": [{"id": "m"}]}, headers={"X-Llmsup-Id": "0123"}) as (url, _),
    ):
        text = f"[server]\nstate_dir = '{tmp_path}/state'\n[peers.studio]\nurl = '{url}'\n"
        assert check(tmp_path, text, monkeypatch)[2]["warnings"] == []
        with left_in(tmp_path / "state", urls=(), token="", config=file, identity="0123"):
            (warning,) = check(tmp_path, text, monkeypatch)[2]["warnings"]
    assert warning.startswith("peer studio can't be asked now: it is this llmsup itself")


def test_a_table_with_mistakes_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may lack an address, or whom to trust."""
    with answering(LIST) as (url, keys):
        text = f"[peers.a]\nmodels = ['*']\n[peers.b]\nurl = '{url}'\nfingerprint = 'sha256:00'\n[peers.c]\nurl = 'x'\n"
        code, _, shape = check(tmp_path, text, monkeypatch)
    assert (code, shape["peers"], keys) == (2, [], [])
    assert {line.rpartition(": ")[2].removesuffix(".url") for line in shape["mistakes"]} == {
        "peers.a",
        "peers.b.fingerprint",
        "peers.c",
    }


def test_one_that_isnt_there_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is what it might have: a default model, or what keys may use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    code, told, shape = check(
        tmp_path,
        f"[server]\ndefault_model = 'qwen'\n[peers.studio]\nurl = 'http://127.0.0.1:{port}'\n"
        f"mac = 'a4:83:e7:01:02:03'\n[peers.far]\nurl = 'http://0.0.0.0:{port}'\nkey = '{KEY}'\n"
        f"[keys.k]\nhash = 'sha256:{'0' * 64}'\nmodels = ['studio/*']\n",
        monkeypatch,
    )
    assert code == 0
    assert "no mistakes" in told
    default, studio, far, key = [line.partition(" @ ") for line in shape["warnings"]]
    assert default[2].endswith("server.default_model")
    assert studio[0].startswith(
        "peer studio can't be asked now: nothing listens at its address; if its machine sleeps, a request"
    )
    assert studio[2].endswith("peers.studio.url")
    assert far[0].startswith("peer far can't be asked now: ")
    assert key[0].startswith("its 'key' travels unencrypted to 0.0.0.0: ")
    assert key[2].endswith("peers.far.key")


TABLES = """
[models.qwen]
aliases = ["gpt-4o"]
request.set.user = "us"
presets.bold.temperature = 1.5
sampling.top_k = 7

[models."studio/llama"]
ctx_size = 4096

[models.quen]
args = ["-fa"]
env = {A = "b"}
"""


def test_tables_for_models_that_only_peers_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no mistakes; what nobody has now is told, and what counts for engines only."""
    keys = f"[keys.k]\nhash = 'sha256:{'0' * 64}'\nmodels = ['gpt-4o', 'gpt-4o:bold', 'quen']\n"
    with answering(LIST) as (url, _):
        server = "[server]\ndefault_model = 'gpt-4o:bold'\n"
        code, told, shape = check(tmp_path, f"{server}[peers.studio]\nurl = '{url}'\n{TABLES}{keys}", monkeypatch)
    assert (code, [model["model"] for model in shape["models"]]) == (0, [])
    assert "no mistakes, 3 warnings" in told
    found = [tuple(line.split(" @ ")) for line in shape["warnings"]]
    assert [(what, place.rpartition(": ")[2]) for what, place in found] == [
        (
            "'studio/llama' is not here, and at peers 'ctx_size' has no effect: engines have settings there",
            'models."studio/llama".ctx_size',
        ),
        ("'quen' is not here, and no peer offers it now (did you mean 'qwen'?)", "models.quen"),
        ("'quen' is not here, and at peers 'args', 'env' have no effect: engines have settings there", "models.quen"),
    ]


def test_tables_while_a_peer_cannot_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    peer = f"[peers.box]\nurl = 'http://127.0.0.1:{port}'\n"
    code, _, shape = check(tmp_path, f"{peer}[models.qwen]\n", monkeypatch)
    assert (code, shape["mistakes"]) == (0, [])
    assert shape["warnings"][1].startswith("'qwen' is not here, and no peer offers it now (box can't be asked) @ ")


def test_without_peers_they_are_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, shape = check(tmp_path, "[models.qwen]\n", monkeypatch)
    assert code == 2
    assert "[models] has no path or command for it" in shape["mistakes"][0]
