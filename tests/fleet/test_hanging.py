"""Whether a ready engine hangs or is merely busy: the rule, the watch under a clock that jumps, and a real engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from fake_run import Garage
from serving import PATIENCE, recorded, serving, until_recorded
from trio.testing import MockClock

from llmsup.config.schema import ModelSpec
from llmsup.engines.connection import Disconnected
from llmsup.fleet.engine.process_engine import RunningEngine
from llmsup.fleet.model import hanging
from llmsup.fleet.model.hanging import HEALTH_EVERY, Suspicion
from llmsup.fleet.model.model import Model
from llmsup.fleet.model.states import State
from llmsup.process.activity import ActivitySample
from llmsup.units import NEVER, Seconds

LONG = Seconds(1_000_000)
WAIT = Seconds(300)

WELL = {"well": True, "in_flight": False, "computes": False}
QUIET = {"well": False, "in_flight": False, "computes": False}
WAITS = {"well": False, "in_flight": True, "computes": False}
WORKS = {"well": False, "in_flight": True, "computes": True}
LEFT_OVER = {"well": False, "in_flight": False, "computes": True}


def turns(*signs: dict[str, bool], hang_timeout: Seconds = WAIT) -> int | None:
    """After how many of these questions, 10 s apart, it counts as hung; None: it doesn't."""
    suspicion = Suspicion(0)
    for number, sign in enumerate(signs, start=1):
        suspicion = suspicion.asked(10.0 * number, **sign)
        if suspicion.proof(10.0 * number, hang_timeout):
            return number
    return None


@pytest.mark.parametrize(
    ("signs", "hangs"),
    [
        ([WELL] * 99, None),
        ([QUIET] * 9, 3),
        ([QUIET, QUIET, WELL] * 9, None),
        ([WORKS] * 999, None),  # an image that takes hours
        ([WAITS] * 99, 30),  # a lock that nobody gives back
        ([WAITS] * 29 + [WORKS] + [WAITS] * 29, None),
        ([WAITS] * 29 + [WELL] + [WAITS] * 29, None),
        ([WAITS] * 8 + [QUIET] * 9, 11),  # its client left, and it doesn't notice: three questions from then on
        ([WORKS] * 8 + [LEFT_OVER] * 8 + [WELL], None),  # the same, and it works on
        ([WORKS] * 8 + [LEFT_OVER] * 99, 38),  # it never stops
        ([LEFT_OVER, QUIET, QUIET] * 3, None),
    ],
)
def test_the_rule(signs: list[dict[str, bool]], hangs: int | None) -> None:
    assert turns(*signs) == hangs


def test_a_limit_of_ones_own() -> None:
    """Shorter, or none."""
    assert turns(*[WAITS] * 99, hang_timeout=Seconds(50)) == 5
    assert turns(*[WAITS] * 9999, hang_timeout=NEVER) is None
    assert turns(*[QUIET] * 99, hang_timeout=NEVER) == 3


# --- the watch --------------------------------------------------------------------------------------------


async def busy(model: Model, garage: Garage, seconds: float) -> None:
    """A request that takes that long, if it may, of an engine that has no thread left for questions."""
    with model.enter() as lease:
        run = await lease.run(LONG)
        engine = garage.last
        engine.sick = True
        with trio.move_on_after(seconds), suppress(Disconnected):
            await run.pool.request("GET", b"/", [], b"")
        if run.outcome is None:
            engine.sick = False
            run.pool.heard = trio.current_time()  # its answer


async def test_idle_and_silent(autojump_clock: MockClock, make: Callable[..., Model], garage: Garage) -> None:
    model = make()
    await busy(model, garage, 0)
    await trio.sleep(60)
    garage.last.sick = True
    sick_since = trio.current_time()
    await model.until(lambda: model.state is State.UNLOADED)
    assert trio.current_time() - sick_since == pytest.approx(3 * (10 + 5), abs=10)
    assert "hangs: it had nothing to do" in model.reason
    assert model.crashes == 1


async def test_a_request_of_75_seconds(autojump_clock: MockClock, make: Callable[..., Model], garage: Garage) -> None:
    """It uses no CPU that anybody sees: a GPU, another machine."""
    model = make()
    for _ in range(5):
        await busy(model, garage, 75)
    assert (model.crashes, len(garage.engines)) == (0, 1)


@pytest.mark.slow
async def test_a_request_of_ten_hours(autojump_clock: MockClock, make: Callable[..., Model], garage: Garage) -> None:
    """It computes. It isn't asked so often that nobody else gets into its queue of connections."""
    model = make()
    await busy(model, garage, 0)
    garage.last.computes = True
    asked = garage.last.asked
    await busy(model, garage, 36_000)
    assert (model.crashes, len(garage.engines)) == (0, 1)
    assert garage.last.asked - asked < 20
    asked = garage.last.asked
    await trio.sleep(36_000)  # it has an answer again, as often as before once the last question is over
    assert garage.last.asked - asked > 1000
    assert model.crashes == 0


async def test_a_request_that_never_ends(autojump_clock: MockClock, make: Callable[..., Model], garage: Garage) -> None:
    """No answer, not a byte, no CPU time: somebody has to end it."""
    model = make(hang_timeout=Seconds(600))
    await busy(model, garage, 5000)
    assert model.crashes == 1
    assert 600 <= trio.current_time() <= 630
    assert "(hang_timeout)" in model.reason


async def test_one_that_sends_anything_is_well(
    autojump_clock: MockClock, make: Callable[..., Model], garage: Garage
) -> None:
    """While it streams, nothing else counts, and it isn't even asked."""
    model = make()
    with model.enter() as lease:
        await lease.run(LONG)
        garage.last.sick = True
        asked = garage.last.asked
        for _ in range(1000):
            await trio.sleep(HEALTH_EVERY / 2)
            garage.last.pool.heard = trio.current_time()
        assert garage.last.asked == asked
        assert (model.state, model.crashes) == (State.READY, 0)
        await model.until(lambda: model.crashes)  # now it is silent


# --- a real one -------------------------------------------------------------------------------------------

SINGLE = """
import json, os, socket, sys
path, record, gate = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen(5)
def note(event):
    with open(record, "a") as file:
        print(json.dumps({"event": event}), file=file)
note("start")
while True:
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as file:
        head = file.readline()
        if head.startswith(b"POST"):
            note("request")
            open(gate).read()  # until somebody writes to it
        try:
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{}")
        except OSError:
            pass
"""


async def test_an_engine_of_one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It answers when it is done, however many questions it has missed by then; nobody has ended it."""
    monkeypatch.setattr(hanging, "PATIENCE", 0.02)
    monkeypatch.setattr(hanging, "HEALTH_EVERY", 0.02)
    missed, missed_enough = 0, trio.Event()
    look = RunningEngine.activity

    async def count(engine: RunningEngine) -> ActivitySample:
        nonlocal missed
        missed += 1
        if missed == 20:
            missed_enough.set()
        return await look(engine)

    record, gate = tmp_path / "record", tmp_path / "gate"
    os.mkfifo(gate)
    command = (sys.executable, "-c", SINGLE, "${SOCKET}", str(record), str(gate))
    async with serving(ModelSpec(name="m", command=command, stop_grace=Seconds(2))) as served:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                assert (await served.client.chat("m")).status == 200

            nursery.start_soon(ask)
            await until_recorded(record, "request")
            monkeypatch.setattr(RunningEngine, "activity", count)
            with trio.fail_after(PATIENCE):
                await missed_enough.wait()
            async with await trio.open_file(gate, "w") as file:
                await file.write("go")
        assert len(recorded(record, "start")) == 1
        assert served.model("m").crashes == 0
