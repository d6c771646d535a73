"""From folders and Ollama's store to models: who is called what, and what belongs together."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import evolve
from catalog_disk import BROKEN, MODEL, PROJECTOR, Disk, part

from llmsup.catalog.build import build
from llmsup.catalog.disk.survey import Survey
from llmsup.catalog.found import Snapshot
from llmsup.catalog.gguf.facts import Facts


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_the_same_id_in_two_roots(disk: Disk) -> None:
    """The earlier root keeps it; the other file is named with the reason."""
    disk.roots = ("first", "second")
    disk.put("first/p/m/x.gguf")
    disk.put("second/p/m/y.gguf")
    assert disk.models()["p/m"].path == disk.base / "first/p/m/x.gguf"
    assert disk.left_out() == {"second/p/m/y.gguf": f"its name 'p/m' is taken by {disk.base}/first/p/m/x.gguf"}


def test_the_same_id_in_one_root(disk: Disk) -> None:
    """Both are served: the second by its path."""
    for name in ("a/b.gguf", "a/b/c.gguf", "a/b-00001-of-00001.gguf"):
        disk.put(f"root/{name}")
    ids = {str(found.path.relative_to(disk.base / "root")): id_ for id_, found in disk.models().items()}
    assert ids == {
        "a/b-00001-of-00001.gguf": "a/b",
        "a/b.gguf": "a/b.gguf",
        "a/b/c.gguf": "a/b/c",
    }


def test_a_file_that_the_config_names_is_not_left_out_for_its_name(disk: Disk) -> None:
    """Its id is another's, but it has one of its own in the config."""
    disk.roots = ("first", "second")
    disk.put("first/p/m/x.gguf")
    loser = disk.put("second/p/m/y.gguf")
    snapshot = disk.snapshot(loser)
    assert set(snapshot.models) == {"p/m", str(loser)}
    assert snapshot.left_out == ()


def test_one_file_by_several_ways(disk: Disk) -> None:
    """It is one model, called as where it really lies; the other ways are names."""
    disk.roots = ("root", "other")
    real = disk.put("root/z/real/x.gguf")
    disk.link("root/a/linked/y.gguf", real)
    disk.link("other/b/elsewhere/x.gguf", real)
    (found,) = disk.models().values()
    assert (found.id, found.path) == ("z/real", real)
    assert {"a/linked", "linked", "y", "b/elsewhere", "other/b/elsewhere/x.gguf"} - set(found.names) == {
        "other/b/elsewhere/x.gguf"
    }


def test_a_way_with_all_parts_is_better_than_one_without(disk: Disk) -> None:
    """A link to the first part alone is no model of its own, and no harm to the whole one."""
    for number in (1, 2):
        disk.put(f"root/z/m/x-{number:05}-of-00002.gguf", part(number, 2))
    disk.link("root/a/m/x-00001-of-00002.gguf", disk.base / "root/z/m/x-00001-of-00002.gguf")
    assert {id_: found.problem for id_, found in disk.models().items()} == {"z/m": ""}


def test_odd_names_can_be_printed(disk: Disk) -> None:
    """The path stays what it is."""
    disk.put("root/p\n/m\x1b[2J/x.gguf")
    (found,) = disk.models().values()
    assert found.id == "p%0A/m%1B[2J"
    assert found.path.is_file()
    assert all(name.isprintable() for name in found.names)


def test_files_from_outside(disk: Disk) -> None:
    """A file that the config names is listed under its path, and takes no other model's name."""
    inside = disk.put("root/x.gguf")
    outside = disk.put("else/x.gguf")
    disk.put("else/y.gguf")
    models = disk.snapshot(outside, inside).models
    assert set(models) == {"x", str(outside)}
    assert models[str(outside)].path == outside


def test_a_model_of_ollamas(disk: Disk) -> None:
    """It is called as there, and comes with its sampling and context."""
    blob = disk.ollama("x:1b", params={"temperature": 0.5, "num_ctx": 8192})
    (found,) = disk.models().values()
    assert (found.id, found.source, found.path.resolve()) == ("x:1b", "ollama", blob)
    assert (dict(found.ollama), found.ctx_size) == ({"x:1b": {"temperature": 0.5}}, 8192)
    assert any(name.endswith("library/x:1b") for name in found.names)


def test_several_of_ollamas_names_for_one_file(disk: Disk) -> None:
    """One model: the library's shortest name is its id and comes first, each name has its own sampling."""
    disk.ollama("bob/a:1b", content="same", params={"num_ctx": 4096})
    disk.ollama("long-name:1b", content="same", params={"top_k": 1})
    disk.ollama("name:1b", content="same", params={"num_ctx": 2048, "top_k": 2})
    (found,) = disk.models().values()
    assert found.id == "name:1b"
    assert list(found.ollama.items()) == [("name:1b", {"top_k": 2}), ("long-name:1b", {"top_k": 1}), ("bob/a:1b", {})]
    assert found.ctx_size == 4096
    assert {"long-name:1b", "bob/a:1b"} < set(found.names)


def test_a_model_of_ollamas_that_the_bridge_links_to(disk: Disk) -> None:
    """It stays what it was, and has the link's names, too; a link of the user's own names it all the same."""
    disk.roots, disk.bridge = ("root",), "root/ollama"
    blob = disk.ollama("x:1b", projector=b"sees")
    (before,) = disk.models().values()
    disk.link("root/ollama/x~1b/x~1b.gguf", blob)
    assert before.projector is not None
    disk.link("root/ollama/x~1b/mmproj-x~1b.gguf", before.projector)
    (after,) = disk.models().values()
    assert evolve(after, names=before.names, paths=before.paths) == before
    assert {"ollama/x~1b", "x~1b"} < set(after.names)
    disk.link("root/p/m/x.gguf", blob)
    (found,) = disk.models().values()
    assert (found.id, found.path) == ("p/m", disk.base / "root/p/m/x.gguf")
    assert {"ollama/x~1b", "x:1b"} < set(found.names)


def test_the_bridges_links_name_models_if_the_store_is_not_read(disk: Disk) -> None:
    """And what really lies in the bridge's folder is named by that."""
    disk.bridge = "root/ollama"
    disk.link("root/ollama/x~1b/x~1b.gguf", disk.put("elsewhere/blob"))
    disk.put("root/ollama/mine/mine.gguf")
    assert set(disk.models()) == {"ollama/x~1b", "ollama/mine"}


def test_a_model_of_ollamas_that_a_folder_links_to(disk: Disk) -> None:
    """The folder names it; what Ollama knows of it stays."""
    disk.link("root/p/m/x.gguf", disk.ollama("x:1b", params={"top_k": 2}))
    (found,) = disk.models().values()
    assert (found.id, found.source, found.path) == ("p/m", "folder", disk.base / "root/p/m/x.gguf")
    assert "x:1b" in found.names
    assert dict(found.ollama) == {"x:1b": {"top_k": 2}}


def test_projectors_and_adapters_of_ollamas(disk: Disk) -> None:
    """A projector goes with the file, also where a folder links to it; an adapter makes another model."""
    blob = disk.ollama("seeing:1b", content="same", projector=b"projector")
    disk.ollama("tuned:1b", content="same", adapters=[b"adapter"])
    disk.link("root/p/m/x.gguf", blob)
    models = disk.models()
    assert set(models) == {"p/m", "tuned:1b"}
    assert models["p/m"].projector is not None
    assert models["p/m"].projector_facts == PROJECTOR
    assert [path.read_bytes() for path in models["tuned:1b"].adapters] == [b"adapter"]
    assert [stamp.size for stamp in models["tuned:1b"].files] == [4, 7]
    assert models["tuned:1b"].projector is None


def test_a_model_of_ollamas_that_lacks_a_file(disk: Disk) -> None:
    """It is listed with what is wrong, beside the one that lacks nothing."""
    disk.ollama("whole:1b", content="same")
    disk.ollama("tuned:1b", content="same", adapters=[b"adapter"])
    (adapter,) = disk.models()["tuned:1b"].adapters
    adapter.unlink()
    models = disk.models()
    assert models["whole:1b"].problem == ""
    assert models["tuned:1b"].problem.startswith("its adapter is missing")


def test_what_only_ollama_can_run(disk: Disk) -> None:
    """What Ollama's converter wrote is Ollama's, in its store; vision within the model's own file, wherever it lies."""
    eyes = Facts(architecture="gemma3", kind="chat", vision_inside=True)
    odd = Facts(architecture="gptoss", kind="chat")
    disk.ollama("eyes:1b", eyes)
    disk.ollama("odd:1b", odd)
    disk.ollama("plain:1b")
    disk.link("root/p/linked/x.gguf", disk.ollama("linked:1b", odd))
    disk.put("root/p/eyes/x.gguf", eyes)
    disk.put("root/p/odd/x.gguf", odd)
    disk.put("root/p/plain/x.gguf")
    told = {id_ for id_, found in disk.models().items() if found.ollama_only}
    assert told == {"eyes:1b", "odd:1b", "p/linked", "p/eyes"}


def test_a_projector_that_only_ollama_can_read(disk: Disk) -> None:
    """It is the model that then needs Ollama."""
    disk.ollama("llava:7b", projector=b"projector")
    (stored,) = disk.survey().ollama
    (stamp,) = stored.projectors.values()
    disk.headers[stamp.path] = evolve(PROJECTOR, numbers={"has_llava_projector": True})
    assert "its projector" in disk.models()["llava:7b"].ollama_only


def test_what_ollama_has_that_is_no_model(disk: Disk) -> None:
    """It is left out, with its name."""
    disk.ollama("broken:1b", BROKEN)
    disk.ollama("adapter:1b", Facts(architecture="llama", role="adapter"))
    disk.ollama("part:1b", part(1, 2))
    assert sorted(disk.left_out().values()) == [
        "adapter:1b in Ollama's store: a LoRA adapter",
        "broken:1b in Ollama's store: it is empty",
    ]
    assert disk.models()["part:1b"].problem.startswith("it is part 1 of 2")


def test_a_folder_comes_as_a_whole(disk: Disk) -> None:
    """A model is not shown under a name that it would lose when its neighbour is read."""
    for name in ("x-Q4_K_M", "x-Q8_0"):
        disk.put(f"root/p/m/{name}.gguf")
    disk.put("root/p/other/x.gguf")
    seen = disk.survey()
    known = {stamp: disk.headers[stamp.path] for stamp in seen.stamps if "Q8" not in stamp.path.name}
    partly = build(seen, known)
    assert (set(partly.models), partly.complete) == ({"p/other"}, False)
    whole = disk.snapshot()
    assert (set(whole.models), whole.complete) == ({"p/m@Q4_K_M", "p/m@Q8_0", "p/other"}, True)


def partly(disk: Disk, *unread: str) -> Snapshot:
    """The models while these files are still to be read."""
    seen = disk.survey()
    real = {(disk.base / where).resolve() for where in unread}
    return build(seen, {stamp: disk.headers[stamp.path] for stamp in seen.stamps if stamp.path not in real})


def test_a_name_that_another_may_still_take_is_given_to_nobody(disk: Disk) -> None:
    """An earlier root's folder is not read yet: whatever it holds may have the name, or one that begins so."""
    disk.roots = ("first", "second")
    disk.put("first/p/m/x.gguf")
    for name in ("p/m/y.gguf", "p/m@Q8_0/y.gguf", "p/other/y.gguf"):
        disk.put(f"second/{name}")
    assert set(partly(disk, "first/p/m/x.gguf").models) == {"p/other"}
    assert set(disk.models()) == {"p/m", "p/m@Q8_0", "p/other"}


def test_a_model_that_may_still_be_called_by_another_folder(disk: Disk) -> None:
    """Neither is it shown, nor who would take the name that it may yet keep, nor who would take that one's."""
    disk.roots = ("first", "second", "third")
    linked = disk.put("first/p/m/x.gguf")
    disk.put("second/p/m/y.gguf")
    disk.put("third/p/m/z.gguf")
    disk.put("second/p/half/unread.gguf")
    disk.link("second/p/half/x.gguf", linked)
    assert partly(disk, "second/p/half/unread.gguf").models == {}
    assert set(disk.models()) == {"p/m", "p/half@unread"}


def test_a_model_of_ollamas_whose_projector_is_not_read(disk: Disk) -> None:
    """It would be another without it."""
    disk.ollama("seeing:1b", projector=b"projector")
    seen = disk.survey()
    (stored,) = seen.ollama
    assert build(seen, {stored.blob: MODEL}).models == {}


def test_which_of_ollamas_names_a_reason_gives(disk: Disk) -> None:
    """Not the one that was read first."""
    disk.ollama("a-long-name:1b", BROKEN, content="same")
    disk.ollama("short:1b", BROKEN, content="same")
    seen = disk.survey()
    known = dict.fromkeys(seen.stamps, BROKEN)
    for stored in (seen.ollama, seen.ollama[::-1]):
        (left,) = build(evolve(seen, ollama=stored), known).left_out
        assert left.reason == "short:1b in Ollama's store: it is empty"


def test_nothing_there(disk: Disk) -> None:
    """No models are all models."""
    assert disk.snapshot() == build(Survey(), {}) == Snapshot()
