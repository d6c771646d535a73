"""`llmsup pull`: what it prints, and what a running server knows afterwards."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fake_hub import FakeHub, hub, model
from fake_ollama import PULLING, fake_ollama
from gguf_files import tiny_llama
from ollama_store import add
from own_server import OwnServer, own_server

from llmsup.cli import main, pull
from llmsup.units import Bytes, format_bytes

__all__ = ["hub"]  # the fixture

REPO = "org/Tiny-GGUF"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "llmsup.toml"
    catalog = f"[catalog]\nroots = ['{tmp_path}/models']\nollama = '{tmp_path}/store'\n"
    file.write_text(f"[server]\nstate_dir = '{tmp_path}/state'\n{catalog}[bridge]\nevery = 'never'\n")
    monkeypatch.setenv("LLMSUP_CONFIG", str(file))
    monkeypatch.setattr(pull, "ceiling_here", lambda _: Bytes(1 << 32))
    return file


@pytest.fixture
def offered(hub: FakeHub, tmp_path: Path) -> dict[str, bytes]:
    hub.repos[REPO] = {
        "Tiny-Q4_K_M.gguf": model(tmp_path, "one"),
        "Tiny-Q8_0.gguf": model(tmp_path, "two", rows=1200),
    }
    return hub.repos[REPO]


def size(offered: dict[str, bytes], name: str) -> str:
    return format_bytes(len(offered[name]))


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["pull", *words], prog_name="llmsup")


def test_a_dry_run_shows_all_and_fetches_nothing(config: Path, offered: dict[str, bytes], tmp_path: Path) -> None:
    result = run(f"https://huggingface.co/{REPO}", "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    first, head, row, into, fits = result.stdout.splitlines()
    assert first == f"{REPO}: Q4_K_M, the usual one. There are also Q8_0 ({size(offered, 'Tiny-Q8_0.gguf')})."
    assert head.split() == ["FILE", "SIZE", "STATE"]
    assert row.split("  ")[0] == "Tiny-Q4_K_M.gguf"
    assert row.endswith("to fetch")
    assert into.startswith(f"Into {tmp_path}/models/{REPO}: {size(offered, 'Tiny-Q4_K_M.gguf')} to fetch, ")
    assert fits.startswith("It fits: it needs ")
    assert fits.endswith("with 4096 tokens of context, and all models together may have 4.0 GiB.")
    assert not (tmp_path / "models").exists()
    told = json.loads(run(REPO, "--dry-run", "--json").stdout)
    assert told["files"] == [
        {
            "path": f"{tmp_path}/models/{REPO}/Tiny-Q4_K_M.gguf",
            "bytes": len(offered["Tiny-Q4_K_M.gguf"]),
            "missing_bytes": len(offered["Tiny-Q4_K_M.gguf"]),
        }
    ]
    assert (told["quantisation"], told["fits"], told["room"], told["misfit"]) == ("Q4_K_M", True, True, None)


def test_what_will_not_fit_is_refused(
    config: Path, offered: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "ceiling_here", lambda _: Bytes(1 << 20))
    for words in (("--dry-run",), ()):
        result = run(REPO, *words)
        assert result.exit_code == 1
        assert f"Into {tmp_path}/models/{REPO}" in result.stdout
        assert result.stderr.startswith(f"llmsup: {REPO}, Q4_K_M will not fit: it needs ")
    assert json.loads(run(REPO, "--dry-run", "--json").stdout)["fits"] is False
    assert run(REPO, "--force").exit_code == 0
    assert (tmp_path / "models" / REPO / "Tiny-Q4_K_M.gguf").exists()


def test_a_pull_without_a_server(config: Path, offered: dict[str, bytes], tmp_path: Path) -> None:
    result = run(f"{REPO}:q8_0")
    assert result.exit_code == 0
    assert (tmp_path / "models" / REPO / "Tiny-Q8_0.gguf").read_bytes() == offered["Tiny-Q8_0.gguf"]
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"{size(offered, 'Tiny-Q8_0.gguf')} fetched in ")
    assert last.endswith("No server runs now; `llmsup serve` serves it.")
    assert "fetching Tiny-Q8_0.gguf" in result.stderr
    again = run(f"{REPO}:q8_0")
    assert again.stdout.splitlines()[-1].startswith("All of it is there already.")
    assert json.loads(run(f"{REPO}:q8_0", "--json").stdout) == {"pulled": f"{REPO}/Tiny-Q8_0.gguf", "model": None}


def test_ctrl_c_keeps_what_has_come(
    config: Path, offered: dict[str, bytes], hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("llmsup.downloads.fetch._place", stopped)
        result = run(REPO)
    assert result.exit_code == 130
    assert "Stopped. What has come is kept: the same command goes on from there." in result.stderr
    hub.seen.clear()
    assert run(REPO, "--force").exit_code == 0
    assert hub.ranges == [], "all of it had come"


@pytest.mark.parametrize("name", ["", "hf.co/org", "https://example.com/org/repo", "hf.co/../x"])
def test_a_name_that_is_none_is_bad_usage(name: str) -> None:
    result = run(name)
    assert result.exit_code == 2
    assert "hf.co/ORG/REPO:QUANT" in result.stderr


def test_without_the_library_the_remedy_is_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "llmsup.downloads.hub_client", None)
    result = run(REPO)
    assert result.exit_code == 1
    assert result.stderr.endswith("Run, where llmsup's source is: pip install -e '.[engine,pull]'\n")
    assert len(result.stderr.splitlines()) == 1


def test_without_a_root_the_remedy_is_named(config: Path, offered: dict[str, bytes], tmp_path: Path) -> None:
    config.write_text(f"[server]\nstate_dir = '{tmp_path}/state'\n[catalog]\nroots = []\n")
    result = run(REPO)
    assert (result.exit_code, "[catalog] roots is empty" in result.stderr) == (1, True)


def test_mistakes_elsewhere_in_the_config_are_none_of_its_business(config: Path, offered: dict[str, bytes]) -> None:
    """The server may have been started with variables that this terminal lacks."""
    text = config.read_text()
    config.write_text(text + "[models.other]\npath = '${env:NOT_SET_ANYWHERE}'\n")
    assert run(REPO, "--dry-run").exit_code == 0
    config.write_text(text.replace("roots =", "rots ="))
    result = run(REPO, "--dry-run")
    assert (result.exit_code, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("unknown key 'rots' (did you mean 'roots'?) @ ")


def test_ollama_pulls_its_own(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tiny_llama(tmp_path / "t.gguf")
    (tmp_path / "store").mkdir()
    with fake_ollama() as ollama:
        monkeypatch.setenv("OLLAMA_HOST", ollama.address)
        ollama.pulled = lambda: add(tmp_path / "store", "tiny:1b", file)
        result = run("library/tiny:1b")
        assert result.exit_code == 0, result.stderr
        assert ollama.pulls == [{"model": "tiny:1b", "stream": True}]
        assert result.stdout == "Ollama has pulled tiny:1b. No server runs now; `llmsup serve` serves it.\n"
        assert [line for line in result.stderr.splitlines() if line] == [
            *(line["status"] for line in PULLING),
            "success",
        ]
        refused = run("nosuch")
        assert refused.stderr == "llmsup: Ollama can't pull nosuch: pull model manifest: file does not exist.\n"
        ollama.breaks = True
        assert "Ollama ended without having pulled tiny" in run("tiny").stderr
        assert "--dry-run can't tell of tiny" in run("tiny", "--dry-run").stderr
    gone = run("tiny")
    assert (gone.exit_code, "no Ollama answers at " in gone.stderr) == (1, True)


@pytest.mark.slow
def test_a_running_server_knows_the_model_at_once(
    hub: FakeHub, offered: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command finds the server, uses its config and its ceiling, and has it look."""
    root = tmp_path / "models"
    catalog = {"roots": [str(root)], "ollama": ""}
    with own_server(tmp_path, catalog=catalog, memory={"limit": "3GiB"}) as server:
        assert isinstance(server, OwnServer)
        contact = tmp_path / "contact.toml"
        contact.write_text(f"[server]\nstate_dir = '{tmp_path}/state'\n")
        monkeypatch.setenv("LLMSUP_CONFIG", str(contact))
        result = run(REPO)
        assert result.exit_code == 0, result.stderr
        assert "all models together may have 3.0 GiB" in result.stdout
        assert result.stdout.splitlines()[-1].endswith(f"The server has it as {REPO}.")
        assert (root / REPO / "Tiny-Q4_K_M.gguf").exists()
        listed = CliRunner().invoke(main, ["ls", "--json"])
        assert [model["id"] for model in json.loads(listed.stdout)] == [REPO]
