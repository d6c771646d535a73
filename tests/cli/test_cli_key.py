"""`llmsup key` and `llmsup usage`: keys made, shown and removed in the config, and what they used."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner, Result
from configs import load
from serving import PATIENCE, fake, serving

from llmsup.cli import main
from llmsup.config.keys import hash_of
from llmsup.config.schema import Bridge, Config, Server
from llmsup.process.server_file import left_in
from llmsup.units import NEVER

TEXT = '# mine\n[server]\nlisten = ":1"  # where\n'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "l.toml"
    path.write_text(TEXT)
    path.chmod(0o640)
    monkeypatch.setenv("LLMSUP_CONFIG", str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return path


def key(*words: str) -> Result:
    return CliRunner().invoke(main, ["key", *words])


def test_a_key_is_printed_once_and_its_hash_written(file: Path) -> None:
    """It alone on standard output, for scripts; the rest of the file, its mode too, stays."""
    made = key("new", "laptop")
    assert made.exit_code == 0, made.output
    (line,) = made.stdout.splitlines()
    assert "the first key" in made.stderr
    assert file.read_text() == f'{TEXT}\n[keys.laptop]\nhash = "{hash_of(line)}"\n'
    assert line not in file.read_text() + made.stderr
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert not load(file).keys["laptop"].admin


def test_what_it_may_stands_there_too(file: Path) -> None:
    key("new", "first")
    words = (
        "--models",
        "qwen*",
        "--models",
        "llama*",
        "--admin",
        "--requests-per-minute",
        "60",
        "--max-in-flight",
        "2",
    )
    made = key("new", "my laptop", *words)
    assert "first key" not in made.stderr
    spec = load(file).keys["my laptop"]
    assert (spec.models, spec.admin) == (("qwen*", "llama*"), True)
    assert (spec.requests_per_minute, spec.max_in_flight) == (60, 2)
    assert "listen" in file.read_text()
    shown = key("list").stdout.splitlines()
    assert shown[0].split() == ["KEY", "MAY", "A", "MINUTE", "AT", "A", "TIME", "FROM", "MODELS"]
    assert [line.split() for line in shown[1:]] == [
        ["first", "ask", "models", "-", "-", "hash", "*"],
        ["my", "laptop", "everything", "60", "2", "hash", "qwen*,", "llama*"],
    ]
    told = json.loads(key("list", "--json").stdout)
    assert told[1] == {
        "key": "my laptop",
        "admin": True,
        "models": ["qwen*", "llama*"],
        "requests_per_minute": 60,
        "max_in_flight": 2,
        "env": None,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["api_keys"], "is what the keys in server.api_keys are called"),
        ([" x"], "starts or ends with a space"),
        (["x", "--models", ""], "a name can't be empty"),
        (["x", "--requests-per-minute", "-1"], "-1 is not in the range"),
    ],
)
def test_bad_usage_writes_nothing(file: Path, words: list[str], said: str) -> None:
    made = key("new", *words)
    assert (made.exit_code, made.stdout, file.read_text()) == (2, "", TEXT)
    assert said in made.stderr


def test_a_name_that_is_taken(file: Path) -> None:
    """No key is printed that isn't good for anything."""
    key("new", "a")
    before = file.read_text()
    made = key("new", "a")
    assert (made.exit_code, made.stdout, file.read_text()) == (1, "", before)
    assert "There is a key a in" in made.stderr
    assert "llmsup key remove a" in made.stderr


@pytest.mark.parametrize("why", ["missing", "one line", "directory"])
def test_without_a_config_to_write_the_lines_are_shown(file: Path, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are right where they belong."""
    if why == "missing":
        monkeypatch.delenv("LLMSUP_CONFIG")
        (file.parent / ".config").touch()  # where its folder would be
    elif why == "one line":
        file.write_text(f"keys = {{ a = {{ hash = '{hash_of('x')}' }} }}\n")
    else:

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, os.strerror(13))

        monkeypatch.setattr("llmsup.config.write.write_atomic", refuse)
    before = file.read_text()
    made = key("new", "b")
    assert (made.exit_code, file.read_text()) == (0, before)
    shown = made.stderr[made.stderr.rindex("[keys.b]") :]
    other = file.with_name("other.toml")
    other.write_text(shown)
    assert load(other).keys["b"].hash == hash_of(made.stdout.strip())


def test_without_a_config_one_is_made(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For its owner alone, where the commands look for it; a second key goes into the same file."""
    monkeypatch.delenv("LLMSUP_CONFIG")
    made = key("new", "laptop")
    path = file.parent / ".config/llmsup/llmsup.toml"
    assert (made.exit_code, stat.S_IMODE(path.stat().st_mode)) == (0, 0o600)
    assert load(path).keys["laptop"].hash == hash_of(made.stdout.strip())
    assert f"Made {path}" in made.stderr
    assert "the first key" in made.stderr
    assert key("new", "other").exit_code == 0
    assert list(load(path).keys) == ["laptop", "other"]


def test_a_mistake_elsewhere_in_the_config_is_told(file: Path) -> None:
    """A reload would not take the key, so none is promised."""
    file.write_text("[server]\nlissten = 1\n")
    made = key("new", "a")
    assert made.exit_code == 0
    assert "[keys.a]" in file.read_text()
    assert "llmsup check" in made.stderr
    assert "llmsup reload" not in made.stderr


@pytest.mark.parametrize(
    ("config", "reads", "promised"),
    [("l.toml", True, True), ("", True, False), ("", False, False), ("other.toml", True, False)],
)
def test_what_a_running_server_reads(file: Path, tmp_path: Path, config: str, *, reads: bool, promised: bool) -> None:
    """A key in a file that it doesn't read changes nothing for it; `llmsup demo` reads none."""
    state = tmp_path / ".local/state/llmsup"
    path = tmp_path / config if config else None
    with left_in(state, urls=("http://127.0.0.1:9",), token="t", config=path, reads=reads):
        made = key("new", "a")
    assert ("`llmsup reload` puts it into force" in made.stderr) == promised
    assert ("the first key" in made.stderr) == promised
    assert ("the server at http://127.0.0.1:9 reads" in made.stderr) != promised


def test_a_server_without_a_config_takes_the_usual_one(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next reload finds the file that was just made; the demo's doesn't."""
    monkeypatch.delenv("LLMSUP_CONFIG")
    state = file.parent / ".local/state/llmsup"
    for name, reads in (("a", True), ("b", False)):
        with left_in(state, urls=("http://127.0.0.1:9",), token="t", config=None, reads=reads):
            assert ("`llmsup reload` puts it into force" in key("new", name).stderr) == reads


def test_a_key_is_removed(file: Path) -> None:
    """And all others stay; the last one is a warning."""
    for name in ("a", "b"):
        key("new", name)
    assert "the last key" not in key("remove", "a").stderr
    assert set(load(file).keys) == {"b"}
    gone = key("remove", "a")
    assert gone.exit_code == 1
    assert "There is no key 'a'" in gone.stderr
    assert "There are: b." in gone.stderr
    assert "the last key" in key("remove", "b").stderr
    assert file.read_text() == TEXT
    assert "There are no keys with names" in key("list").stdout


def test_one_that_is_written_otherwise_is_removed_by_hand(file: Path) -> None:
    file.write_text(f"keys.a.hash = '{hash_of('x')}'\n")
    gone = key("remove", "a")
    assert gone.exit_code == 1
    assert "by hand" in gone.stderr


async def test_usage_is_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the server that is meant, with its key."""
    model = fake("m", "--tokens", 3)
    config = Config(server=Server(api_keys=("k",)), models={"m": model}, bridge=Bridge(every=NEVER))
    monkeypatch.setenv("LLMSUP_API_KEY", "k")
    async with serving(config=config) as served:

        async def told(*words: str) -> str:
            url = f"http://127.0.0.1:{served.client.port}"
            with trio.fail_after(PATIENCE):
                result = await trio.to_thread.run_sync(
                    lambda: CliRunner().invoke(main, ["usage", "--url", url, *words])
                )
            assert result.exit_code == 0, result.output
            return result.stdout

        assert "No key was used yet" in await told()
        body = {"model": "m", "messages": []}
        await served.client.ask("POST", "/v1/chat/completions", body, [(b"x-api-key", b"k")])
        await served.until("m", lambda m: not m.queue.busy)
        head, row = (await told()).splitlines()
        assert head.split("  ")[0] == "KEY"
        assert row.split()[:5] == ["api_keys", "1", "0", "1", "3"]
        assert json.loads(await told("--json"))["keys"][0]["tokens_out"] == 3
