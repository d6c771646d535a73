"""`ps`: what it makes of the server's JSON, on a terminal and elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from llmsup.cli.bar import bar
from llmsup.cli.ps import failures, nothing_loaded, table, waits

NOW = 1_000_000.0


def entry(model: str, **fields: Any) -> dict[str, Any]:
    return {
        "model": model, "state": "ready", "pid": 4711, "ttl": 1800, "in_flight": 0, "waiting": 0,
        "loaded_at": NOW - 300, "last_used": NOW - 12, "expires_at": NOW + 1788, "footprint_bytes": 148 << 20,
        "footprint_source": "measured", "priority": "normal", "pinned": False, "progress": None, **fields,
    }  # fmt: skip


STARTING = {"state": "starting", "loaded_at": None, "last_used": None, "expires_at": None, "footprint_bytes": None}
ENTRIES = [
    entry("org/big@Q4", in_flight=2, waiting=3, expires_at=None),
    entry("模型", last_used=None, footprint_source="declared"),
    entry("soon", **STARTING, pid=None),
    entry("queued", **STARTING, pid=None, waits_for="it needs 5.0 GiB (in memory: big)."),
    entry("half", **STARTING, progress=0.5),
    entry("for-ever", ttl=None, expires_at=None),
]


def test_each_device_has_a_line() -> None:
    """What models have there, and whether others press for it."""
    device = {
        "pool": "gpu0",
        "name": "NVIDIA L4",
        "total_bytes": 24 << 30,
        "committed_bytes": 12 << 30,
        "free_bytes": 200 << 20,
        "level": "warn",
        "reason": "others have 11.3 GiB",
    }
    unknown = {**device, "pool": "gpu1", "free_bytes": None, "level": "normal", "committed_bytes": 0}
    whole = {"ceiling_bytes": 60 << 30, "committed_bytes": 13 << 30, "available_bytes": 40 << 30, "waiting": []}
    memory = {**whole, "level": "normal", "problem": None, "devices": [device, unknown]}
    first, second, third = bar(memory).splitlines()
    assert first.endswith("13.0 GiB of 60.0 GiB (22%) · 40.0 GiB available")
    half = f"{'█' * 15}{'░' * 15} 12.0 GiB of 24.0 GiB (50%) of gpu0"
    assert second == f"{half} · NVIDIA L4 · 200 MiB free · short: others have 11.3 GiB"
    assert third == f"{'░' * 30} 0 B of 24.0 GiB (0%) of gpu1 · NVIDIA L4 · free memory unknown"
    assert bar({**memory, "devices": []}) == first
    assert max(map(len, bar(memory, 70).splitlines())) <= 70


def test_plain() -> None:
    assert table(ENTRIES, NOW).as_text().splitlines() == [
        "MODEL       STATE          PID  IN FLIGHT  IDLE  TTL LEFT            MEMORY",
        "org/big@Q4  ready         4711     2 (+3)  busy         -           148 MiB",
        "模型        ready         4711          0   5 m      30 m  148 MiB declared",
        "soon        starting         -          0     -         -                 -",
        "queued      waiting          -          0     -         -                 -",
        "half        starting 50%  4711          0     -         -                 -",
        "for-ever    ready         4711          0  12 s     never           148 MiB",
    ]


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"priority": "high"}, "high"),
        ({"pinned": True}, "pinned"),
        ({"priority": "low", "pinned": True}, "low, pinned"),
    ],
)
def test_priority_is_shown_when_there_is_one(fields: dict[str, Any], shown: str) -> None:
    lines = table([entry("a", **fields), entry("b")], NOW).as_text().splitlines()
    assert lines[0].endswith("  PRIORITY")
    assert [line.split("MiB  ")[1] for line in lines[1:]] == [shown, "normal"]


def test_what_waits_is_told() -> None:
    assert waits(ENTRIES) == ["queued waits: it needs 5.0 GiB (in memory: big)."]


def test_a_clock_that_differs_from_the_servers() -> None:
    (row,) = table([entry("a", last_used=NOW + 5, expires_at=NOW - 5)], NOW).rows
    assert row[4:6] == ["0 s", "0 s"]


def model(id_: str, value: str = "unloaded", **status: Any) -> dict[str, Any]:
    return {"id": id_, "status": {"value": value, **status}}


def test_the_bar_has_room() -> None:
    """On a terminal of 80 columns, too."""
    memory = {
        "ceiling_bytes": 2 << 30, "committed_bytes": 1 << 30, "available_bytes": 3 << 30, "waiting": [{}],
        "level": "warn", "reason": "the compressor grows by 512 MiB a second, and 1.0 GiB is available of 16.0 GiB",
        "problem": None,
    }  # fmt: skip
    whole = bar(memory)
    assert "\n" not in whole
    lines = bar(memory, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].endswith("1.0 GiB of 2.0 GiB (50%) · 3.0 GiB available")
    assert lines[1:] == [
        "  1 model waiting for memory",
        "  pressure warn: the compressor grows by 512 MiB a second, and 1.0 GiB is",
        "  available of 16.0 GiB",
    ]


def test_nothing_is_loaded() -> None:
    assert "`llmsup demo`" in nothing_loaded([])
    names = [model(name) for name in ("a", "a:hot", "b", "c", "d", "e", "f")]
    assert nothing_loaded(names).endswith(": a, b, c, d, e and 1 more.")


def test_what_can_not_be_loaded_is_offered_to_nobody_and_told_once() -> None:
    """What lacks an engine has a line of its own, whether a request has failed for that or not."""
    lacks = {"value": "failed", "error": "there is no engine", "no_engine": "there is no engine"}
    refused = {"value": "failed", "error": "it draws", "servable": False}
    bare, flux = {**model("bare"), "status": lacks}, {**model("flux"), "status": refused}
    assert nothing_loaded([model("a"), bare, flux]).endswith(": a.")
    assert nothing_loaded([bare, flux]) == "No model is loaded, and none on this machine can be: `llmsup ls` tells why."
    assert failures([bare, flux]) == []


def test_failures() -> None:
    failed = {"value": "failed", "error": "a can't be loaded. It said: oh"}
    models = [
        model("a", **failed, retry_in=9.6),
        model("a:hot", **failed, retry_in=9.6),
        model("b", **failed, retry_in=0),
        model("c"),
    ]
    later, now = failures(models)
    assert later.startswith("a failed: can't be loaded. It said: oh. ")
    assert " in 10 s; `llmsup load a` " in later
    assert now.startswith("b failed: a can't be loaded. It said: oh. The next request ")
    assert "`llmsup load b`" in now
