"""A pull from the hub: whole, cut off, resumed, refused; and that nobody ever finds half a model."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from fake_hub import COMMIT, TOKEN, FakeHub, digest, hub, model
from projector_files import write_mmproj

from llmsup.catalog.disk.lmstudio import OURS, models_folder
from llmsup.catalog.library import scan_now
from llmsup.config.schema import Bridge, Catalog, Config, GiB, Server
from llmsup.downloads import plan as planning
from llmsup.downloads.fetch import TRIES, Step, fetch
from llmsup.downloads.name import HubName
from llmsup.downloads.plan import Plan, first_root, plan
from llmsup.errors import DownloadCut, DownloadFailed, ModelNotFound
from llmsup.units import NEVER, Bytes

__all__ = ["hub"]  # the fixture

REPO = "org/Tiny-GGUF"
FILE = "Tiny-Q4_K_M.gguf"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    catalog = Catalog(roots=(tmp_path / "models",), ollama=None)
    return Config(server=Server(state_dir=tmp_path / "state"), catalog=catalog, bridge=Bridge(every=NEVER))


@pytest.fixture
def data(hub: FakeHub, tmp_path: Path) -> bytes:
    """The one file of the one repository."""
    hub.repos[REPO] = {FILE: model(tmp_path, "whole"), "README.md": b"hello"}
    return hub.repos[REPO][FILE]


def planned(hub: FakeHub, config: Config, name: str = REPO, tag: str = "") -> Plan:
    return plan(hub.connect(), HubName(name, tag), config, Bytes(4 * GiB))


def pull(hub: FakeHub, config: Config, name: str = REPO, tag: str = "") -> list[Step]:
    waits: list[float] = []
    the_plan = planned(hub, config, name, tag)
    hub.seen.clear()
    return list(fetch(hub.connect(), the_plan, waits.append))


def files(config: Config) -> dict[str, int]:
    """What lies under the root, with sizes."""
    (root,) = config.catalog.roots
    found = [path for path in root.rglob("*") if path.is_file() and path.name != OURS]
    return {str(path.relative_to(root)): path.stat().st_size for path in found}


def served(config: Config) -> list[str]:
    return sorted(scan_now(config).models)


def test_a_file_is_pulled_into_lm_studios_layout(hub: FakeHub, config: Config, data: bytes) -> None:
    steps = pull(hub, config)
    assert files(config) == {f"{REPO}/{FILE}": len(data)}
    assert (config.catalog.roots[0] / REPO / FILE).read_bytes() == data
    assert served(config) == [REPO]
    assert [step.what for step in steps][-1] == "done"
    assert hub.seen[0][1] == f"/{REPO}/resolve/{COMMIT}/{FILE}", "of the commit that was listed"
    hub.seen.clear()
    assert planned(hub, config).missing == 0
    assert pull(hub, config) == []
    assert hub.ranges == [], "nothing is fetched twice"


def test_a_cut_is_gone_on_from_within_one_pull(hub: FakeHub, config: Config, data: bytes) -> None:
    the_plan = planned(hub, config)
    hub.seen.clear()
    hub.cuts = [100_000, 0, None]
    waits: list[float] = []
    steps = list(fetch(hub.connect(), the_plan, waits.append))
    assert [asked.partition("-")[0] for asked in hub.ranges] == ["bytes=0", "bytes=100000", "bytes=100000"]
    assert waits == [1.0, 2.0]
    assert [step.done for step in steps if step.what == "waiting"] == [100_000, 100_000]
    assert the_plan.model.read_bytes() == data


@pytest.mark.parametrize("whole", [False, True])
def test_the_next_pull_goes_on_where_one_was_stopped(hub: FakeHub, config: Config, data: bytes, whole: bool) -> None:
    """Also if the storage knows no ranges: then what comes again is skipped."""
    stopped = fetch(hub.connect(), planned(hub, config))
    come = next(stopped).done
    stopped.close()
    assert 0 < come < len(data)
    assert planned(hub, config).missing == len(data) - come
    hub.whole = whole
    steps = pull(hub, config)
    assert hub.ranges == [f"bytes={come}-{len(data) - 1}"]
    assert steps[0].what == "checking"
    assert (config.catalog.roots[0] / REPO / FILE).read_bytes() == data


def test_the_catalog_never_sees_half_a_model(hub: FakeHub, config: Config, tmp_path: Path) -> None:
    """Neither a file that is begun, nor some parts of a split one, nor one that sees without its projector."""
    split: dict[str, Any] = {"split.count": 2}
    hub.repos[REPO] = {
        "Q8_0/Tiny-Q8_0-00001-of-00002.gguf": model(tmp_path, "a", **split, **{"split.no": 0}),
        "Q8_0/Tiny-Q8_0-00002-of-00002.gguf": model(tmp_path, "b", **split, **{"split.no": 1}),
        "mmproj-F16.gguf": write_mmproj(tmp_path / "mmproj.gguf", 256).read_bytes(),
    }
    the_plan = planned(hub, config)
    seen = set()
    for step in fetch(hub.connect(), the_plan):
        snapshot = scan_now(config)
        assert not snapshot.models
        assert all(left.reason == "an unfinished download" for left in snapshot.left_out)
        seen.add(step.wanted.file.name)
    assert len(seen) == 3
    (found,) = scan_now(config).models.values()
    assert found.path == the_plan.model == the_plan.folder / "Tiny-Q8_0-00001-of-00002.gguf"
    assert found.projector == the_plan.folder / "mmproj-F16.gguf"
    assert found.problem == ""
    assert len(files(config)) == 3


def test_one_who_asks_for_an_unfinished_model_is_told(hub: FakeHub, config: Config, data: bytes) -> None:
    next(iter(fetch(hub.connect(), planned(hub, config))))
    (left,) = scan_now(config).left_out
    assert left.reason == "an unfinished download"
    assert {f"{REPO}/{FILE}", REPO} <= set(left.names)


def test_another_quantisation_takes_the_projector_that_is_there(hub: FakeHub, config: Config, tmp_path: Path) -> None:
    projector = write_mmproj(tmp_path / "mmproj.gguf", 256).read_bytes()
    hub.repos[REPO] = {
        FILE: model(tmp_path, "one"),
        "Tiny-Q8_0.gguf": model(tmp_path, "two", rows=900),
        "mmproj-F16.gguf": projector,
    }
    pull(hub, config)
    pull(hub, config, tag="Q8_0")
    assert [path for _, path, *_ in hub.seen if "mmproj" in path] == []
    assert sorted(files(config)) == [
        f"{REPO}/{name}" for name in ("Tiny-Q4_K_M.gguf", "Tiny-Q8_0.gguf", "mmproj-F16.gguf")
    ]


def test_what_is_not_what_the_hub_lists_is_thrown_away(hub: FakeHub, config: Config, data: bytes) -> None:
    the_plan = planned(hub, config)
    hub.spoil = lambda data: data[:-1] + b"x"
    with pytest.raises(DownloadFailed, match=f"its SHA-256 is .* instead of {digest(data)[:12]}"):
        list(fetch(hub.connect(), the_plan))
    assert files(config) == {}
    hub.spoil = bytes
    list(fetch(hub.connect(), the_plan))
    assert the_plan.model.read_bytes() == data


def test_another_etag_than_was_listed_is_told_before_a_byte_is_taken(hub: FakeHub, config: Config, data: bytes) -> None:
    the_plan = planned(hub, config)
    hub.etag = lambda _: 64 * "0"
    with pytest.raises(DownloadFailed, match="its ETag is 000000000000"):
        list(fetch(hub.connect(), the_plan))
    assert set(files(config).values()) == {0}


def test_a_new_revision_begins_anew_and_clears_up(hub: FakeHub, config: Config, data: bytes, tmp_path: Path) -> None:
    next(iter(fetch(hub.connect(), planned(hub, config))))
    (old,) = files(config)
    hub.repos[REPO][FILE] = new = model(tmp_path, "newer")
    pull(hub, config)
    assert hub.ranges[0].startswith("bytes=0-")
    assert old not in files(config)
    assert (config.catalog.roots[0] / REPO / FILE).read_bytes() == new


def test_a_storage_that_is_ill_for_a_while(hub: FakeHub, config: Config, data: bytes) -> None:
    the_plan = planned(hub, config)
    hub.statuses = [503, 429, 500]
    waits: list[float] = []
    list(fetch(hub.connect(), the_plan, waits.append))
    assert (waits, the_plan.model.read_bytes() == data) == ([1.0, 2.0, 4.0], True)


def test_one_that_stays_ill_is_given_up(hub: FakeHub, config: Config, data: bytes) -> None:
    the_plan = planned(hub, config)
    hub.cuts = [100_000, *(TRIES * [0])]
    waits: list[float] = []
    with pytest.raises(DownloadCut, match="What has come is kept: pull again"):
        list(fetch(hub.connect(), the_plan, waits.append))
    assert len(waits) == TRIES - 1
    assert the_plan.missing == len(data) - 100_000


def test_a_hub_that_is_not_there(hub: FakeHub, config: Config) -> None:
    gone = hub.connect()
    gone = type(gone)("http://127.0.0.1:1")
    with pytest.raises(DownloadCut, match=r"http://127\.0\.0\.1:1 can't be reached"):
        gone.listing(HubName(REPO))


def test_what_is_no_hub(hub: FakeHub) -> None:
    with pytest.raises(
        ModelNotFound, match=r"There is no org/nosuch on the hub, or it is private\. Check the spelling"
    ):
        type(hub.connect())(f"{hub.url}/elsewhere").listing(HubName("org/nosuch"))


def test_a_repository_that_is_not_there_or_private(
    hub: FakeHub,
    config: Config,
    data: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(ModelNotFound, match=r"no org/nosuch on the hub, .* \$HF_TOKEN .* is ollama\.com/org/nosuch"):
        planned(hub, config, "org/nosuch")
    hub.private.add(REPO)
    with pytest.raises(ModelNotFound, match="or it is private"):
        planned(hub, config)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with caplog.at_level(logging.DEBUG):
        pull(hub, config)
    assert TOKEN not in caplog.text
    assert "signed=1" not in caplog.text, "such an address is as good as a token"
    assert served(config) == [REPO]
    assert {token for where, _, _, token in hub.seen if where == "storage"} == {""}, "the token is the hub's alone"
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(DownloadFailed, match="doesn't accept your token") as caught:
        planned(hub, config)
    assert "hf_wrong" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("token", "said"), [("", r"you have not\. Agree on .* Set \$HF_TOKEN"), (TOKEN, "your token's account has not")]
)
def test_a_gated_repository(
    hub: FakeHub, config: Config, data: bytes, monkeypatch: pytest.MonkeyPatch, token: str, said: str
) -> None:
    hub.gated.add(REPO)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(DownloadFailed, match=f"{REPO} is gated: .*{said}"):
        planned(hub, config)


def test_a_revision_that_is_not_there(hub: FakeHub, config: Config, data: bytes) -> None:
    with pytest.raises(ModelNotFound, match="no branch, tag or commit 'nosuch'"):
        hub.connect().listing(HubName(REPO, "", "nosuch"))
    assert hub.connect().listing(HubName(REPO, "", "v1")).commit == COMMIT


def test_two_pulls_of_a_file_at_once(hub: FakeHub, config: Config, data: bytes) -> None:
    the_plan = planned(hub, config)
    first = fetch(hub.connect(), the_plan)
    next(first)
    with pytest.raises(DownloadFailed, match="is being fetched by another pull"):
        list(fetch(hub.connect(), the_plan))
    list(first)
    assert the_plan.model.read_bytes() == data
    assert len(files(config)) == 1


def test_what_is_there_is_not_replaced(hub: FakeHub, config: Config, data: bytes) -> None:
    """A file of that name and another size is somebody's; also one that comes into being meanwhile."""
    the_plan = planned(hub, config)
    the_plan.folder.mkdir(parents=True)
    the_plan.model.write_bytes(b"mine")
    with pytest.raises(DownloadFailed, match=rf"{FILE} is there already, and not the hub's: it has 4 bytes"):
        planned(hub, config)
    the_plan.model.unlink()
    steps = fetch(hub.connect(), the_plan)
    next(steps)
    the_plan.model.write_bytes(b"mine")
    with pytest.raises(DownloadFailed, match="has come into being meanwhile"):
        list(steps)
    assert the_plan.model.read_bytes() == b"mine"


def test_a_disk_without_room(hub: FakeHub, config: Config, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told before; and if it fills up meanwhile, what has come is kept."""
    monkeypatch.setattr(planning, "_free", lambda _: Bytes(1000))
    with pytest.raises(DownloadFailed, match=r"has no room: 3.. KiB are to be fetched, and 1000 B are free there"):
        planned(hub, config).check()
    the_plan = planned(hub, config)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("llmsup.downloads.fetch.os.fsync", full)
        with pytest.raises(DownloadFailed, match=r"No space left on device\. It goes on from there once"):
            list(fetch(hub.connect(), the_plan))
    assert the_plan.missing == 0
    assert not the_plan.model.exists()
    list(fetch(hub.connect(), the_plan))
    assert the_plan.model.read_bytes() == data


def test_a_folder_that_cant_be_written_to(hub: FakeHub, config: Config, data: bytes) -> None:
    the_plan = planned(hub, config)
    the_plan.folder.parent.mkdir(parents=True)
    the_plan.folder.write_text("in the way")
    with pytest.raises(DownloadFailed, match=f"{REPO} can't be written to: "):
        list(fetch(hub.connect(), the_plan))


def test_a_folder_of_ours_is_no_sign_of_lm_studio(
    hub: FakeHub, config: Config, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default the first root is LM Studio's, and the bridge makes links where LM Studio is: not for a pull."""
    monkeypatch.setenv("HOME", str(tmp_path))
    default = evolve(config, catalog=Catalog(ollama=None))
    pull(hub, default)
    assert (tmp_path / ".lmstudio/models" / REPO / FILE).read_bytes() == data
    assert models_folder() is None
    assert first_root(default.catalog) == tmp_path / ".lmstudio/models"
    (tmp_path / ".lmstudio/settings.json").write_text("{}")
    assert models_folder() == tmp_path / ".lmstudio/models"


def test_a_mirror_that_tells_no_sizes(hub: FakeHub, config: Config) -> None:
    """Nothing could be checked then, not even whether all of it has come."""
    hub.repos[REPO] = {FILE: b""}
    with pytest.raises(DownloadFailed, match="doesn't tell the size of Tiny"):
        plan(hub.connect(), HubName(REPO), config, Bytes(0), force=True)


def test_offline(hub: FakeHub, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadFailed, match=r"while \$HF_HUB_OFFLINE is set\. Unset it"):
        planned(hub, config)
