"""The bridge in a whole llmsup, over HTTP and from the command line: models come and go, what runs is not touched."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ollama_store
import pytest
import trio
from click.testing import CliRunner, Result
from configs import load
from gguf_files import tiny_llama, write_gguf
from real_engines import llama_server, smollm2
from serving import FAKE, PATIENCE, Served, serving

from llmsup.bridge.lock import locked
from llmsup.catalog.ollama.store import read_store
from llmsup.cli import main
from llmsup.cli.client import Client

ENGINE = f"command = {json.dumps([sys.executable, str(FAKE), '--socket', '${SOCKET}'])}\n"


class Machine:
    """Ollama's store, LM Studio's folder, and a config."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.store = base / "ollama"
        self.target = base / "models/ollama"
        self.file = base / "llmsup.toml"
        self.write()

    def write(self, bridge: str = "", *, direct: bool = True, defaults: str = "engine = 'fake'") -> None:
        """Write the config; `direct`: the catalog reads the store, too."""
        self.file.write_text(
            f"[server]\nstate_dir = {str(self.base / 'state')!r}\nshutdown_grace = '1s'\n"
            f"[catalog]\nroots = [{str(self.base / 'models')!r}]\nrescan = 'never'\n"
            f"ollama = {str(self.store) if direct else ''!r}\n"
            f"[bridge]\ntarget = {str(self.target)!r}\n{bridge}\n"
            f"[defaults]\nttl = 'never'\nstop_grace = '2s'\n{defaults}\n[engines.fake]\n{ENGINE}"
        )

    def add(self, name: str, **more: Any) -> Path:
        return ollama_store.add(
            self.store, name, tiny_llama(self.base / f"{name}.gguf".replace("/", "_"), name=name), **more
        )

    def projector(self) -> Path:
        return write_gguf(self.base / "p.gguf", {"general.architecture": "clip", "clip.projector_type": "mlp"})

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Served]:
        async with serving(config=load(self.file), reread=lambda: load(self.file)) as served:
            yield served


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def names(served: Served) -> dict[str, list[str]]:
    """The ids on /v1/models, with what else they answer to."""
    return {entry["id"]: entry["names"] for entry in (await served.client.get("/v1/models")).json["data"]}


async def last_run(served: Served) -> dict[str, Any]:
    """The first run's result, once it has ended."""
    with trio.fail_after(PATIENCE):
        while not (state := (await served.client.get("/bridge")).json)["last_run"]:  # noqa: ASYNC110 -- over HTTP
            await trio.sleep(0.01)
    run: dict[str, Any] = state["last_run"]
    return run


async def test_once_at_the_start_and_when_asked(machine: Machine) -> None:
    """`GET` tells the last run and the next, `POST` runs and answers when the models are there."""
    machine.add("x")
    async with machine.serving() as served:
        first = await last_run(served)
        assert (first["success"], first["made"], first["exit_code"]) == (True, ["x~latest/x~latest.gguf"], None)
        manifest = machine.add("bob/y:1b")
        ollama_store.write_manifest(machine.store, "broken", b"{")
        got = await served.client.post("/bridge")
        assert got.status == 200
        assert (got.json["made"], got.json["removed"], got.json["kept"]) == (["bob~y~1b/bob~y~1b.gguf"], [], 1)
        assert got.json["skipped"][0]["model"] == "registry.ollama.ai/library/broken/latest"
        assert set(await names(served)) == {"x:latest", "bob/y:1b"}
        state = (await served.client.get("/bridge")).json
        assert state["last_run"] == got.json
        assert state["running"] is False
        assert state["schedule"] == "1 h"
        assert state["next_run"] == pytest.approx(got.json["started_at"] + 3600, abs=61)
        assert state["target"] == str(machine.target)
        manifest.unlink()
        assert (await served.client.post("/bridge")).json["removed"] == ["bob~y~1b/bob~y~1b.gguf"]
        assert set(await names(served)) == {"x:latest"}


async def test_a_dry_run(machine: Machine) -> None:
    """It tells, does nothing, and is no run."""
    machine.write("every = 'never'")
    machine.add("x")
    async with machine.serving() as served:
        got = await served.client.post("/bridge", dry_run=True)
        assert (got.status, got.json["dry_run"], got.json["made"]) == (200, True, ["x~latest/x~latest.gguf"])
        assert not machine.target.exists()
        state = (await served.client.get("/bridge")).json
        assert (state["last_run"], state["next_run"], state["schedule"]) == (None, None, "never")


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"dry_run": 1}', b'{"dry_run": "yes"}'])
async def test_a_body_that_makes_no_sense(machine: Machine, body: bytes) -> None:
    machine.write("every = 'never'")
    async with machine.serving() as served:
        got = await served.client.ask("POST", "/bridge", body)
        assert got.status == 400
        assert got.error["message"]
        assert (await served.client.get("/bridge")).json["last_run"] is None


async def test_a_web_page_can_not_run_it(machine: Machine) -> None:
    machine.write("every = 'never'")
    async with machine.serving() as served:
        got = await served.client.ask("POST", "/bridge", {}, [(b"Origin", b"https://evil.example")])
        assert (got.status, got.error["code"]) == (403, "forbidden_origin")


async def test_what_runs_is_not_touched_by_its_link(machine: Machine) -> None:
    """A model of Ollama's keeps its id, its path and its engine when it gets a link, and answers to that, too."""
    machine.write("every = 'never'")
    machine.add(
        "eye:4b",
        projector=machine.projector(),
    )
    async with machine.serving() as served:
        assert (await served.client.chat("eye:4b")).status == 200
        (before,) = (await served.client.get("/running")).json
        entry = served.model("eye:4b").entry
        got = await served.client.post("/bridge")
        assert len(got.json["made"]) == 2
        (after,) = (await served.client.get("/running")).json
        assert (after["pid"], after["state"]) == (before["pid"], "ready")
        assert served.model("eye:4b").entry.runs_like(entry)
        assert "ollama/eye~4b" in (await names(served))["eye:4b"]
        assert (await served.client.chat("ollama/eye~4b")).status == 200
        assert len((await served.client.get("/running")).json) == 1


async def test_our_links_the_scripts_and_the_store_are_one_model(machine: Machine) -> None:
    """Three ways to each blob, each listed once; the script's links are left alone, those that dangle, too."""
    for name in ("llama3.1:8b", "bob/x"):
        machine.add(name)
    machine.add(
        "eye:4b",
        projector=machine.projector(),
    )
    blobs = {model.name: model.blob for model in read_store(machine.store)[0]}
    scripts = {"llama3.1/llama3.1-8.0B-Q4_K_M.gguf": "llama3.1:8b", "x/x-8.0B-Q4_K_M.gguf": "bob/x:latest"}
    for link, model in scripts.items():
        path = machine.target / link
        path.parent.mkdir(parents=True)
        path.symlink_to(blobs[model])
    dangling = machine.target / "old/old-7B-Q4_0.gguf"
    dangling.parent.mkdir()
    dangling.symlink_to(machine.store / "blobs/sha256-gone")
    async with machine.serving() as served:
        await last_run(served)
        assert set(await names(served)) == {"llama3.1:8b", "bob/x:latest", "eye:4b"}
        catalog = (await served.client.get("/catalog")).json
        assert catalog["models"] == 3
        found = served.model("eye:4b").entry.found
        assert found is not None
        assert found.projector is not None
        for link, model in scripts.items():
            assert served.fleet.resolve(Path(link).stem).id == model
    machine.write(direct=False)
    async with machine.serving() as served:
        assert len(await names(served)) == 3
        assert served.fleet.resolve("ollama/eye~4b").id in await names(served)
    assert dangling.is_symlink()
    assert all((machine.target / link).is_symlink() for link in scripts)


async def test_a_file_in_the_way_is_told(machine: Machine) -> None:
    machine.add("x")
    path = machine.target / "x~latest/x~latest.gguf"
    path.parent.mkdir(parents=True)
    tiny_llama(path, name="mine")
    async with machine.serving() as served:
        (problem,) = (await last_run(served))["problems"]
        assert problem == f"{path} can't be a link to x:latest: a file that llmsup did not make is there."
        assert tiny_llama(machine.base / "same.gguf", name="mine").read_bytes() == path.read_bytes()


async def test_a_target_that_is_a_file_is_an_error(machine: Machine) -> None:
    """It is told as such, and serving goes on."""
    machine.add("x")
    machine.target.parent.mkdir()
    machine.target.write_text("mine")
    async with machine.serving() as served:
        got = await served.client.post("/bridge")
        assert (got.status, got.error["code"]) == (502, "bridge_failed")
        assert "is not a folder" in got.error["message"]
        assert (await last_run(served))["error"] == got.error["message"]
        assert set(await names(served)) == {"x:latest"}


async def test_the_users_script(machine: Machine) -> None:
    """What it links is on the API when it is done; its links count as made, its last lines are told."""
    machine.write(f"command = {str(machine.base / 'bridge.sh')!r}", direct=False)
    machine.add("x")
    blob = max((machine.store / "blobs").iterdir(), key=lambda path: path.stat().st_size)
    script = machine.base / "bridge.sh"
    link = machine.target / "x/x-8.0B-Q4_K_M.gguf"
    script.write_text(f"#!/bin/sh\necho linking\nmkdir -p {link.parent}\nln -s {blob} {link}\necho done\n")
    script.chmod(0o755)
    async with machine.serving() as served:
        run = await last_run(served)
        assert (run["success"], run["exit_code"], run["made"]) == (True, 0, ["x/x-8.0B-Q4_K_M.gguf"])
        assert run["lines"] == ["linking", "done"]
        assert run["command"] == str(script)
        assert set(await names(served)) == {"ollama/x"}
        script.write_text(f"#!/bin/sh\nrm {link}\necho no >&2\nexit 7\n")
        got = await served.client.post("/bridge")
        assert (got.status, got.error["code"]) == (502, "bridge_failed")
        assert got.error["message"] == f"{script} exited with code 7."
        assert got.error["log_tail"] == ["no"]
        run = await last_run(served)
        assert (run["exit_code"], run["removed"], run["kept"]) == (7, ["x/x-8.0B-Q4_K_M.gguf"], 0)
        assert set(await names(served)) == set(), "what it did before it failed counts"
        assert (await served.client.post("/bridge", dry_run=True)).error["param"] == "dry_run"


@pytest.mark.slow
async def test_a_script_that_never_ends_does_not_hurt(machine: Machine) -> None:
    """While it runs requests are served; it is ended after its timeout, and the error says so."""
    machine.write("command = ['sleep', '1000']\ntimeout = '1s'")
    machine.add("x")
    async with machine.serving() as served:
        assert (await served.client.get("/bridge")).json["running"] is True, "it begins before anybody is let in"
        assert (await served.client.chat("x")).status == 200
        got = await served.client.post("/bridge")
        assert got.status == 502
        assert "sleep took longer than 1.0 s (bridge.timeout)" in got.error["message"]


async def test_a_script_that_is_missing(machine: Machine) -> None:
    machine.write("command = ['/nowhere/bridge']")
    async with machine.serving() as served:
        got = await served.client.post("/bridge")
        assert got.error["message"] == (
            "bridge.command '/nowhere/bridge' can't be run: No such file or directory. Check the path."
        )


@pytest.mark.slow
async def test_stopping_ends_a_script(machine: Machine) -> None:
    """It does not outlive us, and doesn't hold us up."""
    machine.write(
        "command = ['sh', '-c', 'echo $$ > pid.new; mv pid.new pid; sleep 1000']".replace(
            "pid", str(machine.base / "pid")
        )
    )
    with trio.fail_after(PATIENCE):
        async with machine.serving():
            while not (machine.base / "pid").exists():  # noqa: ASYNC110 -- it is a file
                await trio.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.killpg(int((machine.base / "pid").read_text()), 0)


async def test_two_llmsups_over_one_target(machine: Machine) -> None:
    """Both serve, both bridge, one at a time; nobody undoes the other's work."""
    for number in range(20):
        machine.add(f"m{number}")
    async with machine.serving() as one, machine.serving() as other:
        runs = [await last_run(one), await last_run(other)]
        assert [run["success"] for run in runs] == [True, True]
        assert sum(len(run["made"]) for run in runs) == 20
        for served in (one, other, one):
            got = await served.client.post("/bridge")
            assert (got.json["made"], got.json["removed"], got.json["kept"]) == ([], [], 20)


async def test_a_lock_that_stays_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while; the next run is on schedule."""
    monkeypatch.setattr("llmsup.bridge.bridging.PATIENCE", 0.2)
    machine.add("x")
    machine.target.mkdir(parents=True)
    async with machine.serving() as served:
        await last_run(served)
        with locked(machine.target):
            got = await served.client.post("/bridge")
            assert got.status == 502
            assert got.error["message"].startswith("Another llmsup is making links")
        assert (await served.client.post("/bridge")).status == 200


async def cli(served: Served, *words: str) -> Result:
    """Run a command against it, in another thread."""
    url = f"http://127.0.0.1:{served.client.port}"
    return await trio.to_thread.run_sync(partial(CliRunner().invoke, main, ["bridge", "--url", url, *words]))


async def test_the_command(machine: Machine) -> None:
    """Words for people, JSON for programs, exit code 1 if something is in the way or it failed."""
    machine.write("every = 'never'")
    machine.add("x")
    ollama_store.write_manifest(machine.store, "broken", b"{")
    async with machine.serving() as served:
        told = await cli(served, "--dry-run")
        assert told.exit_code == 0
        assert told.stdout.splitlines()[:2] == [
            "would be made: x~latest/x~latest.gguf",
            "not linked: registry.ollama.ai/library/broken/latest: it is not a manifest, or is damaged",
        ]
        assert "1 link would be made, 0 removed, 0 kept in" in told.stdout
        told = await cli(served)
        assert told.stdout.startswith("made: x~latest/x~latest.gguf\n")
        told = await cli(served, "--json")
        assert json.loads(told.stdout)["kept"] == 1
        link = machine.target / "x~latest/x~latest.gguf"
        link.unlink()
        link.write_text("mine")
        told = await cli(served)
        assert told.exit_code == 1
        assert f"{link} can't be a link to x:latest" in told.stderr
        machine.write("every = 'never'\ncommand = ['sh', '-c', 'echo why; exit 3']")
        assert (await served.client.post("/reload-config")).status == 200
        told = await cli(served)
        assert told.exit_code == 1
        assert "sh exited with code 3" in told.stderr
        assert told.stderr.endswith("    why\n")


async def test_a_real_model_from_ollama_to_an_answer(machine: Machine) -> None:
    """SmolLM2's weights in a store, the bridge, /v1/models, and an answer of a real engine: by the link alone."""
    defaults = "engine = 'llama-server'\nctx_size = 256\nparallel = 1\nthreads = 1\n"
    engine = f"[engines.llama-server]\ncommand = {[str(llama_server())]!r}"
    machine.write("every = 'never'", direct=False, defaults=defaults + engine)
    async with machine.serving() as served:
        assert await names(served) == {}
        ollama_store.add(machine.store, "smollm2:135m", smollm2())
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OLLAMA_MODELS", str(machine.store))
            got = await served.client.post("/bridge")
        assert got.json["made"] == ["smollm2~135m/smollm2~135m.gguf"]
        (id_,) = await names(served)
        assert id_ == "ollama/smollm2~135m"
        got = await served.client.chat(id_, max_tokens=8)
        assert got.status == 200, got.body
        assert got.json["choices"][0]["message"]["content"]
        (running,) = (await served.client.get("/running")).json
        assert str(machine.target / "smollm2~135m/smollm2~135m.gguf") in running["cmd"]


async def test_the_script_that_syncs(tmp_path: Path) -> None:
    """tools/sync_and_reload.sh without a program of one's own: POST /bridge, then POST /reload-config."""
    machine = Machine(tmp_path)
    machine.write("every = 'never'")
    machine.add("llama3.1:8b")
    script = Path(__file__).parents[2] / "tools" / "sync_and_reload.sh"
    async with machine.serving() as served:
        with trio.fail_after(PATIENCE):
            done = await trio.run_process(
                [str(script), "--url", f"http://127.0.0.1:{served.client.port}"], capture_stdout=True
            )
        bridged, reloaded = map(json.loads, done.stdout.splitlines())
        assert [Path(link).name for link in bridged["made"]] == ["llama3.1~8b.gguf"]
        assert reloaded["unchanged"] == ["llama3.1:8b"], "it is the store's own model all the same"


def test_a_dry_run_needs_no_server(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It tells what one would do, and does nothing; a run, and one of another server, need it."""
    machine.write("every = 'never'")
    with machine.file.open("a") as file:
        file.write("[server.unknown]\n")
    monkeypatch.setenv("LLMSUP_CONFIG", str(machine.file))
    monkeypatch.setattr("llmsup.cli.bridge.connect", lambda url: Client(f"http://{url or '127.0.0.1:1'}"))
    machine.add("x")
    run = partial(CliRunner().invoke, main)
    assert run(["bridge", "--dry-run"]).exit_code == 2, "its config must be in order"
    machine.write("every = 'never'")
    told = run(["bridge", "--dry-run"])
    assert (told.exit_code, told.stdout.splitlines()[0]) == (0, "would be made: x~latest/x~latest.gguf")
    assert told.stderr.startswith("No server is running")
    assert json.loads(run(["bridge", "--dry-run", "--json"]).stdout)["dry_run"] is True
    assert not machine.target.exists()
    for words in (["bridge"], ["bridge", "--dry-run", "--url", "127.0.0.1:1"]):
        assert run(words).stderr.startswith("llmsup: no server answers at http://")
    machine.write("command = ['x']")
    assert "Only the built-in bridge can tell" in run(["bridge", "--dry-run"]).stderr
