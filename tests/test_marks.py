"""Tests that need a real engine are found, however they come to it, and the others are left alone."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import marks
import measured
import pytest
import real_engines
from hypothesis import given
from hypothesis import strategies as st
from real_engines import smollm2


def by_name() -> None:
    smollm2()


def by_module() -> None:
    real_engines.llama_server()


def by_an_import_of_its_own() -> None:
    from real_engines import llama_server

    llama_server()


def by_another_file() -> None:
    measured.measure(smollm2.__class__)  # type: ignore[arg-type]  # it isn't called


async def inside() -> list[object]:
    async def inner() -> object:
        return [smollm2() for _ in range(1)]

    return [await inner()]


@contextmanager
def a_context() -> Iterator[None]:
    by_name()
    yield


@asynccontextmanager
async def another_context() -> AsyncIterator[None]:
    with a_context():
        yield


async def by_a_context() -> None:
    async with another_context():
        pass


@functools.cache
def cached() -> None:
    by_name()


class Engine:
    def start(self) -> None:
        cached()


def by_a_class() -> None:
    Engine()


@given(st.integers())
def by_examples(number: int) -> None:
    by_name()


def with_a_namesake() -> None:
    llama_server = str
    llama_server()


@pytest.mark.parametrize(
    "test",
    [by_name, by_module, by_an_import_of_its_own, by_another_file, inside, by_a_context, by_a_class, by_examples],
)
def test_found(test: object) -> None:
    assert marks.is_real(test)


@pytest.mark.parametrize(("fixture", "found"), [(by_a_class, True), (with_a_namesake, False)])
def test_found_by_a_fixture(fixture: object, found: bool) -> None:
    assert marks.is_real(with_a_namesake, [fixture]) is found


@pytest.mark.parametrize("test", [with_a_namesake, test_found, marks.is_real, len])
def test_left_alone(test: object) -> None:
    assert not marks.is_real(test)
