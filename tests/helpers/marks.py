"""Which tests need a real engine or the real model, told from the code that they run, so that nobody has to remember.

It follows a test and its fixtures through the functions of this directory, by the names that their code uses. What it
can't see (a function that is handed over at run time, say) fails in `real_engines`, which says what to do.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

HERE = f"{Path(__file__).parents[1]}/"
"""Where the tests are, and their helpers."""
REAL = "real_engines"

_UNREAL = set[FunctionType]()
"""Functions that are known not to lead there: tests share most of their helpers, and there are thousands of tests."""


def is_real(test: Any, fixtures: Iterable[Any] = ()) -> bool:
    """Whether a test, or one of the fixtures that it asks for, comes to use `real_engines`."""
    return any(leads_there(function) for thing in (test, *fixtures) for function in functions(thing))


@functools.cache
def leads_there(function: FunctionType) -> bool:
    """Whether a function, or one that it calls, uses `real_engines`."""
    waiting, seen = [function], set[FunctionType]()
    while waiting:
        now = waiting.pop()
        if now not in seen and now not in _UNREAL:
            seen.add(now)
            real, others = read(now)
            if real:
                return True
            waiting.extend(others)
    _UNREAL.update(seen)
    return False


@functools.cache
def read(function: FunctionType) -> tuple[bool, tuple[FunctionType, ...]]:
    """Whether a function's own code names `real_engines` or what is in it; and the functions that it may call."""
    names = set(used(function.__code__))
    values = [function.__globals__.get(name) for name in names]
    real = REAL in names or any(REAL in (owner(value), getattr(value, "__name__", "")) for value in values)
    return real, tuple(other for value in values if callable(value) for other in functions(value))


def owner(value: object) -> str:
    """The module that a function or a class was defined in; a value has none."""
    return getattr(value, "__module__", "") if callable(value) else ""


def functions(thing: Any) -> Iterator[FunctionType]:
    """The functions of this directory that a call may run: itself, behind its decorators, or a class's methods."""
    if isinstance(thing, type):
        for value in vars(thing).values():
            yield from functions(value) if not isinstance(value, type) else ()
        return
    thing = getattr(getattr(thing, "hypothesis", thing), "inner_test", thing)
    thing = thing.func if isinstance(thing, functools.partial) else getattr(thing, "__func__", thing)
    thing = inspect.unwrap(getattr(thing, "fget", thing))
    if isinstance(thing, FunctionType) and thing.__code__.co_filename.startswith(HERE):
        yield thing


def used(code: CodeType) -> Iterator[str]:
    """The names in a function's code, and in the functions inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from used(constant)


SLOW = frozenset(
    (
        *("test_api", "test_bridge_script", "test_dialects", "test_faults_client", "test_faults_engine", "test_keys"),
        *("test_leavers", "test_leftovers", "test_load_modes", "test_looks", "test_ollama", "test_ollama_keeping"),
        *("test_openapi", "test_policy_properties", "test_prompt_links", "test_sdk_faults", "test_shortage"),
        *("test_strays", "test_terminal_closed", "test_uploads", "test_descriptors", "test_names_in_paths"),
    )
)
"""Files whose tests take long together, though few of them do by themselves: many start a whole llmsup, or engines."""


def mark(items: Iterable[pytest.Item]) -> None:
    """Put the marker `real` on those tests that need it, and `slow` on those of files that take long."""
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker(pytest.mark.slow)
        if isinstance(item, pytest.Function):
            asked_for = item._fixtureinfo.name2fixturedefs.values()
            if is_real(item.obj, (each.func for several in asked_for for each in several)):
                item.add_marker(pytest.mark.real)
