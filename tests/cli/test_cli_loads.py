"""How fast models were loaded, in `ps -l` and `why`, also from a server that doesn't tell."""

from __future__ import annotations

from typing import Any

import pytest
from serving import fake, serving

from llmsup.cli.ps import table
from llmsup.cli.why import state_lines

LOAD = {"mode": "read", "bytes": 20_000_000_000, "bytes_per_second": 6_400_000_000, "cached_share": 0.04, "why": None}


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"load": LOAD}, "3.1 s, 6.4 GB/s (read, 4% of its file was in the page cache)"),
        ({"load": {**LOAD, "mode": None, "cached_share": None}}, "3.1 s, 6.4 GB/s"),
        ({"load": None}, "3.1 s"),
        ({}, "3.1 s"),
        ({"load": LOAD, "loaded_at": None}, "-"),
    ],
)
async def test_a_column_of_its_own(fields: dict[str, Any], shown: str) -> None:
    async with serving(fake("m")) as served:
        await served.client.chat("m")
        (entry,) = (await served.client.get("/running")).json
    del entry["load"]
    entries = [{**entry, "load_seconds": 3.125, **fields}]
    heading, row = table(entries, 0.0, loads=True).as_text().splitlines()
    assert heading.endswith("  LOADED IN")
    assert row.endswith(f"  {shown}")
    assert "LOADED IN" not in table(entries, 0.0).as_text()


async def test_why_tells_of_the_last_load_and_the_next() -> None:
    async with serving(fake("m")) as served:
        await served.client.chat("m")
        answer = (await served.client.get("/memory/m")).json
    assert (answer["load"], answer["next_load"]["cached_share"]) == (None, None), "a command's files aren't known"
    assert not [line for line in state_lines(answer, 0.0) if "load took" in line or "Loading it again" in line]
    told = {
        **answer,
        "load_seconds": 3.125,
        "load": {**LOAD, "why": "it should take 3.3 s this way (mmap 29 s)"},
        "next_load": {"seconds": 1.5, "mode": "auto", "cached_share": 0.98},
    }
    lines = list(state_lines(told, 0.0))
    took = "Its last load took 3.1 s, 6.4 GB/s (read, 4% of its file was in the page cache)"
    assert f"{took}: it should take 3.3 s this way (mmap 29 s)." in lines
    assert "Loading it again should take 1.5 s: 98% of its file is in the page cache now." in lines
    never = {**told, "load": None, "next_load": {"seconds": 0.0, "mode": "auto", "cached_share": 1.0}}
    assert not [line for line in state_lines(never, 0.0) if line.startswith("Loading it")]
