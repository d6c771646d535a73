"""What the kinds based on llama.cpp's server have in common: they read GGUFs, and accept the same flags."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from attrs import evolve

from ...catalog.found import Found
from ...config.load_modes import LoadMode
from ...config.schema import ModelSpec
from ...errors import Collected
from ..context import Context
from ..cores import share_of
from ..finding import model_path
from ..kind import Kind, Machine, Wanted
from ..launch import Launch
from .command_line import ServerStart
from .context import context
from .load_mode import own_words
from .model_file import projector_of, with_file
from .offloading import check_devices, device_order


class LlamaCpp(Kind):
    """llama.cpp's server, whichever program it comes in."""

    saves_slots = True

    def can_run(self, spec: ModelSpec, found: Found | None) -> bool:
        return True  # the catalog only finds GGUFs, and a file it didn't find may be one

    def refusal(self, spec: ModelSpec, found: Found) -> str:
        facts = found.facts
        if facts.kind != "unknown" or spec.kind is not None:
            return ""
        of = f"of the architecture {facts.architecture!r}" if facts.architecture else "of no architecture that it names"
        return f"{found.path} is {of}, which is neither for chat, embeddings nor reranking. Its `kind` can be set."

    def estimate(self, spec: ModelSpec, found: Found) -> Context | None:
        return context(self.with_file(spec, found), found.facts)

    def with_file(self, spec: ModelSpec, found: Found) -> ModelSpec:
        """Return the settings with the file's flags put before the user's `args`, which take precedence."""
        return with_file(spec, found, self.projector(spec, found))

    def projector(self, spec: ModelSpec, found: Found) -> Path | None:
        """Return the projector that the engine gets because it belongs to the file."""
        return projector_of(spec, found)

    async def launch(self, wanted: Wanted, program: tuple[str, ...], socket: Path, machine: Machine) -> Launch:
        spec, found = wanted.spec, wanted.found
        problems = Collected()
        model = Path()
        with problems.noting():
            model = await model_path(spec, machine)
        share = share_of(spec, cores=machine.cores(), several=machine.several())
        filled = self.with_file(spec, found) if found else spec
        start = ServerStart(
            spec=filled,
            program=program,
            model=model,
            socket=socket,
            threads=share.threads,
            slots=wanted.slots,
            workers=wanted.workers,
        )
        with problems.noting():
            launch = await self.command_line(start, machine)
            # Of an engine that can't be told of devices that is all there is to say.
            check_devices(spec, await self.devices(wanted, program, machine) if spec.devices else None)
        problems.check()
        projector = self.projector(spec, found) if found else None
        env = {**share.env, **device_order(spec), **launch.env}
        return evolve(launch, env=env, projector=projector)

    async def load_modes(self, wanted: Wanted, program: tuple[str, ...], machine: Machine) -> tuple[LoadMode, ...]:
        return () if own_words(wanted.spec, program) else await self.all_modes(program, machine)

    @abstractmethod
    async def all_modes(self, program: tuple[str, ...], machine: Machine) -> tuple[LoadMode, ...]:
        """Return the ways to load the weights that this kind's program has flags for; as `load_modes`."""

    @abstractmethod
    async def command_line(self, start: ServerStart, machine: Machine) -> Launch:
        """Return the command line of this kind's program.

        Raises:
            SetupError: The config asks for something this build can't do.
        """
