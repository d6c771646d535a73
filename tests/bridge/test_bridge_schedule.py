"""When it is time: pure, but for the system's time zone, which the tests set."""

from __future__ import annotations

import calendar
import math
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmsup.bridge.schedule import LOCAL, Schedule
from llmsup.config.schema import Bridge
from llmsup.units import NEVER, Seconds

NOON = datetime(2025, 1, 15, 12, 0, tzinfo=UTC).timestamp()


@pytest.fixture
def berlin() -> Iterator[None]:
    """Central European time, spelled so that no file of time zones is needed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


def utc(*when: int) -> float:
    return calendar.timegm((*when, 0, 0, 0))


def following(cron: str, last: float, count: int, **how: Any) -> list[str]:
    """The times after one, in UTC."""
    found = []
    for _ in range(count):
        last = Schedule(cron=cron).after(last, **how)
        found.append(f"{datetime.fromtimestamp(last, UTC):%d %H:%M}")
    return found


def test_what_the_config_says() -> None:
    assert Schedule.of(Bridge()) == Schedule(Seconds(3600))
    assert Schedule.of(Bridge(cron="5 * * * *")) == Schedule(NEVER, "5 * * * *")
    assert Schedule.of(Bridge(every=NEVER)).off
    assert not Schedule.of(Bridge(cron="5 * * * *")).off


def test_every_so_often() -> None:
    hourly = Schedule(Seconds(3600))
    assert hourly.after(NOON) == NOON + 3600
    assert hourly.after(NOON, late=1) == NOON + 3660
    assert Schedule(Seconds(10)).after(NOON, late=1) == NOON + 11, "a tenth is enough of a short one"
    assert math.isinf(Schedule().after(NOON, late=1))


def test_cron_in_utc() -> None:
    assert following("*/20 * * * *", NOON, 4, zone=UTC) == ["15 12:20", "15 12:40", "15 13:00", "15 13:20"]
    assert following("30 6 * * mon", NOON, 2, zone=UTC) == ["20 06:30", "27 06:30"]


def test_cron_is_late_by_less_than_a_minute() -> None:
    """Else a run each minute would miss every other one."""
    minutely = Schedule(cron="* * * * *")
    last = NOON
    for minute in range(1, 6):
        last = minutely.after(last, late=1, zone=UTC)
        assert last == NOON + 60 * minute + 30


def test_a_cron_expression_that_never_comes() -> None:
    """The fifth Sunday is no first of the month. (The config refuses it; nothing hangs if it is there.)"""
    assert math.isinf(Schedule(cron="0 0 */31 * 0#5").after(NOON))
    assert Schedule(cron="0 0 29 2 *").after(NOON, zone=UTC) == utc(2028, 2, 29)


@pytest.mark.usefixtures("berlin")
def test_local_time_has_its_rules() -> None:
    """Half past six is another time in UTC once summer begins, though the difference is winter's now."""
    assert following("30 6 * * *", utc(2025, 3, 28, 12), 3) == ["29 05:30", "30 04:30", "31 04:30"]
    assert following("30 6 * * *", utc(2025, 10, 24, 12), 3) == ["25 04:30", "26 05:30", "27 05:30"]


@pytest.mark.usefixtures("berlin")
def test_the_hour_that_is_left_out() -> None:
    """On 30 March 02:30 there is none: it comes at 03:00, once, as Debian's cron has it."""
    assert following("30 2 * * *", utc(2025, 3, 29, 12), 2) == ["30 01:00", "31 00:30"]


@pytest.mark.usefixtures("berlin")
def test_the_hour_that_comes_twice() -> None:
    """On 26 October 02:30 comes twice: a daily run comes once, one every half hour goes on."""
    assert following("30 2 * * *", utc(2025, 10, 25, 12), 2) == ["26 00:30", "27 01:30"]
    assert following("*/30 * * * *", utc(2025, 10, 26, 0, 10), 5) == [
        "26 00:30",
        "26 01:00",
        "26 01:30",
        "26 02:00",
        "26 02:30",
    ]


@pytest.mark.usefixtures("berlin")
@given(st.floats(utc(2025, 1, 1), utc(2026, 1, 1)), st.sampled_from(["* * * * *", "*/7 2 * * *", "30 2 * * *"]))
def test_the_next_time_is_always_later(last: float, cron: str) -> None:
    """A time that isn't would be one to run at again and again."""
    assert Schedule(cron=cron).after(last) > last


@pytest.mark.usefixtures("berlin")
def test_local_time_for_people() -> None:
    assert datetime.fromtimestamp(NOON, LOCAL).hour == 13
    assert LOCAL.tzname(None) == "local time"
    assert LOCAL.utcoffset(None) is LOCAL.dst(None) is None
