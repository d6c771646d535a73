"""The input of a simulation: a machine, its models and the requests to them, read from the files in traces/."""

from __future__ import annotations

import csv
import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from attrs import Factory, frozen

from llmsup.config.schema import GiB, Memory, Priority
from llmsup.memory.cost.load_mode import FROM_CACHE
from llmsup.memory.machine.limits import reserve
from llmsup.units import Bytes, parse_bytes

STEP = 5.0
"""Seconds between two steps of the other program's memory."""

GROWTH = 50
"""Requests after which a prompt cache is full."""

MARGIN = 1.10
"""The factor on an estimate until something was measured."""

START, DISK = 2.0, GiB / 0.75
"""Seconds that an engine needs to start, and bytes a second that a disk reads: 1.4 GB. Saved prompts come from the same
disk; 34 MB of them were restored at 1.6 GB/s and saved at 1.1 (Crow 68), 160 MB at 6 and 4.5 (llama-swap 1064)."""

BILLION = 0.6 * GiB
"""Bytes per billion parameters, with some context: Q4_K_M has 0.57 GiB (8.03 billion: 4.58 GiB)."""

COMPUTES = 4000.0
"""Tokens of a prompt a second, times billions of parameters, on a Mac: 8 billion take a minute for 32,000 tokens on an
M3 Max (4,300; stillwarm 0.1.1 has 159 times what restoring takes), 70 billion take 42.7 s for 2,320 (3,800; vllm-metal
681). Of a mixture of experts only the active parameters count."""

KV = 128 * 1024
"""Bytes of a token of 8 billion parameters (32 layers, 8 heads of 128, f16: 2 · 2 · 8 · 128 · 32). It grows about with
the root of the size: 256 KiB for 32 billion (64 layers), and 320 KiB for 70 (80 layers), where the root says 378."""


@frozen
class Talk:
    """How conversations with a model go, in tokens.

    Attributes:
        system: What those of one client all begin with: instructions, tools, files.
        turn: What a request adds: the question and its answer.
        most: The length up to which a conversation goes on; 0: each request begins another.
    """

    system: int
    turn: int
    most: int = 0


@frozen
class Model:
    """A model's actual properties.

    Attributes:
        bytes: What it takes once it is loaded.
        grows: Bytes that its prompt cache adds in the course of `GROWTH` requests.
        load_seconds: How long a load takes, with nothing of it in the page cache.
        talk: What its prompts are like; None: it has none that could be kept (embeddings).
        active: Billions of parameters that work on a token; 0: all, by its size.
        kv: Bytes of a token in a saved conversation; 0: it can't be saved. None: by its size.
    """

    name: str
    bytes: int
    grows: int = 0
    load_seconds: float = 10.0
    priority: Priority = "normal"
    pinned: bool = False
    talk: Talk | None = None
    active: float = 0.0
    kv: int | None = None

    @property
    def warm_seconds(self) -> float:
        """How long a load takes with all of it in the page cache. (Weights come from there at some GiB a second; mapped
        ones were about twice as fast as from the disk in `tools/bench_back.py`.)
        """
        return min(self.load_seconds, START + self.bytes / FROM_CACHE)

    @property
    def tokens_per_second(self) -> float:
        """How fast it computes a prompt."""
        return COMPUTES / (self.active or self.bytes / BILLION)

    @property
    def token_bytes(self) -> int:
        """What a token of a saved conversation takes; 0 if it can't be saved."""
        return round(KV * math.sqrt(self.bytes / BILLION / 8)) if self.kv is None else self.kv

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
        disk: Bytes a second at which conversations are saved and restored.
    """

    total: int
    models: Mapping[str, Model]
    neighbour: tuple[tuple[float, int], ...] = ()
    disk: float = DISK

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
        talk: Which of the client's conversations with this model it belongs to.
        shared: The tokens of its prompt that were in the client's last one, or its answer. That the engine still has
            them is part of `seconds`.
        tokens: How long the conversation is after its answer.
    """

    time: float
    model: str
    seconds: float
    client: str = ""
    talk: int = 0
    shared: int = 0
    tokens: int = 0


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
    """Read the machine: `total`, `disk` (bytes a second), `[models.NAME]` with `memory`, `grows`, `load` (seconds),
    `talk = [system, turn, most]` (tokens), `active` (billions) and `kv` (bytes a token), and
    `neighbour = [[second, "1GiB"], ...]`, points connected by straight lines.
    """
    models = {
        name: Model(
            name,
            parse_bytes(given["memory"]),
            parse_bytes(given.get("grows", "0")),
            float(given.get("load", START + 0.75 * parse_bytes(given["memory"]) / GiB)),
            given.get("priority", "normal"),
            bool(given.get("pinned", False)),
            Talk(*given["talk"]) if "talk" in given else None,
            float(given.get("active", 0)),
            parse_bytes(given["kv"]) if "kv" in given else None,
        )
        for name, given in table["models"].items()
    }
    points = [(float(when), int(parse_bytes(size))) for when, size in table.get("neighbour", ())]
    disk = float(parse_bytes(table["disk"])) if "disk" in table else DISK
    return Host(parse_bytes(table["total"]), models, tuple(_steps(points)), disk)


def _steps(points: Sequence[tuple[float, int]]) -> Iterator[tuple[float, int]]:
    """Interpolate between the points in steps."""
    for (start, less), (end, more) in pairwise(points):
        number = max(round((end - start) / STEP), 1) if less != more else 1
        for step in range(number):
            yield start + step * STEP, less + (more - less) * step // number
    yield from points[-1:]
