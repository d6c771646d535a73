"""What all kinds have in common that are llama.cpp's own server: they read GGUFs, and answer to the same flags.

It does not know where their programs are.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from attrs import evolve

from ...catalog.found import Found
from ...config.schema import ModelSpec
from ...errors import Collected
from ..context import Context
from ..cores import share_of
from ..finding import model_path
from ..kind import Kind, Machine, Wanted
from ..launch import Launch
from .context import context
from .model_file import projector_of, with_file


class LlamaCpp(Kind):
    """llama.cpp's server, from wherever it is."""

    def can_run(self, spec: ModelSpec, found: Found | None) -> bool:
        return True  # all that the catalog finds is GGUF; what it can't find may be one

    def refusal(self, spec: ModelSpec, found: Found) -> str:
        facts = found.facts
        if facts.kind != "unknown" or spec.kind is not None:
            return ""
        of = f"of the architecture {facts.architecture!r}" if facts.architecture else "of no architecture that it names"
        return f"{found.path} is {of}, which is neither for chat, embeddings nor reranking. Its `kind` can be set."

    def estimate(self, spec: ModelSpec, found: Found) -> Context | None:
        return context(self.with_file(spec, found), found.facts)

    def with_file(self, spec: ModelSpec, found: Found) -> ModelSpec:
        """The settings with the flags that go with the file put before the user's own `args`, which win."""
        return with_file(spec, found, self.projector(spec, found))

    def projector(self, spec: ModelSpec, found: Found) -> Path | None:
        """The projector that the engine gets since it goes with the file."""
        return projector_of(spec, found)

    async def launch(self, wanted: Wanted, program: tuple[str, ...], socket: Path, machine: Machine) -> Launch:
        spec, found = wanted.spec, wanted.found
        problems = Collected()
        model = Path()
        with problems.noting():
            model = await model_path(spec, machine)
        share = share_of(spec, cores=machine.cores(), several=machine.several())
        filled = self.with_file(spec, found) if found else spec
        with problems.noting():
            launch = await self.command_line(filled, program, model, socket, share.threads, machine)
        problems.check()
        projector = self.projector(spec, found) if found else None
        return evolve(launch, env={**share.env, **launch.env}, projector=projector)

    @abstractmethod
    async def command_line(
        self,
        spec: ModelSpec,
        program: tuple[str, ...],
        model: Path,
        socket: Path,
        threads: int | None,
        machine: Machine,
    ) -> Launch:
        """The launch for settings that have the file's flags in their `args`.

        Raises:
            SetupError: The config asks for what this build can't do.
        """
