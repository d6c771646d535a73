"""Load rates by the way the weights are loaded, with a cold and a warm page cache, of a model of random weights.

The engine is started by hand, with the flags that llmsup would give it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import trio
from attrs import Factory, define
from miniatures import Mini, miniature

from llmsup.config.load_modes import LoadMode
from llmsup.config.schema import ModelSpec
from llmsup.engines.address import UnixAddress
from llmsup.engines.llama_server.flags import FlagSet
from llmsup.engines.llama_server.load_mode import modes, words_for
from llmsup.memory.machine.page_cache import cached_share
from tools.bench_drive import until_answers
from tools.bench_ways import HEALTH, process

WIDTH, FORWARD, LAYERS = 2048, 8192, 8
"""About 121 MB a layer: 0.97 GB."""

PIECE = 16 * 1024**2


@define
class Row:
    """What was measured of one way, cold or warm.

    Attributes:
        seconds: Of each load, until the engine answered.
        cached: What of the file was in the page cache before each.
        after: What of it was there when the engine answered: mapped weights may be read as late as they are used.
        memory: The bytes that only came back with the engine's end.
    """

    mode: LoadMode
    warm: bool
    size: int
    seconds: list[float] = Factory(list)
    cached: list[float] = Factory(list)
    after: list[float] = Factory(list)
    memory: list[int] = Factory(list)


def random_model(folder: Path) -> Path:
    """A llama of random weights, about 1 GB: holes would be read from nowhere."""

    def recipe() -> Mini:
        mini = Mini(LAYERS, WIDTH, attention__head_count=32, attention__head_count_kv=8, rope__dimension_count=64)
        for layer in range(LAYERS):
            mini.attend(layer, WIDTH, WIDTH // 4, WIDTH // 4)
            mini.feed(layer, FORWARD)
        return mini

    path = miniature(folder, "llama", recipe)
    size, head = path.stat().st_size, 64 * 1024  # the header, and the first of the embeddings, stay as they are
    small = bytes(0x20 | byte & 0x87 for byte in range(256))  # the upper halves of F16 numbers below 1
    with path.open("r+b") as file:
        for at in range(head, size, PIECE):
            piece = bytearray(os.urandom(min(PIECE, size - at)))
            piece[1::2] = piece[1::2].translate(small)
            file.seek(at)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return path


def forget(path: Path) -> None:
    """Drop a file from the page cache; what somebody else has mapped stays."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def warm_up(path: Path) -> None:
    """Read a file, so that it is in the page cache."""
    with path.open("rb") as file:
        while file.read(PIECE):
            pass


def measure(engine: Path, dialect: FlagSet, model: Path, folder: Path, rounds: int) -> Iterator[Row]:
    """Each way in turn, cold and warm, so many times; what else the machine does hits all of them alike."""
    size = model.stat().st_size
    rows = [Row(mode, warm, size) for mode in modes(dialect) for warm in (False, True)]
    for _ in range(rounds):
        for row in rows:
            (warm_up if row.warm else forget)(model)
            row.cached.append(cached_share([model]) or 0.0)
            row.seconds.append(load(engine, dialect, model, folder, row))
    yield from rows


def load(engine: Path, dialect: FlagSet, model: Path, folder: Path, row: Row) -> float:
    """Seconds until the engine answers."""
    socket = folder / "load.sock"
    socket.unlink(missing_ok=True)
    words = words_for(ModelSpec(name="m", path=str(model), load_mode=row.mode), dialect)
    common = ("--model", str(model), "--host", str(socket), "-c", "512", "-np", "1", "-t", "1", "--offline")
    began = time.perf_counter()
    with process([str(engine), *common, *words], folder / "load.log") as child:
        trio.run(_ready, UnixAddress(socket))
        took = time.perf_counter() - began
        row.after.append(cached_share([model]) or 0.0)
        status = Path(f"/proc/{child.pid}/status")
        if status.exists():
            own = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
            row.memory.append(int(own.split()[1]) * 1024)
    return took


async def _ready(address: UnixAddress) -> None:
    await until_answers(address, HEALTH, patience=300)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The rows as lines of a table, with what has to be said of them."""
    yield f"{'mode':8}{'file':6}{'cached before, after':>22}{'seconds':>9}{'GB/s':>7}{'own memory':>12}   each"
    for row in rows:
        took, own = median(row.seconds), median(row.memory) / 1e6 if row.memory else 0
        what, rate = "warm" if row.warm else "cold", row.size / took / 1e9
        share = f"{median(row.cached):.0%} {median(row.after):>5.0%}"
        each = " ".join(f"{seconds:.2f}" for seconds in row.seconds)
        yield f"{row.mode:8}{what:6}{share:>22}{took:9.2f}{rate:7.2f}{own:9.0f} MB   {each}"
    if any(share > 0.05 for row in rows if not row.warm for share in row.cached):
        yield "The file could not be dropped from the page cache: what is called cold above was not."
    yield "Seconds from the start of the engine, warm-up included; a cold read may come from a cache of the disk's own."
