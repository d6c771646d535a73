"""The files of one folder: parts, projectors, and what is no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from catalog_disk import BROKEN, MODEL, PROJECTOR, Disk, part

from llmsup.catalog.facts import Facts
from llmsup.catalog.found import Unreadable
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
    assert set(disk.left_out().values()) <= {"a projector, and another one here is preferred"}
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
        ("x", Facts(architecture="llama", role="draft"), "a draft model, which only makes another one faster"),
        ("mtp-x", MODEL, "a draft model, which only makes another one faster"),
        ("DSpark-x", MODEL, "a draft model, which only makes another one faster"),
        ("dflash-x", MODEL, "a draft model, which only makes another one faster"),
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
