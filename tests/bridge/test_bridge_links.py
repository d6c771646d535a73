"""Links on a real disk: made, replaced, removed if they are ours, and nothing else ever touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import ollama_store
import pytest
from gguf_files import tiny_llama

from llmsup.bridge import builtin, links, lock, own_links
from llmsup.bridge.builtin import BridgeOutcome
from llmsup.bridge.links import LinkChange
from llmsup.catalog.gguf.header_cache import HeaderCache
from llmsup.errors import SetupError

X = "x~latest/x~latest.gguf"
Y = "bob~y~1b/bob~y~1b.gguf"


class Setting:
    """A store and a target."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.store = base / "ollama"
        self.target = base / "models/ollama"

    def add(self, name: str, content: str = "") -> Path:
        """Returns the manifest; `content` tells two versions of a model apart."""
        gguf = tiny_llama(self.base / "made" / f"{content or name}.gguf".replace("/", "_"), name=content or name)
        return ollama_store.add(self.store, name, gguf)

    def bridge(self, *, dry_run: bool = False) -> BridgeOutcome:
        return builtin.bridge(
            self.store, self.target, builtin.look(HeaderCache(self.base / "headers.json")), dry_run=dry_run
        )

    def run(self, *, dry_run: bool = False) -> LinkChange:
        return self.bridge(dry_run=dry_run).outcome

    def there(self) -> dict[str, str]:
        """Everything under the target that is no folder and not hidden: links with where they lead."""
        return {
            str(path.relative_to(self.target)): os.readlink(path) if path.is_symlink() else "a file"
            for path in sorted(self.target.rglob("*"))
            if not path.name.startswith(".") and (path.is_symlink() or not path.is_dir())
        }

    def ours(self) -> set[str]:
        return set(own_links.read(self.target))


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def test_links_come_and_go_with_their_models(setting: Setting) -> None:
    """Made, then kept; led elsewhere when the model was pulled again; removed with their folder when it is gone."""
    first = setting.add("x")
    setting.add("bob/y:1b")
    assert setting.run() == LinkChange(made=(Y, X))
    assert setting.run() == LinkChange(kept=(Y, X))
    before = setting.there()
    assert all(Path(blob).is_file() and Path(blob).parent == setting.store / "blobs" for blob in before.values())
    setting.add("x", "another x")
    assert setting.run() == LinkChange(made=(X,), kept=(Y,))
    after = setting.there()
    assert after[X] != before[X]
    assert after[Y] == before[Y]
    first.unlink()
    assert setting.run() == LinkChange(removed=(X,), kept=(Y,))
    assert list(setting.there()) == [Y]
    assert not (setting.target / X).parent.exists()
    assert setting.ours() == {Y}


def test_a_dry_run_changes_nothing(setting: Setting) -> None:
    manifest = setting.add("x")
    assert setting.run(dry_run=True) == LinkChange(made=(X,))
    assert not setting.target.exists()
    setting.run()
    manifest.unlink()
    setting.add("bob/y:1b")
    state = {path: path.lstat().st_mtime_ns for path in setting.target.rglob("*")}
    assert setting.run(dry_run=True) == LinkChange(made=(Y,), removed=(X,))
    assert state == {path: path.lstat().st_mtime_ns for path in setting.target.rglob("*")}


def test_no_store_and_nothing_to_do_leave_no_trace(setting: Setting) -> None:
    """Who has no Ollama gets no folder."""
    assert setting.run() == LinkChange()
    ollama_store.add(setting.store, "cloudy", config={"remote_host": "x"})
    assert setting.run() == LinkChange()
    assert len(setting.bridge().skipped) == 1
    assert not setting.target.exists()


def test_a_store_that_vanishes_takes_no_link_along(setting: Setting) -> None:
    """An external disk may come back."""
    setting.add("x")
    setting.run()
    setting.store.rename(setting.base / "away")
    outcome = setting.run()
    (problem,) = outcome.problems
    assert f"{setting.store} is not there; one link" in problem
    assert list(setting.there()) == [X]
    (setting.base / "away").rename(setting.store)
    assert setting.run() == LinkChange(kept=(X,))


def test_a_deleted_blob_takes_its_link_along(setting: Setting) -> None:
    """Ollama's own pruning, or a hand: a link to nothing is no use to LM Studio."""
    setting.add("x")
    setting.add("bob/y:1b")
    setting.run()
    Path(setting.there()[X]).unlink()
    assert setting.run() == LinkChange(removed=(X,), kept=(Y,))


def test_half_a_manifest_takes_no_link_along(setting: Setting) -> None:
    """It may be one that is being written."""
    manifest = setting.add("x")
    setting.run()
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[: len(whole) // 2])
    assert setting.run() == LinkChange()
    assert list(setting.there()) == [X]
    manifest.write_bytes(whole)
    assert setting.run() == LinkChange(kept=(X,))


def test_a_folder_that_is_closed_takes_no_link_along(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """What can't be seen is not gone. (The refusal is made up: tests may run as root, who may look everywhere.)"""
    folder = setting.add("x").parent
    setting.run()
    scandir = os.scandir

    def closed(path: Path) -> object:
        if path == folder:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", closed)
        assert setting.run() == LinkChange()
    assert setting.run() == LinkChange(kept=(X,))


def test_files_with_our_names_stay(setting: Setting) -> None:
    """A regular file, a folder and a link that somebody else made: told, and the rest is done."""
    for name in ("x", "file", "folder", "link"):
        setting.add(name)
    file, folder, link = (setting.target / X.replace("x~", f"{name}~") for name in ("file", "folder", "link"))
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    folder.mkdir(parents=True)
    link.parent.mkdir()
    link.symlink_to(file)
    outcome = setting.run()
    assert outcome.made == (X,)
    assert outcome.problems == (
        f"{file} can't be a link to file:latest: a file that llmsup did not make is there.",
        f"{folder} can't be a link to folder:latest: a folder is there.",
        f"{link} can't be a link to link:latest: it is a link that llmsup did not make.",
    )
    assert (file.read_text(), os.readlink(link), folder.is_dir()) == ("mine", str(file), True)
    assert setting.ours() == {X}


def test_a_link_of_ours_that_somebody_changed_is_theirs(setting: Setting) -> None:
    """Replaced by a file or led elsewhere: it stays when its model goes, and when it changes."""
    manifests = [setting.add("x"), setting.add("bob/y:1b")]
    setting.run()
    (setting.target / X).unlink()
    (setting.target / X).write_text("mine")
    (setting.target / Y).unlink()
    (setting.target / Y).symlink_to("/nowhere")
    assert len(setting.run().problems) == 2
    for manifest in manifests:
        manifest.unlink()
    assert setting.run() == LinkChange()
    assert setting.there() == {X: "a file", Y: "/nowhere"}
    assert setting.ours() == set()


def test_what_lies_beside_a_link_stays(setting: Setting) -> None:
    """Our folder is only removed if nothing else is in it."""
    manifest = setting.add("x")
    setting.run()
    (setting.target / X).with_name("notes.txt").write_text("mine")
    manifest.unlink()
    assert setting.run() == LinkChange(removed=(X,))
    assert setting.there() == {"x~latest/notes.txt": "a file"}


def test_a_right_link_that_is_not_ours_is_left_when_its_model_goes(setting: Setting) -> None:
    """Without the list nothing proves who made it."""
    manifest = setting.add("x")
    setting.run()
    (setting.target / own_links.FILE).unlink()
    assert setting.run() == LinkChange(kept=(X,))
    manifest.unlink()
    assert setting.run() == LinkChange()
    assert list(setting.there()) == [X]


@pytest.mark.parametrize(
    "content",
    [
        "{ not JSON",
        "[]",
        '{"format": 2, "links": {}}',
        '{"format": 1, "links": {"../x.gguf": {"model": "x", "targets": ["/y"]}}}',
        '{"format": 1, "links": {"/etc/x.gguf": {"model": "x", "targets": ["/y"]}}}',
        '{"format": 1, "links": {"a/../x.gguf": {"model": "x", "targets": ["/y"]}}}',
        '{"format": 1, "links": {"a/x": {"model": "x", "targets": ["/y"]}}}',
        '{"format": 1, "links": {"a/x.gguf": {"model": "x", "targets": []}}}',
        '{"format": 1, "links": {"a/x.gguf": 3}}',
    ],
)
def test_a_damaged_list_stops_it(setting: Setting, content: str) -> None:
    """Nothing is changed, and the error names the file and the way out."""
    setting.add("x")
    setting.target.mkdir(parents=True)
    (setting.target / own_links.FILE).write_text(content)
    with pytest.raises(SetupError, match=r"llmsup-bridge\.json is damaged.*Remove it"):
        setting.run()
    assert setting.there() == {}
    assert (setting.target / own_links.FILE).read_text() == content


def test_the_list_says_what_it_is(setting: Setting) -> None:
    setting.add("x")
    setting.run()
    said = json.loads((setting.target / own_links.FILE).read_text())
    assert "touches nothing else" in said["about"]
    assert said["links"] == {X: {"model": "x:latest", "targets": [setting.there()[X]]}}


def test_ended_while_it_works(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever that happens, the links made by then are known for ours, and the next run does the rest."""
    setting.add("bob/y:1b")
    setting.add("x")
    setting.run()
    setting.add("x", "another x")
    setting.add("bob/y:1b", "another y")

    class End(BaseException):
        pass

    make = links._make

    def ending(path: Path, blob: Path, *, replaces: bool) -> None:
        if path.name.startswith("x"):
            raise End
        make(path, blob, replaces=replaces)

    before = setting.there()
    with monkeypatch.context() as patch:
        patch.setattr(links, "_make", ending)
        with pytest.raises(End):
            setting.run()
    between = setting.there()
    assert (between[X] == before[X], between[Y] == before[Y]) == (True, False)
    assert setting.run() == LinkChange(made=(X,), kept=(Y,))
    assert all(len(entry.targets) == 1 for entry in own_links.read(setting.target).values())


def test_a_scratch_link_that_was_left_behind(setting: Setting) -> None:
    setting.add("x")
    setting.run()
    scratch = (setting.target / X).with_name(".x~latest.gguf.new")
    scratch.symlink_to("/nowhere")
    setting.add("x", "another x")
    assert setting.run() == LinkChange(made=(X,))
    assert not scratch.is_symlink()


def test_a_target_that_is_a_file(setting: Setting) -> None:
    setting.add("x")
    setting.target.parent.mkdir()
    setting.target.write_text("mine")
    with pytest.raises(SetupError, match=r"bridge\.target .*models/ollama is not a folder"):
        setting.run()
    assert setting.target.read_text() == "mine"


def test_a_target_that_is_not_writable(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names it. (The refusal is made up: root may write everywhere.)"""
    setting.add("x")
    setting.target.mkdir(parents=True)
    before = os.open

    def refused(path: Path, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT and setting.target in Path(path).parents:
            raise PermissionError(13, "Permission denied")
        return before(path, flags, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        with pytest.raises(SetupError, match=r"bridge\.target .* can't be used: Permission denied"):
            setting.run()
    assert setting.there() == {}


def test_a_target_below_a_file(setting: Setting) -> None:
    setting.add("x")
    setting.target.parent.write_text("mine")
    with pytest.raises(SetupError, match=r"bridge\.target .* can't be used: Not a directory"):
        setting.run()


def test_a_folder_that_can_not_be_written_to(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """One link fails; the others are made, and it is tried again."""
    setting.add("x")
    setting.add("bob/y:1b")
    symlink_to = Path.symlink_to

    def full(self: Path, target: Path) -> None:
        if self.name.startswith("x"):
            raise OSError(28, "No space left on device")
        symlink_to(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "symlink_to", full)
        outcome = setting.run()
    problem = f"{setting.target / X} can't be made: No space left on device."
    assert outcome == LinkChange(made=(Y,), problems=(problem,))
    assert setting.ours() == {Y}
    assert setting.run() == LinkChange(made=(X,), kept=(Y,))


def test_a_target_in_the_store(setting: Setting) -> None:
    setting.add("x")
    setting.target = setting.store / "blobs"
    before = sorted(os.listdir(setting.target))
    with pytest.raises(SetupError, match="inside Ollama's store"):
        setting.run()
    assert sorted(os.listdir(setting.target)) == before


def test_a_folder_of_ours_that_is_a_link_elsewhere(setting: Setting) -> None:
    """Nothing is made where somebody's link leads."""
    setting.add("x")
    elsewhere = setting.base / "elsewhere"
    elsewhere.mkdir()
    setting.target.mkdir(parents=True)
    (setting.target / "x~latest").symlink_to(elsewhere)
    (problem,) = setting.run().problems
    assert "its folder is a file, or a link to elsewhere" in problem
    assert list(elsewhere.iterdir()) == []


def test_a_name_that_the_disk_cannot_hold(setting: Setting) -> None:
    """Told, and the others are linked."""
    setting.add("x")
    setting.add("/".join(["h" * 200, "n" * 80, "m" * 70]), "long")
    outcome = setting.run()
    assert outcome.made == (X,)
    (problem,) = outcome.problems
    assert "name too long" in problem.lower()


def test_other_stores_links_are_left_to_others(setting: Setting) -> None:
    """Two llmsups with stores of their own over one target don't undo each other's work."""
    setting.add("x")
    setting.run()
    other = Setting(setting.base / "other")
    other.target = setting.target
    other.add("bob/y:1b")
    assert other.run() == LinkChange(made=(Y,))
    assert setting.run() == LinkChange(kept=(X,))
    assert set(setting.there()) == setting.ours() == {X, Y}


HOLDER = """
import sys, pathlib
from llmsup.bridge.lock import locked
with locked(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(setting: Setting) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the target's lock until its standard input closes."""
    setting.target.mkdir(parents=True)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(setting.target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def test_one_at_a_time_between_processes(setting: Setting, holder: subprocess.Popen[bytes]) -> None:
    """While another process is at it nothing is done; when it is killed, the lock is free."""
    setting.add("x")
    with pytest.raises(lock.Locked, match="Another llmsup is making links"):
        setting.run()
    assert setting.there() == {}
    holder.kill()
    holder.wait()
    assert setting.run() == LinkChange(made=(X,))


def test_many_at_once(setting: Setting) -> None:
    """Eight threads over one target: each either has the lock or is told so; the links are right in the end."""
    names = [f"m{number}" for number in range(30)]
    for name in names:
        setting.add(name)
    outcomes: list[LinkChange | lock.Locked] = []

    def run() -> None:
        for _ in range(5):
            try:
                outcomes.append(setting.run())
            except lock.Locked as locked:
                outcomes.append(locked)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [outcome for outcome in outcomes if isinstance(outcome, LinkChange)]
    assert sum(len(outcome.made) for outcome in done) == len(names)
    assert not any(outcome.problems or outcome.removed for outcome in done)
    assert len(setting.there()) == len(names)
    assert len(outcomes) == 40
