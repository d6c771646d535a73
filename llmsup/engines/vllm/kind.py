"""vLLM as a kind of engine: the `vllm` on PATH, or the one that [engines.vllm] names. Only a config asks for it."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from ...catalog.found import Found
from ...config.schema import EngineSpec, ModelSpec
from ..context import Context
from ..finding import find_program, model_path, names_program
from ..kind import Kind, Machine, Wanted
from ..launch import Launch
from . import NAME
from .command_line import VllmStart, devices, launch, limit, share
from .flags import flag_set, value_of

_BATCH = 2048  # vllm/config/scheduler.py, DEFAULT_MAX_NUM_BATCHED_TOKENS
_CONTEXT = 4096
_HINT = 'Install vLLM (docs.vllm.ai) so that it is on PATH, or name its program: [engines.vllm] command = "…/bin/vllm".'


@frozen(repr=False)
class Vllm(Kind):
    """The user's vLLM."""

    name = NAME
    own_table = True
    directories = True
    tensors = True

    def can_run(self, spec: ModelSpec, found: Found | None) -> bool:
        return False  # "auto" is for what the catalog finds by itself

    def refusal(self, spec: ModelSpec, found: Found) -> str:
        if found.tensors:
            return ""
        return f'{found.path} is a file, and vLLM is given directories of safetensors: leave its `engine` at "auto".'

    def estimate(self, spec: ModelSpec, found: Found) -> Context:
        """Return what it needs to start: the weights, and a cache for one request of full length. Its cache is in
        pages, so more requests share what there is; all that its share of the device leaves becomes cache.
        """
        length = limit(spec) or found.facts.context_length or _CONTEXT
        cache = "q8_0" if value_of(spec, "--kv-cache-dtype").startswith("fp8") else "f16"  # about its size
        return Context(
            n_ctx=length,
            n_ctx_seq=length,
            sequences=spec.parallel or 1,
            unified=True,
            batch=_BATCH,
            ubatch=_BATCH,
            type_k=cache,
            type_v=cache,
            flash="on",
            embeddings=spec.kind in ("embedding", "rerank"),
            mapped=False,
            share=share(spec),
            devices=devices(spec),
        )

    def locate(self, wanted: Wanted, machine: Machine) -> tuple[str, ...] | None:
        words = _words(wanted.tables.get(NAME))
        return find_program(wanted.spec, words, machine, _HINT if words[0] == NAME else "")

    async def launch(self, wanted: Wanted, program: tuple[str, ...], socket: Path, machine: Machine) -> Launch:
        model = await model_path(wanted.spec, machine, directories=True)
        start = VllmStart(spec=wanted.spec, program=program, model=model, socket=socket)
        return launch(start, await flag_set(program, machine), machine)


def _words(table: EngineSpec | None) -> tuple[str, ...]:
    return table.command if table and table.command and names_program(table) else (NAME,)
