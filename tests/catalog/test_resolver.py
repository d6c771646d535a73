"""From the name in a request to the model that is meant."""

from __future__ import annotations

import os
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsup.catalog.found import LeftOut
from llmsup.catalog.resolver import Called, Match, Names
from llmsup.errors import ModelNotFound

NAMES = Names(
    {
        "qwen3-4b": Called(("gpt-4o-mini", "lmstudio-community/Qwen3-4B-GGUF"), ("creative", "exact")),
        "llama3.1": Called((), ("8b", "Hot", "hot")),
        "llama3.1:8b": Called(("llama",), ()),
        "Phi": Called((), ()),
        "phi": Called((), ()),
        "Straße": Called((), ()),
    }
)


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("qwen3-4b", Match("qwen3-4b")),
        ("gpt-4o-mini", Match("qwen3-4b")),
        ("lmstudio-community/Qwen3-4B-GGUF", Match("qwen3-4b")),
        ("Qwen3-4B", Match("qwen3-4b")),
        ("GPT-4o-Mini", Match("qwen3-4b")),
        ("STRASSE", Match("Straße")),
        ("Phi", Match("Phi")),
        ("phi", Match("phi")),
        ("qwen3-4b:creative", Match("qwen3-4b", "creative")),
        ("gpt-4o-mini:exact", Match("qwen3-4b", "exact")),
        ("QWEN3-4B:Creative", Match("qwen3-4b", "creative")),
        ("llama3.1:Hot", Match("llama3.1", "Hot")),
        ("llama3.1:8b", Match("llama3.1:8b")),
        ("LLAMA3.1:8B", Match("llama3.1:8b")),
    ],
)
def test_a_name_that_fits(name: str, match: Match) -> None:
    """Exact first, else in any case if that is unique; a model's own name wins over `model:preset`."""
    assert NAMES.find(name) == match
    assert NAMES.resolve(name) == match


def test_a_name_that_fits_several() -> None:
    """There is no guessing: the error names them all."""
    assert NAMES.find("PHI") is None
    with pytest.raises(ModelNotFound, match=r"'PHI' fits several models: 'Phi', 'phi'\.") as error:
        NAMES.resolve("PHI")
    assert (error.value.status, error.value.code, error.value.param) == (404, "model_not_found", "model")


def test_presets_that_differ_only_in_case() -> None:
    """The error says between what the choice is, not the same name twice."""
    with pytest.raises(ModelNotFound, match=r"'llama3\.1:Hot', 'llama3\.1:hot'"):
        NAMES.resolve("llama3.1:HOT")


@pytest.mark.parametrize("name", ["qwen3-4b:", "qwen3-4b:unknown", "qwen3-4b:creative:creative", ":creative", "qwen3"])
def test_a_name_that_fits_nothing(name: str) -> None:
    """Not even nearly right is right."""
    assert NAMES.find(name) is None
    with pytest.raises(ModelNotFound, match="There is no model"):
        NAMES.resolve(name)


@pytest.mark.parametrize(
    ("name", "near"), [("qwen-4b", "'qwen3-4b'"), ("GPT-4O", "'gpt-4o-mini'"), ("STRASE", "'Straße'")]
)
def test_the_error_names_the_nearest(name: str, near: str) -> None:
    """Spelt as they are spelt, whatever the case that was asked for."""
    with pytest.raises(ModelNotFound, match="The nearest names: ") as error:
        NAMES.resolve(name)
    assert near in str(error.value).partition("nearest names: ")[2]


def test_names_of_models_that_are_not_listed_come_last() -> None:
    """`PEER/NAME` is another way to a model that has a name here."""
    names = Names(
        {"bee/smol": Called(listed=False), "bee/tiny": Called(listed=False), "smol": Called(), "tiny": Called()}
    )
    with pytest.raises(ModelNotFound, match="nearest names: 'smol', 'bee/smol'"):
        names.resolve("bee/smoll")
    with pytest.raises(ModelNotFound, match="There are: 'smol', 'tiny', 'bee/smol' and 1 more"):
        names.resolve("☃")


def test_where_nothing_is_near_something_is_named_all_the_same() -> None:
    """A person sees what there is; where there is nothing, that is said."""
    with pytest.raises(ModelNotFound, match=r"There is no model '☃'\. There are: 'gpt-4o-mini', .* and \d+ more\."):
        NAMES.resolve("☃")
    with pytest.raises(ModelNotFound, match="there are no models at all"):
        Names({}).resolve("x")


@pytest.mark.parametrize("name", ["", "\x00", "\x1b[31mred\r\n", "\udc80", "a\nb", "'", "𝕢𝕨𝕖𝕟", "../../etc/passwd"])
def test_hostile_names_are_shown_harmlessly(name: str) -> None:
    """No control character of the client's gets into a message, and so into a terminal or a log."""
    with pytest.raises(ModelNotFound) as error:
        NAMES.resolve(name)
    assert str(error.value).isprintable()
    str(error.value).encode()


def test_a_very_long_name_is_cut_and_costs_little() -> None:
    """No search for names similar to megabytes of text: all other requests would wait meanwhile."""
    began = time.process_time()
    with pytest.raises(ModelNotFound) as error:
        NAMES.resolve("ab" * 5_000_000)
    assert time.process_time() - began < 0.5
    assert len(str(error.value)) < 500


@pytest.mark.slow
@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.tuples(st.lists(st.text(max_size=8)), st.lists(st.text(max_size=4)))))
def test_every_name_of_its_own_is_found(models: dict[str, tuple[list[str], list[str]]]) -> None:
    """Whatever the models are called, each answers to each name that is only its own."""
    names = Names({id_: Called(*rest) for id_, rest in models.items()})
    for id_, (aliases, _) in models.items():
        for name in (id_, *aliases):
            if sum(name in (i, *a) for i, (a, _) in models.items()) == 1:
                assert names.resolve(name) == Match(id_)


@settings(deadline=None)
@given(st.text())
def test_any_text_is_found_or_told(name: str) -> None:
    """There is no name that breaks the look-up."""
    try:
        assert NAMES.resolve(name) == NAMES.find(name)
    except ModelNotFound:
        assert NAMES.find(name) is None


def test_names_from_files_give_way() -> None:
    """A name from the config wins over one from a file; a name that two files have means neither; an exact name of
    Ollama's wins over a preset.
    """
    names = Names(
        {
            "fast": Called(aliases=("qwen",), presets=("8b", "hot")),
            "pub/a": Called(also={"qwen": "", "a": "", "same": ""}),
            "pub/b": Called(also={"b": "", "same": "", "B.gguf": "", "fast:8b": "", "mine": "mine:latest"}),
        }
    )
    assert names.find("qwen") == Match("fast")
    assert names.find("a") == Match("pub/a")
    assert names.find("b.GGUF") == Match("pub/b")
    assert names.find("fast:8b") == Match("pub/b")
    assert names.find("qwen:hot") == Match("fast", "hot")
    assert names.find("mine") == Match("pub/b", "mine:latest")
    with pytest.raises(ModelNotFound, match="'same' fits several models: 'pub/a', 'pub/b'"):
        names.resolve("same")


def test_the_nearest_are_of_different_models_and_may_be_presets() -> None:
    """Three spellings of one model are no choice."""
    names = Names(
        {
            "llama3.1:8b": Called(also={"library/llama3.1:8b": "", "llama3.1-8b": ""}),
            "llama3.2:3b": Called(),
            "mychat": Called(presets=("creative",)),
        }
    )
    with pytest.raises(ModelNotFound, match=r"nearest names: '[^']+', 'llama3\.2:3b'"):
        names.resolve("llama3.1:9b")
    with pytest.raises(ModelNotFound, match="nearest names: 'mychat:creative', 'mychat'"):
        names.resolve("mychat:creativ")


WRITTEN = Names(
    {
        "übung": Called(),
        "Model, v1": Called(),
        "lmstudio-community/Qwen3-4B-GGUF": Called(
            also=dict.fromkeys(["Qwen3-4B-Q4_K_M", "lmstudio-community/Qwen3-4B-GGUF:Q4_K_M"], ""),
            paths=["/models/q/Qwen3-4B-Q4_K_M.gguf"],
        ),
        "big": Called(also={"Big-Q8_0": ""}, paths=["/m/Big-Q8_0-00001-of-00003.gguf"]),
        "hf.co/bob/x:Q8_0": Called(paths=["/store/blobs/sha256-abc", "sha256-abc"]),
        "bob/x": Called(),
    },
    [
        LeftOut(Path("/m/lora.gguf"), "a LoRA adapter", ("p/m/lora.gguf", "lora.gguf")),
        LeftOut(Path("/s/manifests/h/n/pulling/latest"), "its weights are not wholly downloaded", ("pulling:latest",)),
    ],
)


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("u\u0308bung", "übung"),
        ("U\u0308BUNG", "übung"),
        ("u\u0308bung.gguf", "übung"),
        ("Model\N{FULLWIDTH COMMA} v1", "Model, v1"),
        ("Qwen3-4B-Q4_K_M.gguf", "lmstudio-community/Qwen3-4B-GGUF"),
        ("qwen3-4b-q4_k_m.GGUF", "lmstudio-community/Qwen3-4B-GGUF"),
        ("/models/q/Qwen3-4B-Q4_K_M.gguf", "lmstudio-community/Qwen3-4B-GGUF"),
        ("hf.co/lmstudio-community/Qwen3-4B-GGUF:Q4_K_M", "lmstudio-community/Qwen3-4B-GGUF"),
        ("https://huggingface.co/lmstudio-community/Qwen3-4B-GGUF", "lmstudio-community/Qwen3-4B-GGUF"),
        ("https://huggingface.co/lmstudio-community/Qwen3-4B-GGUF/tree/main", "lmstudio-community/Qwen3-4B-GGUF"),
        ("Big-Q8_0-00002-of-00003.gguf", "big"),
        ("/m/Big-Q8_0-00003-of-00003.gguf", "big"),
        ("hf.co/bob/x:Q8_0", "hf.co/bob/x:Q8_0"),
        ("bob/x:q8_0", "hf.co/bob/x:Q8_0"),
        ("hf.co/bob/x", "bob/x"),
        ("/store/blobs/sha256-abc", "hf.co/bob/x:Q8_0"),
        ("sha256-abc", "hf.co/bob/x:Q8_0"),
        ("./big/", "big"),
    ],
)
def test_what_people_copy(name: str, id_: str) -> None:
    """From a disk, from another program, from a web page."""
    assert WRITTEN.resolve(name).id == id_


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("pulling:latest", "There is a file for 'pulling:latest', but it is not served: its weights are not wholly"),
        ("lora", "it is not served: a LoRA adapter."),
        ("p/m/lora.gguf", "it is not served: a LoRA adapter."),
        ("/m/lora.gguf", "it is not served: a LoRA adapter."),
        ("/somewhere/else.gguf", "A file is served if it is under one of [catalog] roots"),
    ],
)
def test_what_is_not_served_and_why(name: str, why: str) -> None:
    """Who asks for a file that is there hears why it isn't served."""
    with pytest.raises(ModelNotFound) as error:
        WRITTEN.resolve(name)
    assert why in str(error.value)


def test_a_name_that_is_exactly_so_comes_first() -> None:
    """However many others could be meant by what is left of it."""
    names = Names({"x": Called(), "x.gguf": Called(), "X": Called()})
    assert [names.resolve(name).id for name in ("x", "x.gguf", "X")] == ["x", "x.gguf", "X"]
    with pytest.raises(ModelNotFound, match=r"fits several models: 'X', 'x', 'x\.gguf'"):
        names.resolve("./x")


@given(st.text())
def test_what_is_left_of_a_name_is_its_own(name: str) -> None:
    """Of any text: it is found by itself, and however its letters are composed."""
    names = Names({name: Called()})
    for form in ("NFC", "NFD"):
        spelt = unicodedata.normalize(form, name)
        assert names.find(spelt) == Match(name)


def test_a_path_under_the_home_directory() -> None:
    """As a shell shows it."""
    assert Names({"x": Called(paths=[os.path.expanduser("~/models/x.gguf")])}).resolve("~/models/x.gguf").id == "x"
