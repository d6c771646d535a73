"""The input of a simulation: a machine, its models and the requests to them, read from the files in traces/."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import Factory, frozen

from llmsup.config.schema import GiB, Memory, Priority
from llmsup.memory.machine.limits import reserve
from llmsup.units import Bytes, parse_bytes

STEP = 5.0
"""Seconds between two steps of the other program's memory."""

GROWTH = 50
"""Requests after which a prompt cache is full."""

MARGIN = 1.10
"""The factor on an estimate until something was measured."""


@frozen
class Model:
    """A model's actual properties.

    Attributes:
        bytes: What it takes once it is loaded.
        grows: Bytes that its prompt cache adds in the course of `GROWTH` requests.
        load_seconds: How long a load takes.
    """

    name: str
    bytes: int
    grows: int = 0
    load_seconds: float = 10.0
    priority: Priority = "normal"
    pinned: bool = False

    def taken(self, served: int) -> int:
        """Bytes after so many requests."""
        return self.bytes + self.grows * min(served, GROWTH) // GROWTH

    @property
    def estimate(self) -> int:
        """Its cost before it was ever measured, in bytes."""
        return round((self.bytes + self.grows) * MARGIN)


@frozen
class Host:
    """The machine.

    Attributes:
        total: Its memory, in bytes.
        neighbour: What another program takes, and from when: (second, bytes), a step every 5 s.
    """

    total: int
    models: Mapping[str, Model]
    neighbour: tuple[tuple[float, int], ...] = ()

    @property
    def reserve(self) -> int:
        """What the config's "auto" keeps free, in bytes; the system itself takes half of it."""
        return reserve(Memory(), Bytes(self.total))

    @property
    def ceiling(self) -> int:
        """Bytes for all models together."""
        return self.total - self.reserve


@frozen
class Request:
    """One row of a trace.

    Attributes:
        time: When it is sent, in seconds; later if its client still waits for an answer.
        seconds: How long it takes to serve.
        client: Sends one request at a time; "": this request depends on no other.
    """

    time: float
    model: str
    seconds: float
    client: str = ""


@frozen
class Trace:
    """A machine, and the requests to it."""

    name: str
    host: Host
    requests: tuple[Request, ...] = Factory(tuple)

    def until(self, seconds: float) -> Trace:
        """The first part of it."""
        return Trace(self.name, self.host, tuple(each for each in self.requests if each.time < seconds))


def read_trace(path: Path) -> Trace:
    """Read `NAME.csv` (time, model, seconds and, where a request depends on another's answer, client) and the
    machine in `NAME.toml` beside it.

    Raises:
        OSError, ValueError, KeyError: They can't be read; the message says what is wrong.
    """
    host = read_host(tomllib.loads(path.with_suffix(".toml").read_text("utf-8")))
    with path.open(newline="", encoding="utf-8") as file:
        rows = [
            Request(float(row["time"]), row["model"], float(row["seconds"]), row.get("client") or "")
            for row in csv.DictReader(file)
        ]
    unknown = {row.model for row in rows} - set(host.models)
    if unknown:
        raise ValueError(f"{path}: no such model in {path.with_suffix('.toml').name}: {', '.join(sorted(unknown))}")
    return Trace(path.stem, host, tuple(sorted(rows, key=lambda row: row.time)))


def read_host(table: Mapping[str, Any]) -> Host:
    """Read the machine: `total`, `[models.NAME]` with `memory`, `grows` and `load` (seconds), and
    `neighbour = [[second, "1GiB"], ...]`, points connected by straight lines.
    """
    models = {
        name: Model(
            name,
            parse_bytes(given["memory"]),
            parse_bytes(given.get("grows", "0")),
            float(given.get("load", 2 + 0.75 * parse_bytes(given["memory"]) / GiB)),
            given.get("priority", "normal"),
            bool(given.get("pinned", False)),
        )
        for name, given in table["models"].items()
    }
    points = [(float(when), int(parse_bytes(size))) for when, size in table.get("neighbour", ())]
    return Host(parse_bytes(table["total"]), models, tuple(_steps(points)))


def _steps(points: Sequence[tuple[float, int]]) -> Iterator[tuple[float, int]]:
    """Interpolate between the points in steps."""
    for (start, less), (end, more) in pairwise(points):
        number = max(round((end - start) / STEP), 1) if less != more else 1
        for step in range(number):
            yield start + step * STEP, less + (more - less) * step // number
    yield from points[-1:]
