"""From the name in a request to the model that is meant."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmsup.catalog.names import Called, Match, Names
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
    """Nobody guesses: the error names them all."""
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
    """It is in nobody's interest to look for what is near to megabytes; everybody else would wait meanwhile."""
    began = time.process_time()
    with pytest.raises(ModelNotFound) as error:
        NAMES.resolve("ab" * 5_000_000)
    assert time.process_time() - began < 0.5
    assert len(str(error.value)) < 500


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
    """A name that somebody gave wins over one that a file has; what two files have is nobody's; an exact name of
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
