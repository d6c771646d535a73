"""The files of one folder: parts, projectors, and what is no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from catalog_disk import BROKEN, MODEL, PROJECTOR, Disk, part
from gguf_files import write_gguf

from llmsup.catalog.found import Unreadable
from llmsup.catalog.gguf.facts import Facts, Value
from llmsup.catalog.gguf.reader import read_header
from llmsup.catalog.gguf.summary import summarise
from llmsup.units import Bytes


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_parts_are_one_model(disk: Disk) -> None:
    """It is given to the engine by its first part, and as large as all of them."""
    for number in (1, 2, 3):
        facts = part(number, 3, weights=Bytes(number), parameters=10 * number)
        disk.put(f"root/p/m/x-Q4_K_M-{number:05}-of-00003.gguf", facts)
    (found,) = disk.models().values()
    assert (found.id, found.problem) == ("p/m", "")
    assert found.path == disk.base / "root/p/m/x-Q4_K_M-00001-of-00003.gguf"
    assert [stamp.path.name[-14:] for stamp in found.files] == [f"0{n}-of-00003.gguf"[-14:] for n in (1, 2, 3)]
    assert (found.facts.architecture, found.facts.weights, found.facts.parameters) == ("llama", 6, 60)
    assert "x-Q4_K_M" in found.names


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({1: part(1, 3), 3: part(3, 3)}, "part 2 of 3 is missing"),
        ({2: part(2, 3), 3: part(3, 3)}, "part 1 of 3 is missing"),
        ({2: part(2, 3)}, "parts 1, 3 of 3 are missing"),
        ({1: part(1, 3), 2: BROKEN, 3: part(3, 3)}, "part 2 of 3 can't be read: it is empty"),
        (
            {1: part(1, 3), 2: part(2, 4), 3: part(3, 3)},
            "x-00002-of-00003.gguf is named as if it were part 2 of 3, but its header says that it is part 2 of 4",
        ),
        (
            {1: part(1, 3), 2: part(3, 3), 3: part(2, 3)},
            "x-00002-of-00003.gguf is named as if it were part 2 of 3, but its header says that it is part 3 of 3",
        ),
        (
            {1: MODEL, 2: part(2, 3), 3: part(3, 3)},
            "x-00001-of-00003.gguf is named as if it were part 1 of 3, but its header says that it is whole",
        ),
    ],
)
def test_parts_that_do_not_make_a_model(disk: Disk, parts: Mapping[int, Facts | Unreadable], problem: str) -> None:
    """It is listed, and what is wrong is said."""
    for number, header in parts.items():
        disk.put(f"root/p/m/x-{number:05}-of-00003.gguf", header)
    (found,) = disk.models().values()
    assert (found.id, found.problem) == ("p/m", problem)
    assert disk.left_out() == {}


def test_many_missing_parts_are_not_listed_one_by_one(disk: Disk) -> None:
    """A name can claim any number of parts."""
    disk.put("root/p/m/x-00001-of-99999.gguf", part(1, 99999))
    assert disk.models()["p/m"].problem == "99998 of 99999 parts are missing"


def test_a_part_under_another_name(disk: Disk) -> None:
    """llama.cpp finds the other parts by their names, so one part alone is no model."""
    disk.put("root/p/m/x.gguf", part(1, 3))
    said = "x.gguf is named as if it were whole, but its header says that it is part 1 of 3"
    assert disk.models()["p/m"].problem == said


def test_numbers_that_are_no_parts(disk: Disk) -> None:
    """Part 4 of 3 can't be; such a file is taken for itself, like part 1 of 1."""
    disk.put("root/p/x-00004-of-00003.gguf")
    disk.put("root/p/y-00001-of-00001.gguf")
    assert {id_: found.problem for id_, found in disk.models().items()} == {
        "p/x-00004-of-00003": "",
        "p/y": "",
    }


def test_parts_that_all_can_not_be_read(disk: Disk) -> None:
    """There is nothing to say about the model but why."""
    disk.put("root/p/m/x-00001-of-00002.gguf", BROKEN)
    disk.put("root/p/m/x-00002-of-00002.gguf", Unreadable("it is cut short"))
    assert disk.models() == {}
    assert sorted(disk.left_out().values()) == ["it is cut short", "it is empty"]


@pytest.mark.parametrize(
    ("model", "projectors", "chosen"),
    [
        ("gemma-Q4_K_M", ["mmproj-model-f16"], "mmproj-model-f16"),
        ("gemma-Q4_K_M", ["gemma-mmproj-f32", "gemma-mmproj-bf16", "gemma-mmproj-q8_0"], "gemma-mmproj-bf16"),
        ("gemma-Q4_K_M", ["mmproj-BF16", "mmproj-F16", "mmproj-F32"], "mmproj-F16"),
        ("gemma-Q4_K_M", ["mmproj-F32", "mmproj-Q8_0"], "mmproj-Q8_0"),
        ("gemma-Q4_K_M", ["mmproj-F32", "mmproj-odd"], "mmproj-F32"),
        ("gemma-3-4b-Q8_0", ["mmproj-gemma-3-12b-F16", "mmproj-gemma-3-4b-F32"], "mmproj-gemma-3-4b-F32"),
        ("gemma-Q4_K_M", ["GEMMA.MMPROJ"], "GEMMA.MMPROJ"),
    ],
)
def test_the_projector_of_a_model(disk: Disk, model: str, projectors: list[str], chosen: str) -> None:
    """The nearest name, then the precision that engines are tried with; it never is a model of its own."""
    disk.put(f"root/p/m/{model}.gguf")
    for name in projectors:
        disk.put(f"root/p/m/{name}.gguf", PROJECTOR)
    (found,) = disk.models().values()
    assert found.id == "p/m"
    assert found.projector == disk.base / f"root/p/m/{chosen}.gguf"
    assert found.projector_facts == PROJECTOR
    assert [stamp.path.stem for stamp in found.files] == [model, chosen]
    assert set(disk.left_out().values()) <= {"a projector, but another one here is preferred"}
    assert len(disk.left_out()) == len(projectors) - 1


def test_a_projector_by_its_header_alone_and_by_its_name_alone(disk: Disk) -> None:
    """Either is enough."""
    disk.put("root/p/a/x.gguf")
    disk.put("root/p/a/vision.gguf", PROJECTOR)
    disk.put("root/p/b/x.gguf")
    disk.put("root/p/b/x-mmproj.gguf", MODEL)
    assert {id_: found.projector and found.projector.name for id_, found in disk.models().items()} == {
        "p/a": "vision.gguf",
        "p/b": "x-mmproj.gguf",
    }


def test_a_projector_goes_with_every_quantisation(disk: Disk) -> None:
    """There is one for all."""
    for name, header in (("x-Q4_K_M", MODEL), ("x-Q8_0", MODEL), ("mmproj", PROJECTOR)):
        disk.put(f"root/p/m/{name}.gguf", header)
    assert [found.projector and found.projector.name for found in disk.models().values()] == ["mmproj.gguf"] * 2


def test_projectors_among_loose_files(disk: Disk) -> None:
    """Where models of all kinds lie together, only those of its name get it."""
    for name, header in (
        ("gemma-3-4b-Q4_K_M", MODEL),
        ("qwen3-4b-Q4_K_M", MODEL),
        ("mmproj-gemma-3-4b-F16", PROJECTOR),
        ("mmproj-F16", PROJECTOR),
    ):
        disk.put(f"root/{name}.gguf", header)
    assert {id_: found.projector and found.projector.name for id_, found in disk.models().items()} == {
        "gemma-3-4b-Q4_K_M": "mmproj-gemma-3-4b-F16.gguf",
        "qwen3-4b-Q4_K_M": None,
    }


@pytest.mark.parametrize(
    ("name", "header", "reason"),
    [
        ("x", Facts(architecture="llama", role="adapter"), "a LoRA adapter"),
        ("x", Facts(architecture="llama", role="draft"), "a draft model, which only speeds up another one"),
        ("mtp-x", MODEL, "a draft model, which only speeds up another one"),
        ("DSpark-x", MODEL, "a draft model, which only speeds up another one"),
        ("dflash-x", MODEL, "a draft model, which only speeds up another one"),
        ("x", Facts(architecture="", role="imatrix"), "an importance matrix"),
        ("imatrix_unsloth", MODEL, "an importance matrix"),
        ("x", BROKEN, "it is empty"),
        ("mmproj-x", BROKEN, "it is empty"),
        ("mmproj-x", PROJECTOR, "a projector without a model"),
    ],
)
def test_what_is_no_model(disk: Disk, name: str, header: Facts | Unreadable, reason: str) -> None:
    """It is left out with its reason, and a model beside it is as if it were alone."""
    disk.put(f"root/p/n/{name}.gguf", header)
    disk.put("root/p/m/model.gguf")
    assert disk.left_out() == {f"root/p/n/{name}.gguf": reason}
    assert list(disk.models()) == ["p/m"]


def test_what_is_no_model_does_not_make_a_folder_one_of_several(disk: Disk) -> None:
    """The model is called by the folder."""
    disk.put("root/p/m/x.gguf")
    disk.put("root/p/m/lora.gguf", Facts(architecture="llama", role="adapter"))
    disk.put("root/p/m/broken.gguf", BROKEN)
    disk.link("root/p/m/y.gguf", disk.base / "root/p/m/x.gguf")
    assert list(disk.models()) == ["p/m"]
    assert "y" in disk.models()["p/m"].names


def text_model(architecture: str, width: int, name: str = "") -> Facts:
    return Facts(architecture=architecture, kind="chat", name=name, numbers={"embedding_length": width})


def projector(type_: str, *widths: int, name: str = "", **numbers: int) -> Facts:
    said: dict[str, Value] = {"projector_type": type_, **{f"vision.{key}": value for key, value in numbers.items()}}
    return Facts(architecture="clip", role="projector", name=name, numbers=said, widths=frozenset(widths))


GEMMA = projector("gemma3", 1152, 2560)
LLAVA = projector("mlp", 1024, 4096, projection_dim=768)  # as the old converters wrote them: the encoder's own


@pytest.mark.parametrize("folder", ["", "pub", "pub/all", "pub/deeper/all"])
@pytest.mark.parametrize(
    ("models", "name", "header", "chosen"),
    [
        ({"smol": text_model("llama", 576)}, "mmproj-F16", GEMMA, []),  # it would be refused
        ({"qwen3-4b": text_model("qwen3", 2560)}, "mmproj-F16", GEMMA, []),  # as wide, and another family
        ({"gemma-3-4b-it": text_model("gemma3", 2560)}, "mmproj-F16", GEMMA, ["gemma-3-4b-it"]),
        ({"llava-7b": text_model("llama", 4096)}, "mmproj-model-f16", LLAVA, ["llava-7b"]),
        ({"qwen2-7b": text_model("qwen2", 3584)}, "mmproj-model-f16", LLAVA, []),
        # Among others, the header or the name must speak for a model.
        (
            {"qwen3-4b": text_model("qwen3", 2560), "gemma-3-4b": text_model("gemma3", 2560)},
            "mmproj-F16",
            GEMMA,
            ["gemma-3-4b"],
        ),
        ({"a": text_model("llama", 4096), "b": text_model("llama", 4096)}, "mmproj-F16", LLAVA, []),
        ({"a": text_model("llama", 4096), "b": text_model("llama", 2048)}, "mmproj-F16", LLAVA, ["a"]),
        ({"a": MODEL, "b": MODEL}, "mmproj-F16", PROJECTOR, []),
        ({"a-vl": MODEL, "b": MODEL}, "mmproj-a-vl-F16", PROJECTOR, ["a-vl"]),
        ({"a-vl": MODEL, "b": MODEL}, "mmproj-a-v", PROJECTOR, []),
        ({"a": MODEL, "b": MODEL}, "mmproj-c-F16", PROJECTOR, []),  # its own model is gone
        (
            {"x": text_model("llama", 4096, "LLaVA 7B"), "y": text_model("llama", 4096, "Llama")},
            "mmproj-F16",
            projector("mlp", 4096, name="llava 7b"),
            ["x"],
        ),
        # A model and what was made of it are one family.
        ({"gemma": MODEL, "gemma-heretic": MODEL}, "mmproj-F16", PROJECTOR, ["gemma", "gemma-heretic"]),
        (
            {"gemma-3-1b": text_model("gemma3", 1152 + 1), "gemma-3-4b": text_model("gemma3", 2560)},
            "mmproj-gemma-3",
            GEMMA,
            ["gemma-3-4b"],
        ),
    ],
)  # fmt: skip
def test_which_model_a_projector_is_for(
    disk: Disk, folder: str, models: Mapping[str, Facts], name: str, header: Facts, chosen: list[str]
) -> None:
    """Asked in every folder, whatever its depth: by the headers, then by the names."""
    base = f"root/{folder}/" if folder else "root/"
    for stem, facts in models.items():
        disk.put(f"{base}{stem}-Q4_K_M.gguf", facts)
        disk.put(f"{base}{stem}-Q8_0.gguf", facts)
    disk.put(f"{base}{name}.gguf", header)
    found = disk.models().values()
    assert len(found) == 2 * len(models)
    seeing = {one.path.stem.rpartition("-")[0] for one in found if one.projector}
    assert sorted(seeing) == chosen
    assert sum(one.projector is not None for one in found) == 2 * len(chosen)
    left_out = disk.left_out()
    assert (f"{base}{name}.gguf" in left_out) == (not chosen)


def test_why_a_projector_is_left_out(disk: Disk) -> None:
    """It is told which model it is not for."""
    disk.put("root/p/all/smol.gguf", text_model("llama", 576))
    disk.put("root/p/all/mmproj.gguf", LLAVA)
    assert disk.left_out() == {
        "root/p/all/mmproj.gguf": "a projector for another model: it has no output as wide as smol (576)"
    }


def test_a_projectors_header_tells_how_wide_it_is(tmp_path: Path) -> None:
    """What stands between its encoder and the model is looked at, and not the encoder."""
    file = write_gguf(
        tmp_path / "mmproj.gguf",
        {"general.architecture": "clip", "clip.projector_type": "mlp", "clip.vision.projection_dim": 768},
        [
            ("v.position_embd.weight", (1024, 577), "F16"),
            ("v.blk.0.attn_q.weight", (1024, 1024), "F16"),
            ("mm.0.weight", (1024, 4096), "F16"),
            ("mm.2.bias", (4096,), "F32"),
        ],
    )
    facts = summarise(read_header(file), file.stat().st_size)
    assert facts.role == "projector"
    assert facts.widths == {1024, 4096}
