"""The bundled engine as a kind: llama.cpp's server as packaged by xllamacpp, for machines without llama-server.

This doesn't import xllamacpp.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path

from attrs import frozen

from ...config.schema import ModelSpec
from ...errors import SetupError
from ..kind import Machine, Wanted
from ..launch import Launch
from ..llama_server.llama_cpp import LlamaCpp
from . import launch
from .launch import NAME, PROGRAM


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

    async def command_line(
        self,
        spec: ModelSpec,
        program: tuple[str, ...],
        model: Path,
        socket: Path,
        threads: int | None,
        machine: Machine,
    ) -> Launch:
        return launch.launch(spec, model=model, socket=socket, threads=threads)
