"""What models in folders are called."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.catalog.labels import Label, Placement, claims, label_folder, label_outsider
from llmsup.catalog.name_parts import printable, quant_in, without_quant


def labels(folder: str, *files: str, unnamed: str = "") -> list[Label]:
    """`unnamed`: the quantisation that the headers say, where the names say none."""
    models = []
    for file in files:
        stem = file.removesuffix(".gguf")
        relative = f"{folder}/{file}" if folder else file
        models.append(Placement(stem=stem, relative=relative, quant=quant_in(stem) or unnamed))
    return label_folder(folder, models)


@pytest.mark.parametrize(
    ("stem", "quant", "rest"),
    [
        ("Qwen3-4B-Q4_K_M", "Q4_K_M", "Qwen3-4B"),
        ("Qwen3-4B.q4_k_m", "Q4_K_M", "Qwen3-4B"),
        ("Qwen3-30B-A3B-UD-Q4_K_XL", "UD-Q4_K_XL", "Qwen3-30B-A3B"),
        ("DeepSeek-R1-UD-IQ1_S", "UD-IQ1_S", "DeepSeek-R1"),
        ("x-IQ2_XXS", "IQ2_XXS", "x"),
        ("x-IQ4_NL", "IQ4_NL", "x"),
        ("x-Q6_K_L", "Q6_K_L", "x"),
        ("x-Q4_0_4_4", "Q4_0_4_4", "x"),
        ("x-IQ4_KS", "IQ4_KS", "x"),
        ("x-Q4_K_R4", "Q4_K_R4", "x"),
        ("x-TQ1_0", "TQ1_0", "x"),
        ("gpt-oss-20b-mxfp4", "MXFP4", "gpt-oss-20b"),
        ("gpt-oss-20b-MXFP4_MOE", "MXFP4_MOE", "gpt-oss-20b"),
        ("x-fp16", "F16", "x"),
        ("x.bf16", "BF16", "x"),
        ("x_f32", "F32", "x"),
        ("x-q8", "Q8", "x"),
        ("Lexi_Q8_imatrix", "Q8", "Lexi-imatrix"),
        ("x-Q4_K_M-it", "Q4_K_M", "x-it"),
        ("x-F16-Q4_K_M", "Q4_K_M", "x"),
        ("Q4_K_M", "Q4_K_M", ""),
        ("SmolLM2-135M-Instruct", "", "SmolLM2-135M-Instruct"),
        ("FAQ4_0", "", "FAQ4_0"),
        ("x-Q4_K_Magnum", "Q4_K", "x-Magnum"),
    ],
)
def test_the_quantisation_in_a_name(stem: str, quant: str, rest: str) -> None:
    """As llama.cpp's tools and the publishers write them, and nothing that only looks like one."""
    assert (quant_in(stem), without_quant(stem)) == (quant, rest)


@pytest.mark.parametrize(
    ("folder", "files", "ids"),
    [
        ("", ["x.gguf", "y.gguf"], ["x", "y"]),
        ("pub", ["x.gguf", "y.gguf"], ["pub/x", "pub/y"]),
        ("pub/m", ["x.gguf"], ["pub/m"]),
        ("pub/m", ["x-Q4_K_M.gguf", "x-Q8_0.gguf"], ["pub/m@Q4_K_M", "pub/m@Q8_0"]),
        ("pub/m", ["x-Q8_0.gguf", "y-Q8_0.gguf", "y-F16.gguf"], ["pub/m@x-Q8_0", "pub/m@y-Q8_0", "pub/m@F16"]),
        ("pub/m", ["x-q8_0.gguf", "y-Q8_0.gguf"], ["pub/m@x-q8_0", "pub/m@y-Q8_0"]),
        ("pub/m", ["x.gguf", "y.gguf"], ["pub/m@x", "pub/m@y"]),
        ("pub/m/deeper/still", ["x.gguf"], ["pub/m/deeper/still"]),
        ("pub/m/UD-Q4_K_XL", ["x-UD-Q4_K_XL.gguf"], ["pub/m/UD-Q4_K_XL"]),
    ],
)
def test_ids(folder: str, files: list[str], ids: list[str]) -> None:
    """By the folder from `publisher/model` on, with the quantisation or the name where it holds several."""
    assert [label.ids[0] for label in labels(folder, *files)] == ids


def test_a_quantisation_that_only_the_header_tells() -> None:
    """It is as good as one in the name, unless two have the same."""
    assert [label.ids[0] for label in labels("p/m", "x.gguf", "x-Q8_0.gguf", unnamed="Q4_0")] == [
        "p/m@Q4_0",
        "p/m@Q8_0",
    ]
    assert [label.ids[0] for label in labels("p/m", "x.gguf", "y.gguf", unnamed="Q4_0")] == ["p/m@x", "p/m@y"]


def test_names_of_the_only_model_in_a_folder() -> None:
    """Nearest first: short, as the file is called, where it lies; then without -GGUF, and with the quantisation as
    others write it.
    """
    (label,) = labels("pub/Qwen3-4B-GGUF", "Qwen3-4B-Q4_K_M.gguf")
    assert label.ids == (
        "pub/Qwen3-4B-GGUF",
        "pub/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M",
        "pub/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf",
    )
    assert label.names[:3] == (
        "Qwen3-4B-GGUF",
        "Qwen3-4B-Q4_K_M",
        "pub/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf",
    )
    assert {"pub/Qwen3-4B", "Qwen3-4B", "pub/Qwen3-4B@Q4_K_M", "Qwen3-4B:Q4_K_M", "pub/Qwen3-4B-GGUF:Q4_K_M"} < set(
        label.names
    )
    assert len(set(label.names)) == len(label.names)
    assert label.ids[0] not in label.names


def test_names_that_several_may_claim() -> None:
    """Each quantisation answers to the folder's name, which names none of them until only one is left."""
    small, large = labels("pub/m-GGUF", "m-Q4_K_M.gguf", "m-Q8_0.gguf")
    assert {"pub/m-GGUF", "m-GGUF", "pub/m", "m"} <= set(small.names) & set(large.names)
    assert small.names[0] == "m-GGUF@Q4_K_M"
    assert large.names[0] == "m-GGUF@Q8_0"


def test_names_do_not_go_when_a_second_quantisation_comes() -> None:
    """What named a model while it was alone is still one of its names, and its new id was one before."""
    (alone,) = labels("pub/m-GGUF", "m-Q4_K_M.gguf")
    beside, _ = labels("pub/m-GGUF", "m-Q4_K_M.gguf", "m-Q8_0.gguf")
    assert set(alone.names) | set(alone.ids[:1]) == set(beside.names) | set(beside.ids[:1])


def test_a_folder_for_each_quantisation() -> None:
    """Publishers of large models sort them so; the names are those of one folder."""
    (label,) = labels("unsloth/Big-GGUF/UD-Q4_K_XL", "Big-UD-Q4_K_XL.gguf")
    assert {"unsloth/Big-GGUF:UD-Q4_K_XL", "Big-GGUF@UD-Q4_K_XL", "unsloth/Big-GGUF", "Big"} < set(label.names)


def test_loose_files() -> None:
    """They answer to their names without the quantisation too."""
    (label,) = labels("pub", "Qwen3-4B-Q4_K_M.gguf")
    assert {"Qwen3-4B-Q4_K_M", "pub/Qwen3-4B-Q4_K_M.gguf", "Qwen3-4B", "Qwen3-4B:Q4_K_M"} <= set(label.names)


def test_links_in_the_same_folder() -> None:
    """A second name of the same file is a name, not a second model."""
    (label,) = label_folder("p/m", [Placement(stem="x", relative="p/m/x.gguf", links=(("y", "p/m/y.gguf"),))])
    assert label.ids[0] == "p/m"
    assert {"x", "y", "p/m/y.gguf"} < set(label.names)


def test_files_from_outside() -> None:
    """Their path is their name, so that no file under a root loses its own to them."""
    assert label_outsider("/a/b.gguf", "b") == Label(("/a/b.gguf",), ("b", "b.gguf"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a b", "a b"),
        ("Мышь 猫", "Мышь 猫"),
        ("u\u0308ber", "über"),
        ("a\nb\x1b[31m\x7f", "a%0Ab%1B[31m%7F"),
        (os.fsdecode(b"a\xff"), "a%FF"),
        ("a\u200bb\u202ec", "a%E2%80%8Bb%E2%80%AEc"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    """What can't be seen or sent is written as its bytes."""
    assert printable(text) == shown


@given(st.text())
def test_printable_whatever_it_is(text: str) -> None:
    """Any text, surrogates included, becomes one that can be printed and encoded; a second time changes nothing."""
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert printable(shown) == shown


FILES = ["x.gguf", "x-Q4_K_M.gguf", "x-Q8_0.gguf", "y-Q8_0.gguf", "z-00001-of-00002.gguf"]


@given(
    st.sampled_from(["", "p", "p/m", "p/m/Q8_0"]),
    st.lists(st.sampled_from(FILES), min_size=1, unique=True),
    st.sampled_from(["", "Q4_0"]),
)
def test_ids_are_within_what_was_claimed(folder: str, files: list[str], unnamed: str) -> None:
    """Before a folder's headers are read it is known which ids its models may get."""
    claimed = {
        claim
        for file in files
        for claim in claims(folder, file.removesuffix(".gguf"), f"{folder}/{file}" if folder else file)
    }
    for label in labels(folder, *files, unnamed=unnamed):
        for id_ in label.ids:
            assert id_ in claimed or id_.partition("@")[0] in claimed
