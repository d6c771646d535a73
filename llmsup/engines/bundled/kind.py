"""The bundled engine as a kind: llama.cpp's server as packaged by xllamacpp, for machines without llama-server.

This doesn't import xllamacpp.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from collections.abc import Callable

from attrs import frozen

from ...config.load_modes import LoadMode
from ...errors import SetupError
from ..address import UnixAddress
from ..devices import Device
from ..kind import Machine, Wanted
from ..launch import Launch
from ..llama_server.command_line import CHILD_MODE, ServerStart, slots_given, words_of
from ..llama_server.flags import FlagSet
from ..llama_server.llama_cpp import LlamaCpp
from .flags import FLAGS, VALUED

NAME = "bundled"
PROGRAM = (sys.executable, "-m", "llmsup.engines.bundled.process")
FLAG_SET = FlagSet(FLAGS, "the bundled engine", VALUED)


def xllamacpp_installed() -> bool:
    """Tell whether the bundled engine can be started, without importing it."""
    return importlib.util.find_spec("xllamacpp") is not None


@frozen(repr=False)
class Bundled(LlamaCpp):
    """The engine that comes with `pip install 'llmsup[engine]'`.

    Attributes:
        installed: Tells whether it is installed. Reads the disk.
    """

    installed: Callable[[], bool] = xllamacpp_installed

    name = NAME
    remedy = "the bundled engine: pip install 'llmsup[engine]'"

    def locate(self, wanted: Wanted, machine: Machine) -> tuple[str, ...] | None:
        if self.installed():
            return PROGRAM
        if wanted.spec.engine == NAME:
            raise SetupError(f"model {wanted.spec.name}: the bundled engine is not installed.", hint=machine.remedy)
        return None

    def build_id(self, program: tuple[str, ...]) -> str:
        try:
            return f"xllamacpp {importlib.metadata.version('xllamacpp')}"
        except importlib.metadata.PackageNotFoundError:
            return ""

    async def all_modes(self, program: tuple[str, ...], machine: Machine) -> tuple[LoadMode, ...]:
        return ("mmap", "read")  # older xllamacpp takes "direct" for "read"

    async def devices(self, wanted: Wanted, program: tuple[str, ...], machine: Machine) -> tuple[Device, ...] | None:
        return await machine.probe.devices(program, wanted.spec.env)

    async def command_line(self, start: ServerStart, machine: Machine) -> Launch:
        return launch(start)


def launch(start: ServerStart) -> Launch:
    """Return the launch of the bundled engine for one model; it accepts llama-server's flags.

    Raises:
        SetupError: The model's `args` contain an unknown flag or one that llmsup sets, or the config asks for
            something this engine has no flag for.
    """
    words, body, corrected = words_of(start, FLAG_SET, alias=start.spec.name)
    return Launch(
        engine=NAME,
        argv=(*start.program, *words),
        env={**start.spec.env, **CHILD_MODE, "LLMSUP_STDIN_GUARD": "1"},
        address=UnixAddress(start.socket),
        tells_progress=True,  # this is llama.cpp's server, with the same child mode
        body_defaults=body,
        **slots_given(start, FLAG_SET),
        corrections=corrected.changes,
    )
