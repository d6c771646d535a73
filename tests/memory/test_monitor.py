"""The memory monitor: how it looks, what it keeps when it can't, and what it tells."""

from __future__ import annotations

import logging
import sys
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import evolve
from looks import LINUX, Camera, with_free

from llmsup.config.live import LiveConfig
from llmsup.config.schema import Config, GiB, Memory
from llmsup.errors import SetupError
from llmsup.memory.machine.gauge import UNREADABLE
from llmsup.memory.machine.monitor import GOOD_FOR, HURRY, MemoryMonitor
from llmsup.memory.machine.reading import Reading
from llmsup.memory.machine.sampler import Gpus, Sampler
from llmsup.process.ring import Event, Events
from llmsup.units import Bytes, Seconds

LOW, VERY_LOW = with_free(1.4), with_free(0.5)
BROKEN = SetupError("[memory] probe x failed with exit code 1.")
PROBE = Memory(probe=("x",))


Clock = trio.testing.MockClock
Start = Callable[..., Awaitable["Setting"]]


class Setting:
    """A watch in a world that a test makes."""

    def __init__(self, view: Reading | SetupError = LINUX, settings: Memory | None = None, takes: float = 0.0) -> None:
        self.camera = Camera(view, takes)
        self.events = Events()
        self.config = LiveConfig(Config(memory=settings or Memory()))
        self.monitor = MemoryMonitor(self.config, self.camera, self.events, total=lambda: Bytes(16 * GiB))

    def told(self) -> list[Event]:
        return [event for event in self.events.since(0) if event.kind == "pressure"]


@pytest.fixture(name="start")
def starter(nursery: trio.Nursery) -> Start:
    async def start(*args: Any, **more: Any) -> Setting:
        setting = Setting(*args, **more)
        await nursery.start(setting.monitor.run)
        return setting

    return start


async def test_it_is_started_after_its_first_look(start: Start, autojump_clock: Clock) -> None:
    """Who asks then gets an answer."""
    setting = await start(takes=0.5)
    assert setting.monitor.reading == LINUX
    machine = setting.monitor.machine(7.0)
    assert (machine.ceiling, machine.host.reserve, machine.host.available) == (28 * GiB, 4 * GiB, 20 * GiB)
    assert (machine.level, machine.now) == ("normal", 7.0)
    assert repr(setting.monitor) == "<MemoryMonitor normal, 20.0 GiB available of 32.0 GiB>"


async def test_it_looks_at_every_interval(start: Start, autojump_clock: Clock) -> None:
    """Whoever looks on is woken each time."""
    setting = await start(settings=Memory(interval=Seconds(3)))
    began = trio.current_time()
    for _ in range(3):
        await setting.monitor.change()
    assert trio.current_time() == pytest.approx(began + 9)
    assert len(setting.camera.looks) == 4


async def test_it_hurries_while_anything_presses(start: Start, autojump_clock: Clock) -> None:
    """Five looks in the time of one, from the first sign on, until the last is gone."""
    setting = await start(LOW)
    began = trio.current_time()
    for _ in range(HURRY):
        await setting.monitor.change()
    assert trio.current_time() == pytest.approx(began + 1)
    setting.camera.view = LINUX
    await setting.monitor.change()
    began = trio.current_time()
    await setting.monitor.change()
    assert trio.current_time() == pytest.approx(began + 1)


async def test_it_hurries_while_it_all_goes(start: Start, autojump_clock: Clock) -> None:
    """With the falls of a small control group the next look would come too late."""
    setting = await start(with_free(20))
    setting.camera.view = with_free(12)
    await setting.monitor.change()
    began = trio.current_time()
    await setting.monitor.change()
    assert trio.current_time() == pytest.approx(began + 1 / HURRY)


async def test_a_group_of_our_own(start: Start, autojump_clock: Clock) -> None:
    """The reserve is 5 %, and what is little follows from it; as soon as it is another's, the whole machine's is."""
    mib = GiB // 1024
    group = evolve(LINUX, total=Bytes(1200 * mib), available=Bytes(32 * mib), own_group=True)
    setting = await start(group)
    await trio.sleep(60)
    machine = setting.monitor.machine(0)
    assert (machine.ceiling, machine.host.reserve, machine.level) == (1136 * mib, 64 * mib, "normal")
    setting.camera.view = evolve(group, available=Bytes(20 * mib))
    await trio.sleep(60)
    assert setting.monitor.machine(0).level == "warn"
    setting.camera.view = evolve(group, own_group=False)
    await trio.sleep(60)
    assert setting.monitor.machine(0).host.reserve == 600 * mib


async def test_a_probe_is_not_hurried(start: Start, autojump_clock: Clock) -> None:
    """Each of its looks is a process, and how often that is bearable its owner has said."""
    setting = await start(LOW, PROBE)
    began = trio.current_time()
    await setting.monitor.change()
    assert trio.current_time() == pytest.approx(began + 1)


async def test_a_change_of_level_is_one_event_and_one_line(
    start: Start, autojump_clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Up as a warning, down as a remark; nothing in between."""
    caplog.set_level(logging.INFO)
    setting = await start(LOW)
    await trio.sleep(60)
    (up,) = caplog.records
    assert up.levelno == logging.WARNING
    assert "normal -> warn" in up.message
    assert "1.4 GiB of 32.0 GiB" in up.message
    setting.camera.view = LINUX
    await trio.sleep(60)
    assert [each.levelno for each in caplog.records] == [logging.WARNING, logging.INFO]
    assert "warn -> normal" in caplog.records[-1].message
    events = [dict(event.data) for event in setting.told()]
    for line, event in zip(caplog.records, events, strict=True):
        assert line.message.endswith(event.pop("reason"))
    assert events == [
        {"before": "normal", "level": "warn", "shortfall_bytes": round(1.875 * GiB) - round(1.4 * GiB)},
        {"before": "warn", "level": "normal", "shortfall_bytes": 0},
    ]


async def test_a_level_is_there_within_its_time(start: Start, autojump_clock: Clock) -> None:
    """Critical a little more than a second after the first look that shows it."""
    setting = await start()
    setting.camera.view = VERY_LOW
    began = trio.current_time()
    with trio.fail_after(3):
        await setting.monitor.until(lambda: setting.monitor.pressure.level == "critical")
    assert setting.monitor.machine(99.0).since == trio.current_time() > began


async def test_a_probe_that_fails(start: Start, autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """The last good reading counts for 10 s; after that nothing is known, and the level is normal. Said once."""
    setting = await start(VERY_LOW, PROBE)
    await trio.sleep(5.5)
    assert setting.monitor.pressure.level == "critical"
    setting.camera.view = BROKEN
    caplog.clear()
    await trio.sleep(GOOD_FOR - 1)
    assert setting.monitor.problem == str(BROKEN)
    assert setting.monitor.reading == VERY_LOW
    assert setting.monitor.pressure.level == "critical"
    await trio.sleep(2)
    assert setting.monitor.reading is None
    assert (setting.monitor.pressure.level, setting.monitor.pressure.shortfall) == ("normal", 0)
    machine = setting.monitor.machine(0)
    assert (machine.host.available, machine.level, machine.ceiling) == (
        None,
        "normal",
        28 * GiB,
    )  # the total is still known
    await trio.sleep(3600)
    said = [each.message for each in caplog.records if "probe" in each.message]
    assert len(said) == 1, "it is said once"
    assert said[0].startswith(str(BROKEN))
    assert "10 s" in said[0], "for how long the last reading counts"
    assert [event.data["level"] for event in setting.told()] == ["critical", "normal"]
    assert setting.told()[-1].data["reason"] == UNREADABLE
    assert repr(setting.monitor) == "<MemoryMonitor normal, unknown available of 32.0 GiB>"


async def test_a_probe_that_recovers(start: Start, autojump_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Said, too; and the next failure is news again."""
    caplog.set_level(logging.INFO)
    setting = await start(BROKEN, PROBE)
    assert (setting.monitor.reading, setting.monitor.problem) == (None, str(BROKEN))
    assert setting.monitor.machine(0).ceiling == 12 * GiB  # of the 16 GiB that the system has by another count
    setting.camera.view = LINUX
    await trio.sleep(2)
    assert (setting.monitor.reading, setting.monitor.problem) == (LINUX, "")
    setting.camera.view = BROKEN
    await trio.sleep(2)
    lines = [each.message for each in caplog.records]
    assert [line.startswith(str(BROKEN)) for line in lines] == [True, False, True]
    assert "can be read again" in lines[1]


async def test_a_probe_that_takes_long(start: Start, autojump_clock: Clock) -> None:
    """A look counts from when it was done; what hangs is ended by the sampler, a failure like another."""
    setting = await start(LINUX, PROBE, takes=4.0)
    assert trio.current_time() == pytest.approx(setting.camera.looks[0] + 4)
    setting.camera.view = BROKEN
    await trio.sleep(GOOD_FOR - 1)
    assert setting.monitor.reading == LINUX
    await trio.sleep(6)
    assert setting.monitor.reading is None


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(3)", "failed with exit code 3"),
        ("print('lots')", "which is not one JSON object"),
        ("print()", "it printed nothing"),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9"),
    ],
)
async def test_a_real_probe_that_prints_rubbish(code: str, said: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is said with the command, and the machine is taken to be well."""
    settings = Memory(probe=(sys.executable, "-S", "-c", code))
    monitor = MemoryMonitor(LiveConfig(Config(memory=settings)), Sampler(Reading, Gpus(cards=(), nvml=None)), Events())
    assert await monitor.fresh() is None
    assert said in monitor.problem
    assert monitor.machine(0).level == "normal"
    assert caplog.records[0].message.startswith("[memory] probe ")


async def test_a_fresh_look_shows_what_happened_before_it_was_asked_for(start: Start, autojump_clock: Clock) -> None:
    """The last look was a moment ago, and since then an engine was killed: the count of kills must have it."""
    setting = await start(evolve(LINUX, oom_kills=0))
    await setting.monitor.change()
    setting.camera.view = evolve(LINUX, oom_kills=1)
    found = await setting.monitor.fresh()
    assert found is not None
    assert found.oom_kills == 1


async def test_a_look_that_had_begun_before_is_not_fresh(start: Start, autojump_clock: Clock) -> None:
    """The driver of a GPU takes its time; what the look has seen of the rest is from before."""
    setting = await start(evolve(LINUX, oom_kills=0), takes=0.5)
    await trio.sleep(1.2)  # amid the next look
    assert setting.camera.looks[-1] == pytest.approx(trio.current_time() - 0.2)
    setting.camera.view = evolve(LINUX, oom_kills=1)
    found = await setting.monitor.fresh()
    assert found is not None
    assert found.oom_kills == 1


async def test_those_who_ask_together_share_a_look(start: Start, autojump_clock: Clock) -> None:
    """Also those who ask amid another look: they share the next one."""
    setting = await start(LINUX, Memory(interval=Seconds(60)), takes=0.5)
    before = len(setting.camera.looks)
    found: list[Reading | None] = []

    async def ask() -> None:
        found.append(await setting.monitor.fresh())

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
        await trio.sleep(0.1)
        for _ in range(10):
            nursery.start_soon(ask)
    assert found == [LINUX] * 20
    assert len(setting.camera.looks) - before == 2


async def test_a_failure_is_shared_too(start: Start, autojump_clock: Clock) -> None:
    """Twenty who ask at once don't wait for twenty probes that hang."""
    setting = await start(BROKEN, PROBE, takes=5.0)
    before = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(setting.monitor.fresh)
    assert trio.current_time() - before <= 12


async def test_who_gives_up_waiting_leaves_the_look_to_others(start: Start, autojump_clock: Clock) -> None:
    """A look that was cancelled has seen nothing; the next in line takes one."""
    setting = await start(LINUX, PROBE, takes=1.0)
    setting.camera.view = LOW
    with trio.move_on_after(0.1):
        await setting.monitor.fresh()
    assert await setting.monitor.fresh() == LOW


async def test_a_probe_is_not_asked_more_than_once_a_second(start: Start, autojump_clock: Clock) -> None:
    """However many want a fresh look, one after the other."""
    setting = await start(LINUX, Memory(probe=("x",), interval=Seconds(30)))
    for _ in range(5):
        await setting.monitor.fresh()
    looks = setting.camera.looks
    assert len(looks) == 6
    assert all(later - sooner >= 1 for sooner, later in pairwise(looks))


async def test_other_settings(start: Start, autojump_clock: Clock) -> None:
    """They count from the next look on: the interval, what is asked, what is ours."""
    setting = await start()
    memory = Memory(probe=("y",), interval=Seconds(7), limit=Bytes(3 * GiB), reserve=Bytes(GiB))
    setting.config.replace(Config(memory=memory))
    machine = setting.monitor.machine(0)
    assert (machine.ceiling, machine.host.reserve) == (3 * GiB, GiB)
    await setting.monitor.change()
    began = trio.current_time()
    await setting.monitor.change()
    assert setting.camera.probe == ("y",)
    assert trio.current_time() == pytest.approx(began + 7)


async def test_a_larger_reserve_changes_what_is_pressure(start: Start, autojump_clock: Clock) -> None:
    """3 GiB are enough for a reserve of 4, and not for one of 12."""
    setting = await start(with_free(3.0))
    await trio.sleep(10)
    assert setting.told() == []
    setting.config.replace(Config(memory=Memory(reserve=Bytes(12 * GiB))))
    await trio.sleep(10)
    assert [event.data["level"] for event in setting.told()] == ["warn"]


async def test_what_a_gpu_may_wire(start: Start, autojump_clock: Clock, tmp_path: Path) -> None:
    """As somebody set it, else as it came; it bounds the ceiling."""
    setting = await start()
    setting.monitor.working_set = Bytes(20 * GiB)
    assert setting.monitor.machine(0).ceiling == 20 * GiB
    setting.camera.view = evolve(LINUX, gpu_limit=Bytes(24 * GiB))
    await setting.monitor.change()
    assert setting.monitor.gpu_limit == 24 * GiB
    assert setting.monitor.machine(0).ceiling == 24 * GiB


def program(path: Path, prints: str) -> str:
    path.write_text(f"#!{sys.executable} -S\nprint({prints!r})\n")
    path.chmod(0o755)
    return str(path)


async def test_the_working_set_is_learned_from_a_llama_server(tmp_path: Path) -> None:
    """What its Metal device has; on other machines there is none, and nothing bounds the ceiling."""
    setting = Setting()
    mac = program(tmp_path / "mac", "Available devices:\n  MTL0: Apple M4 Max (98304 MiB, 98303 MiB free)")
    await setting.monitor.learn_working_set((mac,))
    assert setting.monitor.working_set == 98304 * 1024**2
    await setting.monitor.learn_working_set((program(tmp_path / "pc", "  CUDA0: RTX (24576 MiB, 24000 MiB free)"),))
    assert setting.monitor.working_set is None


async def test_a_llama_server_that_can_not_say(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and nothing else happens."""
    setting = Setting()
    await setting.monitor.learn_working_set((str(tmp_path / "nowhere"),))
    assert setting.monitor.working_set is None
    assert "GPU" in caplog.records[0].message
    assert str(tmp_path / "nowhere") in caplog.records[0].message


async def test_a_kernel_that_can_not_wake_us(
    start: Start, autojump_clock: Clock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """The clock alone wakes it then."""
    camera = Camera(LINUX)
    monitor = MemoryMonitor(LiveConfig(Config()), camera, Events(), pressure_file=tmp_path / "absent")
    await nursery.start(monitor.run)
    for _ in range(3):
        await monitor.change()
    assert len(camera.looks) == 4


async def test_a_real_machine() -> None:
    """The real sampler, once."""
    monitor = MemoryMonitor(LiveConfig(Config()), Sampler(), Events())
    reading = await monitor.fresh()
    assert reading is not None
    assert monitor.total == (reading.total or monitor.total) > 0
    assert monitor.problem == ""


async def test_a_long_interval_is_no_sleep(start: Start, autojump_clock: Clock) -> None:
    """Who wants a look every minute gets to a level with the second one that shows it."""
    setting = await start(LOW, Memory(probe=("x",), interval=Seconds(60)))
    await setting.monitor.change()
    assert [event.data["level"] for event in setting.told()] == ["warn"]
