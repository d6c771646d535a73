"""Where LM Studio keeps its models, as it records that itself, and what the bridge and the catalog make of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import ollama_store
import pytest
from gguf_files import tiny_llama

from llmsup.bridge import builtin, own_links
from llmsup.bridge.builtin import BridgeOutcome
from llmsup.catalog.disk.lmstudio import bridge_target, model_roots, models_folder
from llmsup.catalog.gguf.header_cache import HeaderCache
from llmsup.catalog.library import scan_now
from llmsup.config.schema import Bridge, Catalog, Config, Server

X = "x~latest/x~latest.gguf"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("LMSTUDIO_HOME", raising=False)
    return tmp_path


@pytest.fixture
def config(home: Path) -> Config:
    """One model in Ollama's store, and nothing configured."""
    ollama_store.add(home / ".ollama/models", "x", tiny_llama(home / "made/x.gguf"))
    return Config()


def settings(folder: Path, said: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(said if isinstance(said, str) else json.dumps(said))


def installed(home: Path, where: str = ".lmstudio") -> Path:
    """LM Studio was started once."""
    settings(home / where, {"defaultContextLength": {"type": "max"}})
    return home / where


def nothing(home: Path) -> None:
    pass


def pointed(home: Path) -> None:
    installed(home)
    (home / "far").mkdir()
    (home / ".lmstudio-home-pointer").write_text(f"{home}/far\n")


def dangling(home: Path) -> None:
    installed(home)
    (home / ".lmstudio-home-pointer").write_text(f"{home}/gone")


def both(home: Path) -> None:
    installed(home)
    installed(home, ".cache/lm-studio")


def only_links(home: Path) -> None:
    (home / ".cache/lm-studio/models/ollama/x").mkdir(parents=True)
    installed(home)


def only_links_and_no_lm_studio(home: Path) -> None:
    (home / ".cache/lm-studio/models/ollama/x").mkdir(parents=True)


def chosen(home: Path) -> None:
    settings(home / ".lmstudio", {"downloadsFolder": f"{home}/disk/models"})


@pytest.mark.parametrize(
    ("made", "folder"),
    [
        (nothing, None),
        (installed, ".lmstudio/models"),
        (pointed, "far/models"),
        (dangling, ".lmstudio/models"),
        (both, ".cache/lm-studio/models"),
        (only_links, ".lmstudio/models"),
        (only_links_and_no_lm_studio, None),
        (chosen, "disk/models"),
    ],
)
def test_where_its_models_are(home: Path, made: Callable[[Path], object], folder: str | None) -> None:
    """As it looks itself; what an earlier bridge made is no LM Studio."""
    made(home)
    assert models_folder() == (home / folder if folder else None)
    assert bridge_target("auto") == (home / folder / "ollama" if folder else None)
    assert bridge_target(home / "mine") == home / "mine"


@pytest.mark.parametrize(
    "said",
    [
        *("", "{", "[]", "[" * 99999),
        *(json.dumps({"downloadsFolder": folder}) for folder in (7, None, "", "relative", "/\0")),
    ],
)
def test_settings_that_say_nothing(home: Path, said: str) -> None:
    """Then it is in its home."""
    settings(home / ".lmstudio", said)
    assert models_folder() == home / ".lmstudio/models"


def test_the_variable_counts_most(home: Path) -> None:
    """It is the newest way to move its home."""
    installed(home)
    installed(home, "elsewhere")
    assert models_folder({"LMSTUDIO_HOME": str(home / "elsewhere")}) == home / "elsewhere/models"
    assert models_folder({"LMSTUDIO_HOME": str(home / "gone")}) is None


def test_the_catalog_looks_where_it_is(home: Path) -> None:
    """Unless the config says where to look."""
    chosen(home)
    tiny_llama(home / "disk/models/p/m/x.gguf")
    assert list(scan_now(Config()).models) == ["p/m"]
    assert model_roots(Catalog(roots=(home / "other",))) == (home / "other",)


def links(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*.gguf")}


def everything(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*")}


def test_nothing_is_made_where_it_is_not_installed(home: Path, config: Config) -> None:
    """A folder that we made would be taken for its home by LM Studio itself, once it is installed."""
    before = everything(home)
    done = builtin.run(config)
    assert (done.outcome.made, done.outcome.problems) == ((), ())
    assert done.note.startswith("LM Studio is not installed")
    assert everything(home) == before


@pytest.mark.parametrize("where", [".lmstudio", ".cache/lm-studio"])
def test_links_go_where_it_looks(home: Path, config: Config, where: str) -> None:
    """It may not have made its folder yet."""
    installed(home, where)
    assert builtin.run(config).outcome.made == (X,)
    assert links(home / where / "models/ollama") == {X}


def test_a_folder_on_a_disk_that_is_not_there(home: Path, config: Config) -> None:
    """Nothing is made in its place."""
    settings(home / ".lmstudio", {"downloadsFolder": f"{home}/volumes/disk/models"})
    done = builtin.run(config)
    assert done.outcome.made == ()
    assert f"{home}/volumes/disk/models" in done.note
    assert not (home / "volumes").exists()


def test_links_move_with_its_folder(home: Path, config: Config) -> None:
    """Those in the former one are ours, and go; what else is there stays."""
    former = installed(home, ".cache/lm-studio") / "models/ollama"
    assert builtin.run(config).outcome.made == (X,)
    (former / "mine").mkdir()
    installed(home)
    (home / ".lmstudio-home-pointer").write_text(str(home / ".lmstudio"))
    assert builtin.run(config, dry_run=True).outcome.removed == (str(former / X),)
    assert links(former) == {X}
    outcome = builtin.run(config).outcome
    assert (outcome.made, outcome.removed) == ((X,), (str(former / X),))
    assert links(home / ".lmstudio/models/ollama") == {X}
    assert os.listdir(former) == ["mine"]


def test_links_go_where_it_never_was(home: Path, config: Config) -> None:
    """llmsup once made them without asking whether there is anybody to use them."""
    former = home / ".cache/lm-studio/models/ollama"
    store = home / ".ollama/models"
    builtin.bridge(store, former, builtin.look(HeaderCache(home / "headers.json")))
    assert links(former) == {X}
    done = builtin.run(config)
    assert done.outcome.removed == (str(former / X),)
    assert not former.exists()


# what LM Studio has already


@pytest.fixture
def models(home: Path, config: Config) -> Path:
    return installed(home) / "models"


def blob(home: Path) -> Path:
    (found,) = (path for path in (home / ".ollama/models/blobs").iterdir() if path.stat().st_size > 1000)
    return found


def told(done: BridgeOutcome, there: Path) -> bool:
    (skipped,) = done.skipped
    return skipped.reason == f"LM Studio has its weights already: {there}"


@pytest.mark.parametrize("where", ["ollama/x/x-8B-Q4_K_M.gguf", "others/x/x.gguf", "p/x.gguf"])
@pytest.mark.parametrize("how", ["a link", "a hard link", "its own file"])
def test_what_it_has_is_not_linked_again(home: Path, config: Config, models: Path, where: str, how: str) -> None:
    """The user's own bridge linked it, or it was imported, or Ollama's blob is a link to LM Studio's own file."""
    there = models / where
    there.parent.mkdir(parents=True)
    if how == "a link":
        there.symlink_to(blob(home))
    elif how == "a hard link":
        os.link(blob(home), there)
    else:
        theirs = blob(home)
        os.replace(theirs, there)
        theirs.symlink_to(there)
    done = builtin.run(config)
    assert (done.outcome.made, done.outcome.problems) == ((), ())
    assert told(done, there)
    there.unlink()
    if how != "its own file":
        assert builtin.run(config).outcome.made == (X,), "nobody has it any more"


def test_a_link_of_ours_goes_when_somebody_else_makes_one(home: Path, config: Config, models: Path) -> None:
    """And comes back when that goes; ours alone are no reason to make none."""
    assert builtin.run(config).outcome.made == (X,)
    assert builtin.run(config).outcome.kept == (X,)
    other = models / "ollama/x/x-8B-Q4_K_M.gguf"
    other.parent.mkdir()
    other.symlink_to(blob(home))
    done = builtin.run(config)
    assert (done.outcome.removed, told(done, other)) == ((X,), True)
    other.unlink()
    assert builtin.run(config).outcome.made == (X,)


def test_a_configured_target_is_used_all_the_same(home: Path, config: Config) -> None:
    """Who names a folder wants links in it, with LM Studio or without."""
    own = Config(bridge=Bridge(target=home / "deep/er/links"), server=Server(state_dir=home / "state"))
    assert builtin.run(own).outcome.made == (X,)
    assert builtin.run(own).outcome.kept == (X,)
    assert set(own_links.read(home / "deep/er/links")) == {X}


def test_a_target_that_is_reached_through_a_link(home: Path, config: Config, models: Path) -> None:
    """Our links are known as ours by whichever way LM Studio's folder is looked through."""
    real = home / "disk/ollama"
    real.mkdir(parents=True)
    models.mkdir()
    (models / "ollama").symlink_to(real)
    assert builtin.run(config).outcome.made == (X,)
    assert builtin.run(config).outcome.kept == (X,)
