"""A user's own command as a kind of engine: a model's `command`, or that of an [engines.NAME] table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve

from ...catalog.found import Found
from ...config.schema import ModelSpec
from ...errors import Collected
from ..context import Context
from ..finding import find_program, model_path
from ..kind import Kind, Machine, Wanted
from ..launch import Launch, mentions
from ..llama_server import NAME as LLAMA_SERVER
from ..llama_server import command_line as llama_server
from ..llama_server.context import context
from ..llama_server.model_file import projector_of, with_file
from . import launch


class Command(Kind):
    """Any program that the user configures. "auto" never picks it; it serves the models for which a command is set."""

    name = "command"
    word = False
    directories = True

    def can_run(self, spec: ModelSpec, found: Found | None) -> bool:
        return bool(spec.command)

    def estimate(self, spec: ModelSpec, found: Found) -> Context | None:
        """Return None for a model's own command, about which nothing is known.

        For a GGUF under an [engines.NAME] table it assumes that the table starts some llama.cpp, which isn't told how
        to load it.
        """
        spec = evolve(spec, load_mode="auto")
        return None if spec.command else context(with_file(spec, found, projector_of(spec, found)), found.facts)

    def locate(self, wanted: Wanted, machine: Machine) -> tuple[str, ...] | None:
        words = wanted.spec.command or wanted.tables[wanted.spec.engine].command
        return find_program(wanted.spec, words, machine, machine.remedy if words[0] == LLAMA_SERVER else "")

    async def launch(self, wanted: Wanted, program: tuple[str, ...], socket: Path, machine: Machine) -> Launch:
        spec, words = wanted.spec, program
        engine = self.name if spec.command else spec.engine
        changes: tuple[str, ...] = ()
        sampling: Mapping[str, Any] = {}
        name = spec.name
        if Path(words[0]).name == LLAMA_SERVER:
            flag_set = await machine.probe.flag_set(Path(words[0]))
            problems = Collected()
            with problems.noting():
                own = llama_server.corrected_command(spec, words, flag_set)
            with problems.noting():
                args = llama_server.corrected_args(spec, flag_set)
            problems.check()
            words, spec, name = own.words, evolve(spec, args=args.words), llama_server.alias_of(name)
            changes, sampling = (*own.changes, *args.changes), {**own.sampling, **args.sampling}
        model = None
        if spec.path and mentions((*words, *spec.args), "PATH"):
            model = await model_path(spec, machine, directories=True)
        filled = launch.launch(spec, command=words, engine=engine, model=model, socket=socket, name=name)
        return evolve(filled, corrections=changes, body_defaults={**filled.body_defaults, **sampling})
