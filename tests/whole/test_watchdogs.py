"""The scripts in tools/ that watch over a running llmsup, and the two of the guide, each run against a real one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from attrs import evolve, frozen
from configs import parse
from gguf_files import tiny_llama
from serving import PATIENCE, Served, fake, serving

from llmsup.config.schema import Bridge, Catalog, Config, Server
from llmsup.fleet.model.states import State
from llmsup.units import NEVER
from tools import keep_warm

pytestmark = pytest.mark.slow  # each runs a script of tools/ as a program, some of them several times

TOOLS = Path(__file__).parents[2] / "tools"
GUIDE = Path(__file__).parents[1] / "data" / "guide"
UNLOADER, WARMER = str(TOOLS / "pressure_unloader.py"), str(TOOLS / "keep_warm.py")
SYNC = str(TOOLS / "sync_and_reload.sh")


@frozen
class Ran:
    """How a script went."""

    code: int
    out: str
    err: str


async def run(*words: str, **environ: str) -> Ran:
    """Run a script as cron would; Python ones with ours."""
    command = [sys.executable, *words] if words[0].endswith(".py") else list(words)
    keep: Mapping[str, str] = {name: os.environ[name] for name in ("PATH", "HOME")}
    # Nobody listens there: that a proxy is not asked is part of the test.
    environ = {**keep, "http_proxy": "http://127.0.0.1:9", **environ}
    with trio.fail_after(PATIENCE):
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, env=environ)
    return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())


def url(served: Served) -> str:
    return f"http://127.0.0.1:{served.client.port}"


async def loaded(served: Served) -> list[str]:
    """The loaded models, most to least worth keeping."""
    return [entry["model"] for entry in (await served.client.get("/running")).json]


@pytest.fixture
def nobody() -> str:
    """An address at which nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


# --- pressure_unloader ------------------------------------------------------------------------------------


async def test_the_unloader_without_psutil(tmp_path: Path, nobody: str) -> None:
    """It says what is missing, in one line, and still has its help."""
    (tmp_path / "psutil.py").write_text("raise ModuleNotFoundError('psutil')")
    done = await run(UNLOADER, "--once", "--url", nobody, PYTHONPATH=str(tmp_path))
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert "pip install psutil" in done.err
    assert (await run(UNLOADER, "--help", PYTHONPATH=str(tmp_path))).code == 0


@pytest.mark.slow
async def test_the_unloader_takes_the_last(nobody: str) -> None:
    """One a look, until none is loaded; below the threshold nobody is even asked."""
    async with serving(fake("a"), fake("b")) as served:
        for name in ("a", "b"):
            await served.client.chat(name)
        first, last = await loaded(served)
        done = await run(UNLOADER, "--once", "--threshold", "0", "--url", url(served))
        assert (done.code, done.err) == (0, "")
        assert f": unloaded '{last}', " in done.out
        assert await loaded(served) == [first]
        assert (await run(UNLOADER, "--once", "--threshold", "0", LLMSUP_URL=url(served))).code == 0
        assert await loaded(served) == []
        none = await run(UNLOADER, "--once", "--threshold", "0", "--url", f"{url(served)}/")
        assert (none.code, "no model is loaded" in none.out) == (0, True)
        assert await run(UNLOADER, "--once", "--threshold", "100", "--url", nobody) == Ran(0, "", "")


async def test_the_unloader_leaves_who_is_needed() -> None:
    """A pinned model, and one that is in use; not one that waits behind them."""
    async with serving(fake("pinned", pinned=True), fake("busy", "--tokens", "10000", "--tps", "50")) as served:
        await served.client.chat("pinned")
        async with served.client.stream("busy") as pieces:
            await anext(pieces)
            done = await run(UNLOADER, "--once", "--threshold", "0", "--url", url(served))
        assert (done.code, done.err) == (0, "")
        assert "every model is pinned or in use" in done.out
        assert set(await loaded(served)) == {"pinned", "busy"}


async def test_the_unloader_stays(nobody: str) -> None:
    """Without --once it looks again and again, also when the server can't be asked for a while."""
    async with serving(fake("a")) as served:
        await served.client.chat("a")
        command = [sys.executable, UNLOADER, "--threshold", "0", "--interval", "0.1", "--url", url(served)]
        process = await trio.lowlevel.open_process(command)
        try:
            await served.until("a", lambda model: model.state is State.UNLOADED)
            await served.client.chat("a")
            await served.until("a", lambda model: model.state is State.UNLOADED)
            assert process.returncode is None
        finally:
            process.kill()
            await process.wait()
    process = await trio.lowlevel.open_process([*command[:-1], nobody], stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        said = b""
        with trio.fail_after(PATIENCE):
            while said.count(b"no answer from") < 2:
                said += await process.stderr.receive_some()
    finally:
        process.kill()
        await process.wait()


# --- keep_warm --------------------------------------------------------------------------------------------


async def test_keep_warm_loads() -> None:
    """All of them, by any of their names; one that is loaded is used by it, so that its ttl begins anew."""
    async with serving(fake("a", aliases=("short",)), fake("b")) as served:
        done = await run(WARMER, "--once", "SHORT", "b", "--url", url(served))
        assert (done.code, done.err) == (0, "")
        assert [line.split(",")[0] for line in done.out.splitlines()] == ["'a' is loaded", "'b' is loaded"]
        assert set(await loaded(served)) == {"a", "b"}
        before = served.model("a").expires_at
        assert (await run(WARMER, "--once", "a", LLMSUP_URL=url(served))).code == 0
        assert served.model("a").expires_at > before


async def test_keep_warm_tells_what_fails() -> None:
    """Each on its line, in the server's words; the others are loaded all the same."""
    broken = fake("broken", "--exit-after", "0", "--exit-code", "7", "--print", "no \x1b[31m good")
    async with serving(broken, fake("a")) as served:
        done = await run(WARMER, "--once", "broken", "nope", "a", "--url", url(served))
        assert done.code == 1
        first, second = done.err.splitlines()
        assert first.startswith("keep_warm: 'broken': broken can't be loaded: its engine exited with code 7")
        assert second.startswith("keep_warm: 'nope': There is no model 'nope'.")
        assert "\x1b" not in done.err
        assert await loaded(served) == ["a"]


def test_hours() -> None:
    """As cron reads them, and over midnight."""
    assert keep_warm.hours("8-10,20") == {8, 9, 10, 20}
    assert keep_warm.hours("22-1") == {22, 23, 0, 1}
    assert len(keep_warm.hours("0-23")) == 24
    for bad in ("", "8-", "-8", "24", "8-24", "a", "8;9"):
        with pytest.raises(ValueError):  # noqa: PT011 -- argparse only wants to know that it is one
            keep_warm.hours(bad)


async def test_keep_warm_waits_for_its_hour(nobody: str) -> None:
    """Another hour than now's, two away so that none passes meanwhile: nobody is asked."""
    done = await run("/bin/sh", "-c", "date +%H")
    away = (int(done.out) + 12) % 24
    assert await run(WARMER, "--once", "--hours", str(away), "a", "--url", nobody) == Ran(0, "", "")


# --- what both say ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(UNLOADER, "--once", "--threshold", "0"), (WARMER, "--once", "a"), (SYNC, "true")])
async def test_errors(words: tuple[str, ...], nobody: str) -> None:
    """Nobody answers, somebody else answers, a key is missing or wrong: one clear line, exit code 1."""
    gone = await run(*words, LLMSUP_URL=nobody)
    assert gone.code == 1
    assert f"no answer from {nobody}" in gone.err
    async with serving(fake("a"), server=Server(api_keys=("the-key",))) as served:
        closed = await run(*words, LLMSUP_URL=url(served))
        assert (closed.code, "key" in closed.err) == (1, True)
        assert (await run(*words, LLMSUP_URL=url(served), LLMSUP_API_KEY="another")).code == 1
        opened = await run(*words, LLMSUP_URL=url(served), LLMSUP_API_KEY="the-key")
        assert (opened.code, opened.err) == (0, "")
        elsewhere = await run(*words, LLMSUP_URL=f"{url(served)}/nothing", LLMSUP_API_KEY="the-key")
        assert elsewhere.code == 1
        assert len(elsewhere.err.splitlines()) == 1
        assert "Traceback" not in elsewhere.err


@pytest.mark.parametrize("address", ["here", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:x"])
@pytest.mark.parametrize("words", [(UNLOADER, "--once", "--threshold", "0"), (WARMER, "--once", "a"), (SYNC, "true")])
async def test_bad_addresses(words: tuple[str, ...], address: str) -> None:
    """A line, not a traceback."""
    done = await run(*words, LLMSUP_URL=address)
    assert done.code in (1, 2)
    assert "Traceback" not in done.err
    assert address.removesuffix("/") in done.err


@pytest.mark.parametrize(
    "words",
    [
        (UNLOADER, "--threshold", "101"),
        (UNLOADER, "--interval", "0"),
        (UNLOADER, "--treshold", "5"),
        (WARMER,),
        (WARMER, "--hours", "25", "a"),
        (WARMER, "--every", "x", "a"),
        (SYNC, "--what"),
        (SYNC, "--url"),
    ],
)
async def test_bad_usage(words: tuple[str, ...]) -> None:
    """Exit code 2, with the reason."""
    done = await run(*words)
    assert (done.code, done.out) == (2, "")
    assert done.err


@pytest.mark.parametrize("script", [UNLOADER, WARMER, SYNC])
async def test_help(script: str) -> None:
    """It says how it is used from cron, and with which key."""
    done = await run(script, "--help")
    assert (done.code, done.err) == (0, "")
    assert all(word in done.out for word in ("cron", "LLMSUP_URL", "LLMSUP_API_KEY", "xit code"))
    assert os.access(script, os.X_OK)


# --- sync_and_reload --------------------------------------------------------------------------------------


@pytest.fixture
def catalog(tmp_path: Path) -> Config:
    """An empty folder that is looked at when asked only."""
    root = tmp_path / "models"
    root.mkdir()
    store = Catalog(roots=(root,), ollama=None)
    return Config(catalog=store, server=Server(state_dir=tmp_path / "state"), bridge=Bridge(every=NEVER))


def bridge(path: Path, config: Config) -> Path:
    """A bridge of one's own: a program that brings a model."""
    made = tiny_llama(path.parent / "tiny.gguf")
    folder = config.catalog.roots[0] / "org" / "new"
    path.write_text(f'#!/bin/sh\nmkdir -p "{folder}" && cp "{made}" "{folder}/tiny.gguf" && echo bridged "$@"\n')
    path.chmod(0o755)
    return path


async def test_a_bridge_of_ones_own(tmp_path: Path, catalog: Config) -> None:
    """Its arguments are its own; what it brought is there at once, and the answer tells."""
    program = bridge(tmp_path / "my bridge", catalog)
    async with serving(config=catalog) as served:
        assert (await served.client.get("/v1/models")).json["data"] == []
        done = await run(SYNC, "--url", url(served), str(program), "--url", "a b")
        assert (done.code, done.err) == (0, "")
        first, second = done.out.splitlines()
        assert first == "bridged --url a b"
        assert json.loads(second)["added"] == ["org/new"]
        assert [entry["id"] for entry in (await served.client.get("/v1/models")).json["data"]] == ["org/new"]


async def test_a_bridge_that_fails(tmp_path: Path, catalog: Config) -> None:
    """Its exit code, and no reload."""
    reads: list[int] = []

    def reread() -> Config:
        reads.append(1)
        return evolve(catalog)

    async with serving(config=catalog, reread=reread) as served:
        done = await run(SYNC, "sh", "-c", "echo no >&2; exit 7", LLMSUP_URL=url(served))
        assert (done.code, done.out) == (7, "")
        assert done.err == "no\nsync_and_reload: sh failed with exit code 7; llmsup was not told\n"
        missing = await run(SYNC, str(tmp_path / "none"), LLMSUP_URL=url(served))
        assert missing.code == 127
        # Below another path there is no bridge, whatever this llmsup has.
        nothing = await run(SYNC, f"--url={url(served)}/nothing")
        assert nothing.code == 1
        assert "there is no POST /bridge at" in nothing.err
        assert "name a bridge as an argument" in nothing.err
    assert reads == []


async def test_a_bad_config_is_told(catalog: Config) -> None:
    """The server's answer has every mistake."""

    def reread() -> Config:
        return parse("a = 1\nb = 2", "the config")

    async with serving(config=catalog, reread=reread) as served:
        done = await run(SYNC, "true", LLMSUP_URL=url(served))
    assert done.code == 1
    assert "POST /reload-config failed (HTTP 422)" in done.err
    assert "unknown key 'a'" in done.err
    assert "unknown key 'b'" in done.err


# --- the guide's own --------------------------------------------------------------------------------------


def with_port(name: str, served: Served, folder: Path) -> str:
    """A script of the guide, asking this server; nothing else is changed."""
    text = (GUIDE / name).read_text()
    assert text.count(":5005") == 1
    script = folder / name
    script.write_text(text.replace(":5005", f":{served.client.port}"))
    script.chmod(0o755)
    return str(script)


@pytest.mark.slow
async def test_the_guides_unloader(tmp_path: Path) -> None:
    """It unloads the last, if memory is full enough, and nothing if there is none."""
    async with serving(fake("a"), fake("b")) as served:
        script = with_port("unload.py", served, tmp_path)
        assert await run(script, THRESHOLD="0", no_proxy="127.0.0.1") == Ran(0, "", "")
        for name in ("b", "a"):
            await served.client.chat(name)
        assert await run(script, THRESHOLD="100", no_proxy="127.0.0.1") == Ran(0, "", "")
        first, _ = await loaded(served)
        assert await run(script, THRESHOLD="0", no_proxy="127.0.0.1") == Ran(0, "", "")
        assert await loaded(served) == [first]


async def test_the_guides_sync(tmp_path: Path, catalog: Config) -> None:
    """The bridge at its place in the home directory, then curl's own POST, without a body or a content type."""
    program = tmp_path / "src" / "lm-studio-ollama-bridge" / "lm-studio-ollama-bridge"
    program.parent.mkdir(parents=True)
    bridge(program, catalog)
    async with serving(config=catalog) as served:
        done = await run(with_port("sync.sh", served, tmp_path), HOME=str(tmp_path), no_proxy="127.0.0.1")
        assert done.code == 0
        assert json.loads(done.out.splitlines()[-1])["added"] == ["org/new"]
        assert [entry["id"] for entry in (await served.client.get("/v1/models")).json["data"]] == ["org/new"]
