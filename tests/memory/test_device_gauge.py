"""A device is short if others press for it, not because our own models fill it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmsup.memory.machine.device_gauge import LOW, SUSTAINED, DeviceGauge

GiB = 1024**3
TOTAL = 24 * GiB
DRIVER = GiB // 2


class Device:
    """24 GiB, of which half a one is the driver's; looked at every second."""

    def __init__(self, ours: int = 0) -> None:
        self.gauge, self.now, self.ours = DeviceGauge(), 0.0, ours

    def look(self, others: int = 0, seconds: int = 1, *, moving: bool = False) -> DeviceGauge:
        for _ in range(seconds):
            self.now += 1
            free = max(TOTAL - DRIVER - self.ours - others, 0)
            self.gauge = self.gauge.look(total=TOTAL, free=free, ours=self.ours, now=self.now, moving=moving)
        return self.gauge


FULL = TOTAL - DRIVER - 200 * 1024**2


def test_our_models_may_fill_it() -> None:
    """From a load on, and for ever."""
    device = Device()
    assert not device.look(seconds=5).short
    device.ours = FULL
    assert not device.look(seconds=60).short
    assert device.gauge.shortfall == 0


def test_a_game_that_starts() -> None:
    """It takes what is left and more; once enough is free again, that lasts a while before it is over."""
    device = Device(18 * GiB)
    device.look(seconds=5)
    game = 5 * GiB + GiB // 4
    assert not device.look(game, int(SUSTAINED)).short, "it may be over at once"
    gauge = device.look(game)
    assert gauge.short
    assert gauge.shortfall > 0
    assert "others have 5.8 GiB" in gauge.reason
    device.ours = 2 * GiB
    gauge = device.look(game)
    assert gauge.short
    assert gauge.shortfall == 0, "nothing more needs to go"
    assert not device.look(game, 12).short
    assert not device.look(game, 60).short, "the game stays, and is what others have now"


def test_one_that_grows_slowly() -> None:
    """What others had while enough was free doesn't excuse what they take of the rest."""
    device = Device(18 * GiB)
    for step in range(60):
        device.look(step * GiB // 10)
    assert device.gauge.short


def test_between_the_marks_it_stays() -> None:
    """Once short, it is until a higher mark; no swinging."""
    device = Device(18 * GiB)
    device.look(seconds=5)
    device.look(5 * GiB + GiB // 4, 10)
    between = TOTAL - DRIVER - 18 * GiB - LOW - LOW // 8
    assert device.look(between, 30).short


def test_while_models_come_and_go_nobody_knows_whose_it_is() -> None:
    """A load whose memory can't be told looks like others'; so does what one leaves behind for a moment."""
    device = Device()
    device.look(seconds=5)
    assert not device.look(FULL, 30, moving=True).short
    assert not device.look(FULL, 60).short


def test_a_sleep_is_no_time() -> None:
    """Two looks an hour apart don't make a minute of pressure."""
    device = Device(18 * GiB)
    device.look(seconds=5)
    device.now += 3600
    assert not device.look(5 * GiB + GiB // 4).short


@given(st.lists(st.tuples(st.integers(0, 24), st.integers(0, 24), st.integers(0, 20), st.booleans()), max_size=40))
def test_a_shortfall_says_that_others_press(looks: list[tuple[int, int, int, bool]]) -> None:
    """Whatever the readings, even ones that contradict each other."""
    gauge, now = DeviceGauge(), 0.0
    for free, ours, step, moving in looks:
        now += step
        before = gauge
        gauge = gauge.look(total=TOTAL, free=free * GiB, ours=ours * GiB, now=now, moving=moving)
        assert gauge.shortfall >= 0
        assert not (gauge.shortfall and (moving or free * GiB >= LOW * 1.25))
        assert gauge.since == before.since or gauge.short != before.short
