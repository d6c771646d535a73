"""How a run ended, and what those are told who waited for it or were served by it."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from fake_run import Garage
from fleets import entries, entry, fleet_of_fakes, garage_of_fakes
from trio.testing import MockClock, wait_all_tasks_blocked

from llmsup import errors
from llmsup.fleet.fleet import Fleet
from llmsup.fleet.model import outcome
from llmsup.fleet.model.outcome import Outcome, as_error, not_started
from llmsup.fleet.model.states import Cause

__all__ = ["fleet_of_fakes", "garage_of_fakes"]

TOLD: dict[type[Outcome], tuple[type[errors.Error], int, str, float | None, bool]] = {
    outcome.Unloaded: (errors.Unloading, 503, "unloading", 1, False),
    outcome.ShutDown: (errors.ShuttingDown, 503, "shutting_down", None, False),
    outcome.Crashed: (errors.EngineDied, 502, "engine_died", 1, False),
    outcome.OutOfMemory: (errors.EngineDied, 502, "engine_died", 1, False),
    outcome.FailedToWake: (errors.EngineDied, 502, "engine_died", 1, False),
    outcome.FailedToStart: (errors.ModelFailed, 503, "model_failed", None, True),
    outcome.PortTaken: (errors.ModelFailed, 503, "model_failed", None, False),
    outcome.ProjectorRefused: (errors.ModelFailed, 503, "model_failed", None, True),
    outcome.TimedOut: (errors.LoadTimeout, 504, "load_timeout", None, True),
    outcome.OutOfResources: (errors.OutOfResources, 503, "out_of_resources", 1, False),
    outcome.TooLarge: (errors.ModelTooLarge, 507, "model_too_large", None, True),
}


@pytest.mark.parametrize("kind", get_args(Outcome))
def test_what_a_client_is_told(kind: type[Any]) -> None:
    ended = kind("It ended.", "Look.", ("a", "b"))
    error = as_error(ended)
    assert (type(error), error.status, error.code, error.retry_after, error.lasting) == TOLD[kind]
    assert (error.message, error.hint, error.log_tail) == ("It ended.", "Look.", ("a", "b"))
    assert str(error) == str(ended) == "It ended. Look."
    assert as_error(ended) is not error, "it is raised for each of those who waited"


@pytest.mark.parametrize(("lasting", "retry_after"), [(False, 7), (True, None)])
def test_only_what_time_cures_has_a_time(lasting: bool, retry_after: float | None) -> None:
    failure = outcome.FailedToStart("It failed.", lasting=lasting)
    assert as_error(failure, retry_in=7).retry_after == retry_after


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (errors.SetupError("No file.", hint="Look."), outcome.FailedToStart("No file.", "Look.")),
        (errors.SetupError("No.", lasting=False), outcome.FailedToStart("No.", lasting=False)),
        (errors.OutOfResources("No process."), outcome.OutOfResources("No process.")),
        (errors.ModelTooLarge("Never.", hint="Less."), outcome.TooLarge("Never.", "Less.")),
    ],
)
def test_an_engine_that_was_never_started(error: errors.Error, ended: Outcome) -> None:
    assert not_started(error) == ended


async def test_one_that_is_gone_while_it_starts_did_not_fail(
    autojump_clock: MockClock, fleet: Fleet, garage: Garage
) -> None:
    """Its file was removed: that is a change, as it is when it goes once it is ready."""
    garage.ready = False
    fleet.apply(entries(entry("a")))
    model = fleet.models["a"]
    fleet.load(model)
    await wait_all_tasks_blocked()
    assert model.run is not None
    fleet.apply(entries(entry("a", refusal="its file is gone")))
    await model.run.over.wait()
    assert model.history.unloads == {Cause.CHANGED: 1}
