"""Which of a repository's files a pull takes."""

from __future__ import annotations

import pytest

from llmsup.downloads.choice import Option, asked_for, by_default, options, projector_of
from llmsup.downloads.hub import HubFile, Listing
from llmsup.errors import ModelNotFound
from llmsup.units import Bytes

QUANTS = ("Q2_K", "Q3_K_M", "Q4_K_M", "UD-Q4_K_XL", "Q8_0", "F16")


def listing(*paths: str) -> Listing:
    """Each file is larger than those before it."""
    files = [HubFile(path, Bytes(1000 * (number + 1)), sha256=f"{number:064x}") for number, path in enumerate(paths)]
    return Listing("org/repo", "c0ffee", tuple(files))


def of_quants(*quants: str, base: str = "Tiny") -> Listing:
    return listing(*(f"{base}-{quant}.gguf" for quant in quants))


def chosen(has: Listing, most: str = "") -> tuple[str, str]:
    """What is taken by default where everything up to a quantisation fits."""
    every = options(has)
    limit = next((option.size for option in every if option.tag == most), 10**9)
    option, why = by_default(has, every, lambda one: one.size <= limit)
    return option.tag, why


@pytest.mark.parametrize(
    ("quants", "fits", "taken", "why"),
    [
        (QUANTS, "", "Q4_K_M", "the usual one"),
        (QUANTS, "Q3_K_M", "Q3_K_M", "the best that fits, as Q4_K_M would not fit this machine"),
        (("Q2_K", "Q5_K_M", "Q8_0", "BF16"), "", "Q8_0", "the best that fits, as there is no Q4_K_M"),
        (("Q2_K", "Q5_K_M", "Q8_0"), "Q5_K_M", "Q5_K_M", "the best that fits, as there is no Q4_K_M"),
        (("BF16",), "", "BF16", ""),
        (("F16", "F32"), "F16", "F16", "the best that fits, as there is no Q4_K_M"),
    ],
)
def test_the_default(quants: tuple[str, ...], fits: str, taken: str, why: str) -> None:
    assert chosen(of_quants(*quants), fits) == (taken, why)


def test_if_nothing_fits_the_usual_one_is_told_of() -> None:
    has = of_quants(*QUANTS)
    assert by_default(has, options(has), lambda _: False)[0].tag == "Q4_K_M"


@pytest.mark.parametrize(
    ("tag", "taken"),
    [
        ("q8_0", "Tiny-Q8_0"),
        ("Tiny-Q8_0.gguf", "Tiny-Q8_0"),
        ("tiny-q8_0", "Tiny-Q8_0"),
        ("UD-Q4_K_XL", "Tiny-UD-Q4_K_XL"),
        ("q4_k_xl", "Tiny-UD-Q4_K_XL"),
        ("BF16", "Tiny"),
        ("IQ1_S/Tiny-IQ1_S.gguf", "Tiny-IQ1_S"),
        ("Q6_K", "Tiny-Q6_K"),
    ],
)
def test_what_is_asked_for(tag: str, taken: str) -> None:
    has = listing(
        *(f"Tiny-{quant}.gguf" for quant in QUANTS),
        "BF16/Tiny-00001-of-00002.gguf",
        "BF16/Tiny-00002-of-00002.gguf",
        "IQ1_S/Tiny-IQ1_S.gguf",
        *(f"Tiny-Q6_K-{part:05}-of-00003.gguf" for part in (1, 2, 3)),
    )
    option = asked_for(has, options(has), tag)
    assert (option.stem, option.whole) == (taken, True)
    assert len(option.parts) == {"BF16": 2, "Q6_K": 3}.get(tag, 1)


def test_what_is_not_there_is_told_with_what_is() -> None:
    has = of_quants("Q4_K_M", "Q8_0")
    with pytest.raises(ModelNotFound, match=r"has no 'Q8'\. Did you mean Q8_0\? It has Q4_K_M \(1000 B\), Q8_0 \("):
        asked_for(has, options(has), "Q8")


@pytest.mark.parametrize("tag", ["", "Q4_K_M"])
def test_several_that_fit_are_named(tag: str) -> None:
    has = listing("a-1B-Q4_K_M.gguf", "b-3B-Q4_K_M.gguf")
    every = options(has)
    with pytest.raises(ModelNotFound, match=r"several models .* org/repo:a-1B-Q4_K_M\.gguf, org/repo:b-3B-"):
        asked_for(has, every, tag) if tag else by_default(has, every, lambda _: True)


def test_a_repository_without_a_gguf() -> None:
    for files in (("model.safetensors",), ("mmproj-Tiny-F16.gguf", "imatrix.gguf", "mtp-Tiny.gguf")):
        with pytest.raises(ModelNotFound, match="has no GGUF file"):
            options(listing(*files))


def test_parts_that_are_missing_are_not_taken_by_default() -> None:
    has = listing("Tiny-Q4_K_M-00001-of-00002.gguf", "Tiny-Q8_0.gguf")
    assert chosen(has) == ("Q8_0", "")
    assert not asked_for(has, options(has), "Q4_K_M").whole


@pytest.mark.parametrize(
    ("files", "taken"),
    [
        (("Tiny-Q4_K_M.gguf",), None),
        (("Tiny-Q4_K_M.gguf", "mmproj-model-f16.gguf"), "mmproj-model-f16.gguf"),
        (("Tiny-Q4_K_M.gguf", "mmproj-F32.gguf", "mmproj-BF16.gguf", "mmproj-F16.gguf"), "mmproj-F16.gguf"),
        (("Q4/Tiny-Q4_K_M.gguf", "mmproj-F16.gguf"), "mmproj-F16.gguf"),
        (("Tiny-Q4_K_M.gguf", "Other-Q4_K_M.gguf", "mmproj-Other-F16.gguf"), None),
    ],
)
def test_the_projector(files: tuple[str, ...], taken: str | None) -> None:
    has = listing(*files)
    option: Option = next(one for one in options(has) if one.stem.startswith("Tiny"))
    projector = projector_of(option, has.files)
    assert (projector and projector.name) == taken
