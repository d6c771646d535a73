"""How a tree that breaks is told."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import click
import pytest
import trio
import trio.testing

from llmsup.cli import running, serve
from llmsup.config import Config
from llmsup.errors import SetupError
from llmsup.process.watched import Watched


@pytest.fixture(autouse=True)
def root() -> Iterator[None]:
    """Put the root logger back as it was."""
    logger = logging.getLogger()
    before = logger.handlers, logger.level
    yield
    logger.handlers, logger.level = before


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What the tree breaks with, once it has started."""
    errors: list[BaseException] = []

    class Tree:
        reconciler = None
        serving = SimpleNamespace(identity="")

        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        async def run(self, *, task_status: trio.TaskStatus[NoFleet]) -> None:
            task_status.started(NoFleet(complete=True))

            async def fail(error: BaseException) -> None:
                raise error

            async with trio.open_nursery() as nursery:
                for error in errors:
                    nursery.start_soon(fail, error)

    monkeypatch.setattr(running, "Tree", Tree)
    return errors


def run() -> list[str]:
    announced: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        running.run(Config(), [listener], verbose=False, announce=lambda url, _: announced.append(url))
    return announced


def test_an_error_of_ours_comes_out_alone(broken: list[BaseException]) -> None:
    broken.append(SetupError("no good."))
    with pytest.raises(SetupError, match="no good"):
        run()


def test_bugs_are_logged_leaf_by_leaf(broken: list[BaseException], capsys: pytest.CaptureFixture[str]) -> None:
    broken += [ValueError("sk-secret"), SetupError("two.")]
    with pytest.raises(click.exceptions.Exit) as caught:
        run()
    assert caught.value.exit_code == 1
    told = capsys.readouterr().err
    assert "ERROR a bug in llmsup ended it: ValueError\n    Traceback" in told
    assert "sk-secret" not in told
    assert "ERROR two.\n" in told
    assert "ExceptionGroup" not in told


class NoFleet(Watched):
    """A fleet without models, which may not be known yet."""

    models: ClassVar[dict[str, Any]] = {}

    def __init__(self, *, complete: bool) -> None:
        super().__init__()
        self.complete = complete


async def test_a_slow_look_that_finds_nothing_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """As one that is quick does at the start."""
    fleet: Any = NoFleet(complete=False)
    fleet.over = False  # it stands for the reconciler, too
    async with trio.open_nursery() as nursery:
        nursery.start_soon(running._tell_if_nothing, fleet, fleet)
        await trio.testing.wait_all_tasks_blocked()
        assert "`llmsup demo`" not in caplog.text
        fleet.complete = True
        fleet.notify()
    assert "there are no models to serve" in caplog.text
    assert "`llmsup demo`" in caplog.text


def test_an_early_ctrl_c(broken: list[BaseException]) -> None:
    broken.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run()


def test_the_real_port_is_announced(broken: list[BaseException]) -> None:
    (url,) = run()
    assert url.startswith("http://127.0.0.1:")
    assert not url.endswith(":0")


def test_who_has_only_peers_models_is_not_told_that_there_are_none(caplog: pytest.LogCaptureFixture) -> None:
    fleet: Any = SimpleNamespace(models={}, complete=True)
    with caplog.at_level("INFO"):
        serve.introduce(fleet, None, ps="llmsup ps", peers=("studio", "box"))
    assert "there are no models to serve" not in caplog.text
    assert "no models" in caplog.text
    assert "and those of 2 peers: studio, box" in caplog.text
