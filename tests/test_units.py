"""Durations and sizes, from text and back."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmsup.units import NEVER, format_bytes, format_seconds, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("1h30m", 5400),
        ("1d", 86400),
        ("1.5h", 5400),
        ("250ms", 0.25),
        ("12", 12),
        ("0.5", 0.5),
        (" 5S ", 5),
        ("0", 0),
        ("never", math.inf),
        ("Never", math.inf),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "5 minutes", "30m1h", "-5s", "-1", "inf", "nan", "1h 30m", "s", "1e999"])
def test_no_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GiB", 8 * 1024**3),
        ("512MiB", 512 * 1024**2),
        ("1.5GB", 1_500_000_000),
        ("10 kB", 10_000),
        ("7", 7),
        ("7B", 7),
        ("1tib", 1024**4),
        ("0", 0),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "8 gigabytes", "-1GiB", "8G", "1,5GB", "nan"])
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_bytes(text)


@given(st.text(max_size=40) | st.from_regex(r"\A[0-9.]{0,5}[dhms ]{0,2}[0-9]{0,3}[a-zA-Z]{0,4}\Z"))
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    for parse in (parse_seconds, parse_bytes):
        try:
            value = parse(text)
        except ValueError:
            continue
        assert value >= 0


@given(st.integers(0, 10**7))
def test_whole_seconds_are_read_in_every_spelling(seconds: int) -> None:
    hours, rest = divmod(seconds, 3600)
    assert parse_seconds(f"{hours}h{rest // 60}m{rest % 60}s") == float(seconds)
    assert parse_seconds(f"{seconds}s") == parse_seconds(str(seconds)) == float(seconds)


@given(st.floats(0.001, 48 * 3600))
@example(150.0)
@example(599.4)
@example(629.0)
def test_printed_durations_can_be_read_back_nearly(seconds: float) -> None:
    assert parse_seconds(format_seconds(seconds).replace(" ", "")) == pytest.approx(seconds, rel=0.06)


@given(st.integers(0, 2**45))
def test_printed_sizes_can_be_read_back_nearly(size: int) -> None:
    assert parse_bytes(format_bytes(size)) == pytest.approx(size, rel=0.06, abs=512)


def test_print() -> None:
    assert [format_seconds(s) for s in (0.42, 9.5, 90, 1800, 5400, 7200, NEVER)] == [
        "0.42 s",
        "9.5 s",
        "90 s",
        "30 m",
        "1 h 30 m",
        "2 h",
        "never",
    ]
    assert [format_bytes(b) for b in (7, 2048, 512 * 1024**2, 8.3 * 1024**3, 2 * 1024**4)] == [
        "7 B",
        "2 KiB",
        "512 MiB",
        "8.3 GiB",
        "2.0 TiB",
    ]
