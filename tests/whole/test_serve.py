"""`serve` as a process of its own, and the commands that talk to it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner, Result
from gguf_files import slow_to_read, tiny_llama

from llmsup.cli import main
from llmsup.cli.client import Client
from llmsup.cli.demo import CHAT, EMBED, demo_config
from llmsup.cli.demo_model import SIZE
from llmsup.cli.serve import count
from llmsup.config import Server

FAKE = Path(__file__).parents[1] / "helpers" / "fake_engine.py"
ROOT = Path(__file__).parents[2]
PATIENCE = 20
"""Seconds after which a test counts as hung."""


def model(name: str, *switches: str, more: str = "") -> str:
    words = [sys.executable, str(FAKE), "--port", "${PORT}", *switches]
    return f"[models.{json.dumps(name)}]\ncommand = {json.dumps(words)}\n{more}\n"


CONFIG = (
    model("org/quick", "--print", "hello from quick")
    + model("slow", "--load-time", "0.5", "--print", "still reading")
    + model("endless", "--never-ready")
    + model("bad", "--exit-after", "0", "--exit-code", "7", "--print", "error: unknown architecture 'wolpertinger'")
)


@frozen
class Served:
    """A running `llmsup serve`."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str

    def __call__(self, *words: str) -> Result:
        """Run a command against it."""
        return CliRunner().invoke(main, [*words, "--url", self.url])

    def end(self, *signals: signal.Signals) -> int:
        """Send signals, and wait for the end."""
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.1)
        return self.process.wait(PATIENCE)


Serve = Callable[..., Served]


def until(condition: Callable[[], object], process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        assert process is None or process.poll() is None
        time.sleep(0.02)


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("LLMSUP_CONFIG", "LLMSUP_URL", "LLMSUP_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    started: list[subprocess.Popen[bytes]] = []

    def start(text: str | None = CONFIG, *words: str, listen: str = "127.0.0.1:0") -> Served:
        log, config = tmp_path / "stderr", tmp_path / "llmsup.toml"
        command = [sys.executable, "-m", "llmsup", "serve", "--listen", listen, *words]
        if text is not None:
            config.write_text(text)
            command += ["--config", str(config)]
        with log.open("wb") as stderr:
            process = subprocess.Popen(command, stderr=stderr)
        started.append(process)
        # The lines after it are there at once, too.
        until(lambda: re.search(r"GET /v1/models|llmsup demo", log.read_text()), process)
        found = re.search(r"listening on [^:\s]+:(\d+)", log.read_text())
        assert found
        return Served(process, log, f"http://127.0.0.1:{found[1]}")

    yield start
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE)


@pytest.mark.slow
def test_a_whole_life(serve: Serve) -> None:
    served = serve()
    log = served.log.read_text()
    assert "4 models: org/quick, slow, endless, bad" in log
    assert f"`llmsup ps --url {served.url}`" in log

    assert json.loads(served("ps", "--json").stdout) == []
    empty = served("ps").stdout
    assert empty.startswith("No model is loaded. ")
    assert empty.endswith(": bad, endless, org/quick, slow.\n")
    loaded = served("load", "ORG/quick")
    assert loaded.exit_code == 0
    assert loaded.stderr == "loading org/quick\n"
    assert re.fullmatch(r"org/quick loaded in [\d.]+ m?s\n", loaded.stdout)
    assert served("load", "org/quick").stdout == "org/quick is already loaded.\n"
    (entry,) = json.loads(served("ps", "--json").stdout)
    assert (entry["model"], entry["state"]) == ("org/quick", "ready")
    assert re.search(rf"^org/quick  ready  +{entry['pid']} ", served("ps").stdout, re.MULTILINE)

    slow = served("load", "slow", "--json")
    assert slow.stderr == ""
    assert json.loads(slow.stdout)["state"] == "ready"

    assert "hello from quick" in served("logs", "org/quick").stdout
    everything = served("logs").stdout
    assert "[org/quick] hello from quick" in everything
    assert re.search(r"^\[llmsup\] org/quick: starting -> ready", everything, re.MULTILINE)
    assert served("logs", "-n", "1").stdout == everything.splitlines(keepends=True)[-1]
    assert served("logs", "nope").exit_code == 1

    assert re.fullmatch(r"org/quick unloaded.* in [\d.]+ m?s\n", served("unload", "org/quick").stdout)
    assert served("unload", "org/quick").stdout == "org/quick was not loaded.\n"
    assert json.loads(served("unload", "slow", "--force", "--json").stdout)["success"] is True
    assert served("unload", "--all").stdout == "No model was loaded.\n"
    assert served("unload", "nope").stderr.startswith("llmsup: There is no model 'nope'.")

    assert served.end(signal.SIGTERM) == 0
    assert served.log.read_text().endswith("INFO  stopped\n")
    assert "Traceback" not in served.log.read_text()


@pytest.mark.slow
def test_a_load_that_fails_shows_the_engines_words(serve: Serve) -> None:
    served = serve()
    result = served("load", "bad")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "llmsup: bad can't be loaded: its engine exited with code 7" in result.stderr
    assert "\n    error: unknown architecture 'wolpertinger'\n" in result.stderr
    assert "bad failed: can't be loaded" in served("ps").stdout
    assert served("ls").stderr.startswith("bad: can't be loaded")
    assert re.search(r"^bad is failed, .*: can't be loaded", served("why", "bad").stdout)
    warning = next(line for line in served.log.read_text().splitlines() if "WARN" in line and "bad:" in line)
    assert "stopping -> failed: bad can't be loaded: its engine exited with code 7" in warning


@contextlib.contextmanager
def killed(process: subprocess.Popen[Any]) -> Iterator[None]:
    """It ends, even if the test fails: leaving a Popen waits for ever."""
    try:
        yield
    finally:
        process.kill()


@pytest.mark.slow
def test_a_load_that_somebody_ends(serve: Serve) -> None:
    served = serve()
    command = [sys.executable, "-m", "llmsup", "load", "endless", "--url", served.url]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as loading, killed(loading):
        until(lambda: json.loads(served("ps", "--json").stdout))
        served("unload", "endless")
        _, stderr = loading.communicate(timeout=PATIENCE)
    assert loading.returncode == 1
    assert "llmsup: endless is not loaded: asked for over the API.\n" in stderr


@pytest.mark.slow
def test_a_load_that_crashes_says_how(serve: Serve) -> None:
    """What `why` would; a load that was asked for is tried again after a crash, until that happened too often."""
    shell = ["/bin/sh", "-c", "echo GGML_ASSERT failed; kill -SEGV $$; : ${PORT}"]
    served = serve(f"[models.broken]\ncommand = {json.dumps(shell)}\n")
    loaded = served("load", "broken")
    assert loaded.exit_code == 1
    said = loaded.stderr[loaded.stderr.index("llmsup: ") :]
    assert said.startswith("llmsup: The engine of broken was killed by SIGSEGV.")
    assert "GGML_ASSERT failed" in said
    assert "The engine of broken was killed by SIGSEGV" in served("why", "broken").stdout


@pytest.mark.slow
def test_what_waits_for_memory_is_not_said_to_start(serve: Serve) -> None:
    served = serve(
        model("big", more="memory = '300MiB'\npinned = true")
        + model("other", more="memory = '300MiB'")
        + "[memory]\nlimit = '400MiB'\nreserve = '1MiB'\n"
    )
    assert served("load", "big").exit_code == 0
    command = [sys.executable, "-m", "llmsup", "load", "other", "--url", served.url]
    with subprocess.Popen(command) as loading, killed(loading):
        until(lambda: re.search(r"^other  waiting  +- ", served("ps").stdout, re.MULTILINE))
        assert re.search(r"^other waits: .*300 MiB.* big\b.*\.$", served("ps").stdout, re.MULTILINE)
        (entry,) = [one for one in json.loads(served("ps", "--json").stdout) if one["model"] == "other"]
        assert entry["state"] == "starting", "what scripts know is what it was"
        loading.send_signal(signal.SIGINT)
        loading.wait(PATIENCE)


@pytest.mark.slow
def test_ctrl_c_ends_the_wait_but_not_the_load(serve: Serve) -> None:
    served = serve()
    command = [sys.executable, "-m", "llmsup", "load", "endless", "--url", served.url]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as loading, killed(loading):
        until(lambda: json.loads(served("ps", "--json").stdout))
        loading.send_signal(signal.SIGINT)
        _, stderr = loading.communicate(timeout=PATIENCE)
    assert loading.returncode == 130
    assert "endless is still loading" in stderr
    assert "Traceback" not in stderr
    assert [entry["model"] for entry in json.loads(served("ps", "--json").stdout)] == ["endless"]


@pytest.mark.slow
@pytest.mark.parametrize("lines", [[], ["-n", "1"]])
def test_live_logs(serve: Serve, lines: list[str]) -> None:
    served = serve()
    served("load", "org/quick")
    kept = served("logs").stdout.splitlines()
    command = [sys.executable, "-m", "llmsup", "logs", "-f", *lines, "--url", served.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout
        for line in kept[-len(lines) // 2 :] if lines else kept:
            assert following.stdout.readline() == f"{line}\n"
        served("unload", "org/quick")
        assert following.stdout.readline().startswith("[llmsup] org/quick: ready -> stopping")
        following.send_signal(signal.SIGINT)
        _, stderr = following.communicate(timeout=PATIENCE)
    assert (following.returncode, stderr) == (130, "")


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error(serve: Serve) -> None:
    served = serve()

    def gone() -> bool:
        served("load", "org/quick")  # which is logged, so that there is something to write into the broken pipe
        served("unload", "org/quick")
        return pipe.poll() is not None

    command = f"{sys.executable} -m llmsup logs -f --url {served.url} | head -n 1"
    with subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as pipe:
        until(gone)
        _, stderr = pipe.communicate(timeout=PATIENCE)
    assert stderr == b""


@pytest.mark.slow
def test_a_server_that_vanishes_is_told(serve: Serve) -> None:
    served = serve()
    command = [sys.executable, "-m", "llmsup", "logs", "-f", "--url", served.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout
        assert following.stdout.readline()
        served.end(signal.SIGKILL)
        _, stderr = following.communicate(timeout=PATIENCE)
    assert following.returncode == 1
    assert stderr.startswith(f"llmsup: the server at {served.url} ended")
    assert stderr.count("\n") == 1


@pytest.mark.slow
def test_sighup_does_not_end_it_and_a_second_sigterm_is_fine(serve: Serve) -> None:
    served = serve()
    served.process.send_signal(signal.SIGHUP)
    until(lambda: "reloaded: nothing changed" in served.log.read_text())
    assert served("ps").exit_code == 0
    assert served.end(signal.SIGINT, signal.SIGINT) == 0


@pytest.mark.slow  # starts llmsup as a program, and waits for its end
def test_ctrl_c_while_it_leaves_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all has stopped, Python needs a moment to take itself apart; an impatient signal comes just then."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    config = tmp_path / "llmsup.toml"
    config.write_text(CONFIG)
    held = (
        "import atexit, sys; from llmsup.cli import main\n"
        "atexit.register(lambda: (print('leaving', flush=True), sys.stdin.read()))\n"
        "main()"
    )
    command = [sys.executable, "-c", held, "serve", "--listen", "127.0.0.1:0", "--config", str(config)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            said = iter(process.stderr.readline, "")
            next(line for line in said if "GET /v1/models" in line)
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "leaving\n"
            for number in (signal.SIGINT, signal.SIGTERM):
                process.send_signal(number)
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


@pytest.mark.slow
def test_a_missing_engine_is_told_at_the_start(serve: Serve, tmp_path: Path) -> None:
    """By the log, `ls`, `ps`, `/v1/models` and `/health`; and when it is there, after the next look, no more."""
    program = tmp_path / "bin/mlx_server"
    served = serve(f"[models.m]\ncommand = '{program} --port ${{PORT}}'\n{CONFIG}")
    said = f"m can't be started: {program} is not on PATH, or can't be run."
    assert f"WARN  {said}" in served.log.read_text()
    listed = served("ls")
    assert listed.stderr == f"{said}\n"
    assert re.search(r"^m .* no engine$", listed.stdout, re.MULTILINE)
    assert said in served("ps").stdout
    client = Client(served.url)
    assert client.get("/v1/models/m")["status"]["no_engine"] in said
    (problem,) = client.get("/health")["problems"]
    assert problem == "1 of 5 models can't be started, as there is no engine for them: `llmsup ls` tells more"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    served("reload")
    assert client.get("/health") == {"status": "ok"}
    assert served("ls").stderr == ""
    program.unlink()
    served.end(signal.SIGTERM)
    here = CliRunner().invoke(main, ["ls"], env={"LLMSUP_CONFIG": str(tmp_path / "llmsup.toml")})
    nothing_runs, missing = here.stderr.splitlines()
    assert nothing_runs.startswith("No server is running")
    assert missing == said


SECRETS = b"Host: 127.0.0.1\r\nAuthorization: Bearer sk-secret\r\n"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_",
    [
        b"GET http://[sk-secret]/ HTTP/1.1\r\n" + SECRETS + b"\r\n",  # urllib quotes it in its error
        b"GET http://[" + b"sk-secret" * 20_000 + b"]/ HTTP/1.1\r\n" + SECRETS + b"\r\n",
        b"CONNECT sk-secret:80 HTTP/1.1\r\n" + SECRETS + b"\r\n" + b"sk-secret" * 20_000,
        b"PRI * HTTP/2.0\r\n" + SECRETS + b"\r\nSM\r\n\r\n" + b"sk-secret" * 20_000,
        PREFACE + b"sk-secret" * 20_000,
        b"GET / HTTP/1.1\r\n" + SECRETS + b"\r\n" + PREFACE + b"sk-secret" * 20_000,
        b"POST / HTTP/1.1\r\n"
        + SECRETS
        + b"Upgrade: h2c\r\nHTTP2-Settings: AAMA\r\nContent-Length: 9\r\n\r\nsk-secret",
        b"sk-secret\r\n\r\n",
    ],
    ids=["url", "long-url", "connect", "odd-preface", "preface", "second-preface", "upgrade", "no-request"],
)
def test_what_nobody_understands_is_not_logged(serve: Serve, request_: bytes) -> None:
    """Neither on stderr nor in `/logs`: there may be a key and a prompt in it, and it comes without a key."""
    served = serve('[server]\napi_keys = ["k"]\n')
    address = ("127.0.0.1", int(served.url.rpartition(":")[2]))
    # it may hang up before all is sent
    with socket.create_connection(address, timeout=PATIENCE) as connection, contextlib.suppress(OSError):
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    everything = served("logs").stdout
    assert served.end(signal.SIGTERM) == 0
    for text in (everything, served.log.read_text()):
        assert "sk-secret" not in text
        assert max(map(len, text.splitlines())) < 5000


@pytest.mark.slow
def test_json_log_and_verbose(serve: Serve) -> None:
    served = serve(f'[server]\nlog_format = "json"\n{CONFIG}', "-v")
    records = [json.loads(line) for line in served.log.read_text().splitlines()]
    assert {"time", "level", "logger", "message"} <= records[0].keys()
    assert any(record["message"].startswith("listening on 127.0.0.1:") for record in records)


@pytest.mark.slow
def test_without_a_config(serve: Serve) -> None:
    log = serve(None).log.read_text()
    assert "there is no config at ~/.config/llmsup/llmsup.toml: using the built-in defaults" in log
    assert "`llmsup demo`" in log


@pytest.mark.slow
def test_open_to_everybody(serve: Serve) -> None:
    served = serve(listen="0.0.0.0:0")
    assert re.search(r"WARN  anyone who can reach 0\.0\.0\.0:\d+ can use", served.log.read_text())
    assert served("ps").exit_code == 0
    for path in ("/unload", "/logs", "/v1/models"):  # a page whose name was made to lead here
        assert answer_to(served, path, Host="evil.com") == 403
        assert answer_to(served, path, Host="192.168.1.2:5005") == 200
    assert answer_to(served, "/unload", Host="192.168.1.2:5005", Referer="http://evil.com/") == 403


def answer_to(served: Served, path: str, **headers: str) -> int:
    """The status of a GET."""
    with contextlib.closing(HTTPConnection(served.url.partition("//")[2], timeout=PATIENCE)) as connection:
        connection.request("GET", path, headers=headers)
        return connection.getresponse().status


@pytest.mark.slow  # starts llmsup as a program, and commands beside it
def test_with_a_key(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This user's commands have one of their own; others must be given one."""
    served = serve(f'[server]\napi_keys = ["k"]\n{CONFIG}')
    assert served("ps").exit_code == 0
    assert answer_to(served, "/running") == 401
    monkeypatch.setenv("HOME", str(tmp_path / "another"))
    assert served("ps").stderr.startswith("llmsup: The API key is missing.")
    assert "$LLMSUP_API_KEY" in served("ps").stderr
    monkeypatch.setenv("LLMSUP_API_KEY", "k")
    assert served("ps").exit_code == 0
    served.end(signal.SIGTERM)
    assert not list(tmp_path.rglob("server-*.json"))


@pytest.mark.slow
def test_commands_find_the_server_whatever_becomes_of_its_config(serve: Serve, tmp_path: Path) -> None:
    """Another address, other keys, a typo: the file says what shall be, the server what is."""
    served = serve()
    run = CliRunner().invoke
    assert run(main, ["ps"]).exit_code == 0
    config = tmp_path / "llmsup.toml"
    usual = tmp_path / ".config/llmsup/llmsup.toml"
    usual.parent.mkdir(parents=True)
    usual.symlink_to(config)
    config.write_text(f'[server]\napi_keys = ["new"]\nlisten = "127.0.0.1:1"\n{CONFIG}')
    reloaded = run(main, ["reload"])
    assert reloaded.exit_code == 0, reloaded.stderr
    config.write_text(f'[server]\napi_keys = ["newer"]\nlisten = "127.0.0.1:1"\n{CONFIG}')
    assert answer_to(served, "/running") == 401
    assert run(main, ["reload"]).exit_code == 0
    config.write_text(f"{config.read_text()}[models.typo]\ntttl = 1\n")
    assert run(main, ["ps"]).exit_code == 0
    assert run(main, ["reload"]).exit_code == 2
    config.write_text("[")
    assert run(main, ["ps"]).exit_code == 0
    served.end(signal.SIGTERM)
    assert run(main, ["ps"]).exit_code == 2


@pytest.mark.slow  # starts llmsup as a program, and commands beside it
def test_models_come_by_reload_and_by_sighup(serve: Serve, tmp_path: Path) -> None:
    """A config that changes, files that come, and mistakes that change nothing."""
    root = tmp_path / "models"
    tiny_llama(root / "org/tiny/tiny.gguf")
    # The bridge looks at the disk soon after the start, too, and would find the new file before the reload does.
    text = f"[catalog]\nroots = [{str(root)!r}]\nollama = ''\n[bridge]\nevery = 'never'\n"
    served = serve(text)
    assert "1 model: org/tiny" in served.log.read_text()
    assert served("ls").stdout.splitlines()[1].startswith("org/tiny")
    tiny_llama(root / "org/other/other.gguf")
    assert served("reload").stdout == "added: org/other\nunchanged: 1 model\n"
    config = tmp_path / "llmsup.toml"
    config.write_text(text + model("mine"))
    served.process.send_signal(signal.SIGHUP)
    until(lambda: "reloaded: added: mine" in served.log.read_text(), served.process)
    assert [entry["id"] for entry in json.loads(served("ls", "--json").stdout)] == ["mine", "org/other", "org/tiny"]
    config.write_text(text + "[defaults]\nttl = 'long'\nfoo = 1\n")
    refused = served("reload")
    assert refused.exit_code == 2
    assert len(refused.stderr.splitlines()) == 2
    assert f"@ {config}: defaults" in refused.stderr
    served.process.send_signal(signal.SIGHUP)
    until(lambda: "nothing was changed" in served.log.read_text().partition("SIGHUP")[2], served.process)
    assert "unknown key 'foo'" in served.log.read_text()
    assert json.loads(served("reload", "--json").stdout or "null") is None
    config.write_text(text)
    assert json.loads(served("reload", "--json").stdout)["removed"] == ["mine"]


@pytest.mark.slow
def test_a_config_that_vanishes_takes_no_key_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing changes, and the log says why; the built-in defaults have no keys."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config = tmp_path / ".config/llmsup/llmsup.toml"
    config.parent.mkdir(parents=True)
    config.write_text("server.api_keys = ['secret']\n")
    log = tmp_path / "log"
    command = [sys.executable, "-m", "llmsup", "serve", "--listen", "127.0.0.1:0"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        until(lambda: "llmsup demo" in log.read_text(), process)
        found = re.search(r"listening on [^:\s]+:(\d+)", log.read_text())
        assert found
        config.unlink()
        process.send_signal(signal.SIGHUP)
        until(lambda: "the config was not reloaded, and nothing was changed" in log.read_text(), process)
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
        refused = CliRunner().invoke(main, ["ps", "--url", f"http://127.0.0.1:{found[1]}"])
        assert refused.stderr.startswith("llmsup: The API key is missing.")
    finally:
        process.terminate()
        process.wait(PATIENCE)


@pytest.mark.slow
def test_a_terminal_shows_how_far_the_first_look_is(tmp_path: Path) -> None:
    """A bar below the log, while requests are answered already."""
    slow_to_read(tmp_path / "models", 40)
    config = tmp_path / "llmsup.toml"
    config.write_text(
        f"server.state_dir = {str(tmp_path / 'state')!r}\ncatalog.roots = [{str(tmp_path / 'models')!r}]\n"
        "catalog.ollama = ''\n"
    )
    command = [sys.executable, "-m", "llmsup", "serve", "--listen", "127.0.0.1:0", "--config", str(config)]
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(command, stderr=theirs, env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"})
        os.close(theirs)
        shown = b""
        try:
            while b"; serving " not in shown:
                assert select.select([screen], [], [], PATIENCE)[0], shown
                shown += screen.read(65536)
        finally:
            process.terminate()
            while process.poll() is None and select.select([screen], [], [], PATIENCE)[0]:
                with contextlib.suppress(OSError):  # a terminal whose other end is closed is no file that ends
                    if not screen.read(65536):
                        break
            assert process.wait(PATIENCE) == 0
    # without what moves the cursor, and whole again where a line with many models' names was wrapped
    text = " ".join(re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", shown).decode().split())
    assert re.search(r"reading model files .* \d+/40", text), text
    assert "so far; more files are being read" in text
    assert "read 40 model files in" in text


@pytest.mark.slow
def test_a_bad_certificate_is_one_line(tmp_path: Path) -> None:
    """It tells of both files, each by its name."""
    config = tmp_path / "l.toml"
    config.write_text(f'[server]\ncertfile = "{config}"\nkeyfile = "{config}"\n')
    command = [sys.executable, "-m", "llmsup", "serve", "--listen", "127.0.0.1:0", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"llmsup: server.certfile {config} can't be used: ")
    assert f" server.keyfile {config} can't be used: " in line


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_a_port_that_is_taken_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr("llmsup.cli.demo.xllamacpp_installed", lambda: True)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LLMSUP_CONFIG", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(main, [command, "--listen", address])
    assert result.exit_code == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"llmsup: Can't listen on {address}: Address already in use.")
    assert "--listen" in line
    assert not os.listdir(tmp_path)


def test_the_demo_needs_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmsup.cli.demo.xllamacpp_installed", lambda: False)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 1
    assert "pip install 'llmsup[engine]'" in result.stderr


@pytest.mark.slow
def test_the_demo(serve: Serve, tmp_path: Path) -> None:
    """All but the engine, which is not started: no request is made."""
    pytest.importorskip("xllamacpp")
    path = tmp_path / ".local/state/llmsup/demo/SmolLM2-135M-Instruct.Q4_1.gguf"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(SIZE)
    command = [sys.executable, "-m", "llmsup", "demo", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        first = demo.stdout.readline()
        reloaded = CliRunner().invoke(main, ["reload"], env={"HOME": str(tmp_path), "LLMSUP_CONFIG": ""})
        demo.terminate()
        rest = demo.stdout.read()
    assert reloaded.exit_code == 1
    assert "This server reads no config" in reloaded.stderr
    assert demo.returncode == 0
    found = re.match(r"The demo answers at (http://127\.0\.0\.1:\d+)\. ", first)
    assert found
    assert f"curl {found[1]}/v1/chat/completions" in rest
    assert f'base_url="{found[1]}/v1", api_key="none"' in rest
    assert f"llmsup ps --url {found[1]}" in rest


def test_the_demos_models(tmp_path: Path) -> None:
    config = demo_config(Server(default_model=CHAT), tmp_path / "m.gguf")
    assert [(m.name, m.kind, m.engine) for m in config.models.values()] == [
        (CHAT, None, "bundled"),
        (EMBED, "embedding", "bundled"),
    ]


def test_many_models_are_named_briefly() -> None:
    assert count([]) == "no models"
    assert count(["a"]) == "1 model: a"
    assert count([str(n) for n in range(10)]) == "10 models: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
