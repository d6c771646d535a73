"""llama-server as a kind of engine: the one on PATH, or the one that [engines.llama-server] names."""

from __future__ import annotations

import os
from pathlib import Path

from ...config.engine_words import AUTO
from ...config.load_modes import LoadMode
from ...config.schema import EngineSpec
from ..devices import LIST_DEVICES, Device
from ..finding import find_program, names_program
from ..kind import Machine, Wanted
from ..launch import Launch
from . import NAME
from .command_line import ServerStart, launch
from .llama_cpp import LlamaCpp
from .load_mode import modes
from .offloading import device_order


class LlamaServer(LlamaCpp):
    """The user's llama-server."""

    name = NAME
    own_table = True
    remedy = f"llama.cpp (for example: brew install llama.cpp) so that {NAME} is on PATH"

    def locate(self, wanted: Wanted, machine: Machine) -> tuple[str, ...] | None:
        table = wanted.tables.get(NAME)
        if table is None and wanted.spec.engine == AUTO:
            found = machine.which(NAME)
            return (found,) if found else None
        words = _words(table)
        return find_program(wanted.spec, words, machine, machine.remedy if words[0] == NAME else "")

    async def all_modes(self, program: tuple[str, ...], machine: Machine) -> tuple[LoadMode, ...]:
        return modes(await machine.probe.flag_set(Path(program[0])))

    async def devices(self, wanted: Wanted, program: tuple[str, ...], machine: Machine) -> tuple[Device, ...] | None:
        spec = wanted.spec
        if LIST_DEVICES not in (await machine.probe.flag_set(Path(program[0]))).flags:
            return None
        return await machine.probe.devices(program, {**device_order(spec), **spec.env})

    async def command_line(self, start: ServerStart, machine: Machine) -> Launch:
        return launch(start, await machine.probe.flag_set(Path(start.program[0])))


def installed(machine: Machine) -> tuple[str, ...]:
    """Return the default llama-server and the arguments it always gets, or an empty tuple if none is installed.

    Reads the disk.
    """
    words = _words(machine.config.now.engines.get(NAME))
    found = machine.which(os.path.expanduser(words[0]))
    return (found, *words[1:]) if found else ()


def _words(table: EngineSpec | None) -> tuple[str, ...]:
    return table.command if table and table.command and names_program(table) else (NAME,)
