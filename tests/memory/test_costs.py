"""What a model is going to cost: declared, else measured before, else estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.catalog.entry import Entry
from llmsup.catalog.found import Found, Stamp
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.schema import GiB, ModelSpec
from llmsup.engines.context import Context
from llmsup.memory.cost.cost import UNKNOWN, Cost, cost
from llmsup.memory.cost.estimate import Estimate
from llmsup.units import Bytes

MiB = 1024**2
SIZES = st.none() | st.integers(1, 2**40).map(Bytes)


def entry(declared: Bytes | None = None, size: int | None = None) -> Entry:
    """A model, with a file of that size if it has one."""
    stamp = () if size is None else (Stamp(Path("/m.gguf"), size, 0),)
    file = (
        None
        if size is None
        else Found(id="m", path=Path("/m.gguf"), files=stamp, facts=Facts(architecture="x", kind="chat"))
    )
    return Entry(spec=ModelSpec(name="m", path="/m.gguf", memory=declared), found=file)


def needs(weights: int, *, cache_ram: int = 0, embeddings: bool = False) -> Estimate:
    said: dict[str, Any] = {"cache_ram": Bytes(cache_ram), "embeddings": embeddings}
    context = Context(n_ctx=1024, n_ctx_seq=1024, sequences=1, unified=True, **said)
    none = Bytes(0)
    return Estimate(Bytes(weights), none, none, none, none, context, engine=none)


def test_what_is_declared_is_believed() -> None:
    """Whatever the file looks like; it is refused where that much can't be had."""
    assert cost(entry(Bytes(5 * GiB)), needs(9 * GiB), None) == Cost(Bytes(5 * GiB), "declared", Bytes(5 * GiB))
    assert cost(entry(Bytes(5 * GiB)), None, Bytes(4 * GiB)).source == "declared"


def test_until_more_was_seen() -> None:
    """A declared memory that is far too small costs the machine's other models once, not every time."""
    assert cost(entry(Bytes(GiB)), None, Bytes(3 * GiB)) == Cost(Bytes(3 * GiB), "measured", Bytes(3 * GiB))


def test_a_measurement_replaces_an_estimate() -> None:
    """Also where it is smaller; and one that grew with its prompts is not refused where the model itself fits."""
    assert cost(entry(), needs(4 * GiB), Bytes(3 * GiB)) == Cost(Bytes(3 * GiB), "measured", Bytes(3 * GiB))
    grown = cost(entry(), needs(4 * GiB), Bytes(7 * GiB))
    assert grown == Cost(Bytes(7 * GiB), "measured", Bytes(4 * GiB))


@pytest.mark.parametrize("measured", [None, Bytes(9 * MiB)])
def test_the_prompts_that_it_may_keep_are_no_part_of_it(measured: Bytes | None) -> None:
    """They are told apart: what it takes when it starts is all that it needs to be let in."""
    found = cost(entry(), needs(10 * MiB, cache_ram=2 * GiB), measured)
    assert (found.bytes, found.least, found.grows) == (measured or 10 * MiB, measured or 10 * MiB, 2 * GiB)


@pytest.mark.parametrize("measured", [None, Bytes(9 * MiB)])
def test_an_embedding_model_keeps_no_prompts(measured: Bytes | None) -> None:
    """Nor does a reranker."""
    assert cost(entry(), needs(10 * MiB, cache_ram=2 * GiB, embeddings=True), measured).grows == 0


def test_a_file_that_can_not_be_estimated() -> None:
    """It costs its size."""
    assert cost(entry(size=10 * MiB), None, None) == Cost(Bytes(10 * MiB), "estimated", Bytes(10 * MiB))


def test_what_fits() -> None:
    """What it needs in any case has to be there, to the byte."""
    assert cost(entry(), needs(4 * GiB), None).fits(4 * GiB)
    assert not cost(entry(), needs(4 * GiB), None).fits(4 * GiB - 1)
    assert cost(entry(), needs(4 * GiB), Bytes(7 * GiB)).fits(4 * GiB)
    assert cost(entry(), None, None).fits(1), "a guess keeps nobody out"


def test_a_command_that_was_never_measured() -> None:
    """A guess; it may be tried wherever it is, since nobody knows that it needs as much."""
    assert cost(entry(), None, None) == Cost(UNKNOWN, "estimated", Bytes(0))


@given(SIZES, SIZES, SIZES, st.integers(0, 2**40))
def test_what_is_needed_is_part_of_the_cost(
    declared: Bytes | None, measured: Bytes | None, weights: Bytes | None, cache: int
) -> None:
    """Never more than what is reserved; and never less reserved than was declared."""
    found = cost(entry(declared), None if weights is None else needs(weights, cache_ram=cache), measured)
    assert 0 <= found.least <= found.bytes
    assert found.bytes >= (declared or 0)
    assert (found.source == "declared") <= (declared is not None)


@pytest.mark.parametrize("measured", [None, Bytes(1)])
def test_a_declaration_of_one_byte(measured: Bytes | None) -> None:
    """It is what somebody wanted."""
    assert cost(entry(Bytes(1)), needs(GiB), measured).bytes == 1
