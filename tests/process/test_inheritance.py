"""What the programs that llmsup starts find in their environment: none of its secrets."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import trio
from configs import parse
from gguf_files import tiny_llama
from serving import FAKE, PATIENCE, serving

from llmsup.process.inheritance import Inheritance
from llmsup.process.marks import MARK

SECRETS = {"LLMSUP_API_KEY": "sesame-1", "MY_KEY": "sesame-2", "NEW_KEY": "sesame-3"}
WHO = ("engine", "llama-server", "bridge", "memory")


def spy(folder: Path, who: str, then: str) -> str:
    """A program that writes down its environment, and then is something else."""
    path = folder / who
    where = f"{str(path)!r} + '.' + str(os.getpid())"
    note = f"import json,os\nwith open({where}, 'w') as f: json.dump(dict(os.environ), f)\n"
    path.write_text(f"#!{sys.executable}\n{note}{then}")
    path.chmod(0o755)
    return str(path)


def written(folder: Path, who: str) -> list[dict[str, str]]:
    """The environments of a program so far; one that is being written is not there yet."""
    found = []
    for path in folder.glob(f"{who}.*"):
        try:
            found.append(json.loads(path.read_text()))
        except ValueError:
            continue
    return found


@pytest.mark.slow  # starts every kind of program, twice
async def test_no_program_is_given_our_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines, the question for a llama-server's flags, the bridge, the memory probe; also after a reload."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HARMLESS", "yes")
    model = tiny_llama(tmp_path / "m.gguf")
    run = f"os.execv({sys.executable!r}, [{sys.executable!r}, {str(FAKE)!r}, '--socket', sys.argv[1]])"
    engine = spy(tmp_path, "engine", f"import sys\n{run}")
    server = spy(
        tmp_path, "llama-server", "import sys\nprint('  --model M\\n  --host H' if '--help' in sys.argv else '')"
    )
    bridge = spy(tmp_path, "bridge", "")
    memory = spy(tmp_path, "memory", 'print(\'{"total": 8000000000, "available": 7000000000}\')')

    def config(*keys: str) -> str:
        return (
            f"[server]\napi_keys = {json.dumps([*keys, 'open'])}\nstate_dir = {str(tmp_path / 'state')!r}\n"
            f"[catalog]\nroots = []\nollama = ''\n"
            f"[memory]\nprobe = [{memory!r}]\ninterval = '50ms'\n[bridge]\ncommand = [{bridge!r}]\n"
            f"[engines.llama-server]\ncommand = [{server!r}]\n"
            f"[models.a]\ncommand = [{engine!r}, '${{SOCKET}}']\n[models.a.env]\nGIVEN = '${{env:MY_KEY}}'\n"
            f"[models.b]\nengine = 'llama-server'\npath = {str(model)!r}\n"
        )

    now = parse(config("${env:MY_KEY}"), "x")
    async with serving(config=now, reread=lambda: parse(config("${env:MY_KEY}", "${env:NEW_KEY}"), "x")) as served:
        keys = [(b"authorization", b"Bearer open")]
        ask = served.client.ask
        assert (await ask("POST", "/v1/chat/completions", {"model": "a", "messages": []}, keys)).status == 200
        await ask("POST", "/v1/chat/completions", {"model": "b", "messages": []}, keys)  # it is no llama-server
        assert (await ask("POST", "/bridge", {}, keys)).status == 200
        with trio.fail_after(PATIENCE):
            while not all(written(tmp_path, who) for who in WHO):  # noqa: ASYNC110 -- files
                await trio.sleep(0.01)
        for who in WHO:
            for environment in written(tmp_path, who):
                assert "LLMSUP_API_KEY" not in environment, who
                assert "MY_KEY" not in environment, who
                assert environment["HARMLESS"] == "yes"
                assert environment["PATH"] == os.environ["PATH"]
        assert [each["GIVEN"] for each in written(tmp_path, "engine")] == ["sesame-2"]  # a model's own env is its own
        assert (await ask("POST", "/reload-config", {}, keys)).status == 200
        assert (await ask("POST", "/models/unload", {"model": "a"}, keys)).status == 200
        before = written(tmp_path, "engine")
        assert (await ask("POST", "/v1/chat/completions", {"model": "a", "messages": []}, keys)).status == 200
        assert len(written(tmp_path, "engine")) == len(before) + 1
        assert sum("NEW_KEY" in environment for environment in written(tmp_path, "engine")) == 1  # the first one's


def test_marks_are_of_one_llmsup_and_one_child() -> None:
    """A llmsup that is another's engine leaves that one's mark where it is."""
    ours = Inheritance(environ={MARK: "outer.3."}, token="t")
    one, two = ours.mark(), ours.mark()
    assert one != two
    tool = ours.environment()
    assert tool[MARK] == "outer.3.:t.0."
    assert ours.marked(tool, one)[MARK] == f"outer.3.:{one}"


def test_what_is_kept_back() -> None:
    ours = Inheritance(lambda: {"KEY"}, {"KEY": "1", "LLMSUP_API_KEY": "2", "LLAMA_ARG_PORT": "3", "HOME": "/x"}, "t")
    assert ours.environment() == {"LLAMA_ARG_PORT": "3", "HOME": "/x", MARK: "t.0."}
    assert ours.environment(without=("LLAMA_ARG_P",)) == {"HOME": "/x", MARK: "t.0."}
