"""`llmsup check --memory`: every reading of this machine's memory with its raw value and source, and the ceiling and
the reserve that follow from them.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import attrs
import click
import trio
from attrs import frozen

from ..config import find
from ..config.live import LiveConfig
from ..config.schema import Config
from ..engines.devices import Device, list_devices, working_set
from ..engines.llama_server import NAME as LLAMA_SERVER
from ..engines.llama_server.flag_probe import FlagProbe
from ..engines.llama_server.kind import installed
from ..engines.selector import EngineSelector
from ..errors import SetupError
from ..memory.cost.process import footprint_of_group
from ..memory.machine.limits import ceiling, has_own_group, machine_total, reserve
from ..memory.machine.reading import Gpu, Reading
from ..memory.machine.sampler import Sampler
from ..process.inheritance import Inheritance
from ..process.lines import visible
from ..units import Bytes, format_bytes
from .configs import load
from .table import Column, Table

_BETWEEN = 0.5
_SIZES = ("total", "available", "swap_total", "swap_free", "swapped_out", "compressed", "gpu_limit")
_RATES = ("swap_out_rate", "compressor_rate")
_OTHERS = ("level", "oom_kills")


@frozen(kw_only=True)
class Report:
    """Everything that the command prints; sizes in bytes.

    Attributes:
        reading: The second of two readings, so that it has rates.
        devices: The devices that llama-server would use; None if there is no llama-server to ask.
        own: The footprint of this process, measured as an engine's is.
        reserve: What stays free for everything else.
        ceiling: What all models together can use.
        notes: What could not be read, and why.
    """

    reading: Reading
    devices: tuple[Device, ...] | None
    own: Bytes | None
    reserve: Bytes
    ceiling: Bytes
    notes: tuple[str, ...] = ()

    @property
    def working_set(self) -> Bytes | None:
        """What a Mac's GPU may wire: the limit set in the system, else the one that Metal tells llama-server."""
        return self.reading.gpu_limit or working_set(self.devices or ())

    def as_json(self) -> dict[str, Any]:
        """For programs: sizes in bytes, what is unknown null."""
        return {
            "platform": sys.platform,
            "reading": attrs.asdict(self.reading),
            "devices": None if self.devices is None else [attrs.asdict(device) for device in self.devices],
            "working_set": self.working_set,
            "own_footprint": self.own,
            "reserve": self.reserve,
            "ceiling": self.ceiling,
            "notes": self.notes,
        }

    def show(self) -> None:
        """Print it for people."""
        values = [(name, _words(self.reading, name), self.reading.sources.get(name, "")) for name in _named()]
        values += [
            (f"gpu {number}", _free(gpu.total, gpu.free), _gpu(gpu))
            for number, gpu in enumerate(self.reading.gpus or ())
        ]
        values += [
            (device.id, _free(device.total, device.free), f"{device.name}, {LLAMA_SERVER} --list-devices")
            for device in self.devices or ()
        ]
        values += [
            ("working set", _size(self.working_set), "what a Mac's GPU may wire"),
            ("this process", _size(self.own), "measured as an engine is"),
            ("reserve", _size(self.reserve), "[memory] reserve"),
            ("ceiling", _size(self.ceiling), "[memory] limit"),
        ]
        columns = (Column("READING"), Column("VALUE"), Column("SOURCE", prose=True))
        Table(columns, values).show()
        click.echo()
        Table((Column("READ"), Column("RAW", prose=True)), list(self.reading.raw.items())).show()
        for note in self.notes:
            click.echo(visible(note))


def report(path: str | None, *, as_json: bool) -> None:
    """Print the report. It never fails: what can't be read is "unknown"."""
    settings, notes = _settings(path)
    found = trio.run(look, settings, notes, _BETWEEN)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        found.show()


async def look(settings: Config, notes: tuple[str, ...], between: float) -> Report:
    """Read everything.

    Args:
        notes: Notes that the report begins with.
        between: Seconds between the two readings from which rates are computed.
    """
    said = list(notes)
    inheritance = Inheritance(lambda: settings.secret_variables)
    sampler = Sampler(inheritance=inheritance)
    try:
        await sampler.read(settings.memory.probe)
        await trio.sleep(between)
        reading = await sampler.read(settings.memory.probe)
    except SetupError as error:
        said.append(f"{error} These readings are the system's instead.")
        reading = await Sampler().read()
    devices = None
    if command := installed(EngineSelector(config=LiveConfig(settings), probe=FlagProbe(inheritance=inheritance))):
        try:
            devices = await list_devices(command, inheritance=inheritance)
        except SetupError as error:
            said.append(str(error))
    else:
        said.append(f"There is no {LLAMA_SERVER} to ask for its devices.")
    own = await trio.to_thread.run_sync(footprint_of_group, os.getpid())
    total = machine_total() if reading.total is None else reading.total
    own_group = has_own_group() if reading.total is None else reading.own_group
    shared = reading.gpu_limit or working_set(devices or ())
    return Report(
        reading=reading,
        devices=devices,
        own=None if own is None else own.held,
        reserve=reserve(settings.memory, total, own_group=own_group),
        ceiling=ceiling(settings.memory, total, shared, own_group=own_group),
        notes=tuple(said),
    )


def _settings(path: str | None) -> tuple[Config, tuple[str, ...]]:
    try:
        found = find(path)
        return (load(found) if found else Config()), ()
    except SetupError as error:
        return Config(), (f"These are the built-in settings: {error}",)


def _named() -> tuple[str, ...]:
    return (*_SIZES, *_RATES, *_OTHERS, "some", "full")


def _words(reading: Reading, name: str) -> str:
    value = getattr(reading, name)
    if value is None:
        return "unknown"
    if name in _SIZES:
        return format_bytes(value)
    if name in _RATES:
        return f"{format_bytes(value)}/s"
    if name in _OTHERS:
        return str(value)
    return f"{value.avg10:g}, {value.avg60:g}, {value.avg300:g} % of 10, 60, 300 s"


def _gpu(gpu: Gpu) -> str:
    shared = "" if gpu.shared_total is None else f"; of the host's {_free(gpu.shared_total, gpu.shared_free)}"
    return f"{gpu.name}, {gpu.source}{shared}"


def _free(total: Bytes | None, free: Bytes | None) -> str:
    return f"{_size(free)} free of {_size(total)}"


def _size(size: Bytes | None) -> str:
    return "unknown" if size is None else format_bytes(size)
