"""What holds for every test: a home directory of its own, so that nobody's models are looked at nor state written."""

from __future__ import annotations

import inspect
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import changing
import marks
import pytest
import real_engines
import serving
import trio
from hypothesis import settings
from trio.testing import MockClock

from llmsup.fleet.model.model import Model
from llmsup.fleet.model.states import State
from llmsup.process import awake

# How long an example takes says something about the machine and its neighbours, not about the code.
settings.register_profile("llmsup", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=15)  # for `tools/test --quick`; else there are 100
settings.load_profile("llmsup")

# A shell starts what it puts into the background with Ctrl-C ignored, nohup with SIGHUP, and programs hand that on to
# those they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest_plugins = ("fleets", "client_run")  # fixtures that two files use; the page of clients


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """A server that a test has run in its own process leaves these ignored: there, it would be about to exit."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def reasons(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever becomes of a model, in whichever test, has a reason that a person understands: a clause, not a word."""
    without = []
    become = Model.become

    def checked(model: Model, state: State, reason: str) -> None:
        if len(reason.split()) < 3:
            without.append(f"{model.state} -> {state}: {reason!r}")
        become(model, state, reason)

    monkeypatch.setattr(Model, "become", checked)
    yield
    assert not without


@pytest.fixture
def autojump_clock(monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """pytest-trio's, but for threads: the time that they take is real, so the clock stands still while one is at work.

    Trio's jumps as soon as all tasks wait, for a thread too; on a busy machine minutes would pass before one has begun.
    """
    clock = MockClock(autojump_threshold=0)
    run_sync = trio.to_thread.run_sync
    at_work = 0

    async def run_sync_meanwhile(*args: Any, **options: Any) -> Any:
        nonlocal at_work
        at_work += 1
        clock.autojump_threshold = math.inf
        try:
            return await run_sync(*args, **options)
        finally:
            at_work -= 1
            if not at_work:
                clock.autojump_threshold = 0

    monkeypatch.setattr(trio.to_thread, "run_sync", run_sync_meanwhile)
    return clock


@pytest.fixture(autouse=True)
def may_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the machine stays awake is none of most tests' business: it would be one more process for each."""
    monkeypatch.setattr(awake, "commands", lambda _platform, _pid: ())


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty $HOME; the demo model's real place was taken note of before (`real_engines`)."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("HOME", str(home))
        # pytest imports readline, which exports the last two to the processes that it starts: the tests' workers.
        names = ("OLLAMA_MODELS", "LLMSUP_CONFIG", "LLMSUP_URL", "LLMSUP_API_KEY", "LMSTUDIO_HOME", "COLUMNS", "LINES")
        for name in names:
            patch.delenv(name, raising=False)
        yield home


ROOMS_OF_REQUESTS = frozenset(("web", "gateway", "whole"))
"""Folders of tests that are about requests: both roads have to answer them alike."""

ONE_ROAD = frozenset(("test_serve_real", "test_prompt_cache_real", "test_memory_live", "test_kill", "test_stopping"))
"""Files there that start a whole llmsup, but are about something else than requests, and take long."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests of requests that talk to a whole llmsup do so on both roads, and those of other rooms on the one that
    people take, unless a mark says which. Those with a real engine, too: they are about the engine, and take long.

    A quick run takes the one that people take.
    """
    names = vars(metafunc.module)
    serves = names.get("serving") is serving.serving or names.get("Setting") is changing.Setting
    room = metafunc.definition.path.parent.name
    both = serves and room in ROOMS_OF_REQUESTS and metafunc.module.__name__ not in ONE_ROAD
    both = both and not marks.is_real(metafunc.function)
    only = metafunc.definition.get_closest_marker("road")
    if (both or only) and inspect.iscoroutinefunction(metafunc.function):
        roads = only.args if only else ("fast", pytest.param("hypercorn", marks=pytest.mark.slow))
        metafunc.parametrize("road", roads, indirect=True)


@pytest.hookimpl(tryfirst=True)  # before `-m` looks for it
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marks.mark(items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    real_engines.ALLOWED = item.get_closest_marker("real") is not None


@pytest.fixture(autouse=True)
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The road that `serving` takes."""
    road: str = getattr(request, "param", "fast")
    monkeypatch.setattr(serving, "ROAD", road)
    return road
