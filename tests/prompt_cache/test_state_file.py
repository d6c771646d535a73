"""The tokens in a saved slot's file, and how far two conversations are alike."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slot_engine import state_file

from llmsup.prompt_cache.state_file import shared, tokens_of

TOKENS = st.lists(st.integers(0, 2), max_size=40)


@given(TOKENS, TOKENS)
def test_how_far_two_are_alike(one: list[int], other: list[int]) -> None:
    alike = 0
    while alike < min(len(one), len(other)) and one[alike] == other[alike]:
        alike += 1
    assert shared(array("i", one), array("i", other)) == alike


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("tokens", [[], [1], [1, 5, 70_000]])
def test_both_formats(tmp_path: Path, packed: bool, tokens: list[int]) -> None:
    path = tmp_path / "x"
    path.write_bytes(state_file(tokens, packed=packed))
    assert tokens_of(path) == array("i", tokens)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_what_is_not_understood_is_not_guessed(tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int) -> None:
    """Neither garbage, nor the beginning of a file."""
    path = tmp_path_factory.getbasetemp() / "garbage"
    path.write_bytes(data)
    assert tokens_of(path) is None
    whole = state_file([1, 2, 3], packed=True)
    path.write_bytes(whole[: min(cut, 39)])
    assert tokens_of(path) is None
