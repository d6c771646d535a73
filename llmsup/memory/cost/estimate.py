"""Estimates what a model will take in memory once it is loaded, from its file's header and its settings.

Not counted: the prompt cache (`Context.cache_ram`), what a GPU's driver takes in the process, MTP layers in use, and
copies of weights in another layout (repacking on a CPU, tied embeddings on a GPU with its own memory). Earlier
measurements take precedence; that is decided in `cost`.
"""

from __future__ import annotations

from attrs import evolve, field, frozen

from ...catalog.found import Found
from ...catalog.gguf.facts import Facts
from ...config.schema import MiB, ModelSpec
from ...engines.context import Context
from ...engines.kinds import KINDS
from ...engines.registry import Kinds
from ...units import Bytes
from .compute import compute_bytes
from .header import layer_count, number
from .kv_cache import kv_bytes, window_cells, without_cache
from .placement import LEAST_CONTEXT, Layout, divided
from .recurrent import state_bytes

_EMBEDDINGS, _OUTPUT = "token_embd.weight", "output.weight"
_EMBEDDINGS_OF_LAYERS = "per_layer_token_embd.weight"  # gemma3n, gemma4: an input, too

ENGINE = Bytes(28 * MiB)
"""What the process itself takes: program, vocabulary and threads. b10068 on the CPU, with SmolLM2 loaded at 1,024 to
24,576 tokens of context, took 18 to 28 MiB more than all other parts (13 more after a long request).
"""


@frozen
class Estimate:
    """The parts in bytes.

    Attributes:
        weights: All tensors, and the adapters' files.
        kv: The cache of keys and values; exact.
        recurrent: The states of recurrent layers; exact.
        compute: The buffers for one batch; approximate, on the high side.
        draft: The draft model that its `args` name: weights, cache and compute buffers.
        projector: The `mmproj` file's tensors and its compute buffers; approximate.
        context: The engine's context, as derived from the settings.
        engine: The process itself; approximate.
        facts: The file's header.
    """

    weights: Bytes
    kv: Bytes
    recurrent: Bytes
    compute: Bytes
    projector: Bytes
    context: Context
    draft: Bytes = Bytes(0)
    engine: Bytes = ENGINE
    facts: Facts | None = field(default=None, repr=False, eq=False)

    @property
    def mapped(self) -> Bytes:
        """The part that is mapped from the file: it counts as well, but the system may drop it and read it again."""
        return self.weights if self.context.mapped else Bytes(0)

    @property
    def total(self) -> Bytes:
        """All parts together."""
        parts = (self.weights, self.kv, self.recurrent, self.compute, self.projector, self.draft, self.engine)
        return Bytes(sum(parts))

    @property
    def layout(self) -> Layout | None:
        """The same in the parts that can be on a device or not; None without a header."""
        facts, context = self.facts, self.context
        if facts is None:
            return None
        layers, *_ = layer_count(facts)
        embeddings = facts.named.get(_EMBEDDINGS, 0)
        inputs = embeddings + facts.named.get(_EMBEDDINGS_OF_LAYERS, 0)
        output = sum(facts.named.values()) - inputs
        rest = max(self.weights - inputs - output, 0)
        caches = self.kv + self.recurrent
        least = min(LEAST_CONTEXT * (1 if context.unified else context.sequences), context.n_ctx)
        return Layout(
            weights=divided(rest, layers),
            caches=divided(caches, layers),
            output=output,
            copied=0 if _OUTPUT in facts.named or without_cache(facts) else embeddings,
            host=self.weights - (rest if layers else 0) - output + self.engine + (0 if layers else caches),
            compute=self.compute,
            beside=self.projector + self.draft,
            gives=self.kv - self.kv * least // context.n_ctx if context.offload.shrinks else 0,
            experts=number(facts, "expert_count") > 0,
        )


def estimate(spec: ModelSpec, found: Found | None, kinds: Kinds = KINDS) -> Estimate | None:
    """Estimate a model; None for one with its own command, or whose file llama.cpp doesn't serve. What the settings
    come to is for the kind of engine to say that is going to run it.

    With `ctx_size` 0 the engine's `--fit` may choose a smaller context than is counted here.
    """
    if found is None or found.facts.role != "model":
        return None
    facts = found.facts
    if spec.kind is None and facts.kind == "unknown":
        return None
    settings = next((kind.estimate(spec, found) for kind in kinds.of(spec, found)[:1]), None)
    if settings is None:
        return None
    return Estimate(
        weights=Bytes(facts.weights + _adapters(found) + sum(stamp.size for stamp in found.extras)),
        kv=Bytes(kv_bytes(facts, settings)),
        recurrent=Bytes(state_bytes(facts, settings.sequences)),
        compute=Bytes(compute_bytes(facts, settings, window_cells(facts, settings))),
        projector=_projector(found.projector_facts) if settings.projector else Bytes(0),
        context=settings,
        draft=_draft(found.draft_facts, settings),
        facts=facts,
    )


def _draft(facts: Facts | None, context: Context) -> Bytes:
    """A draft model gets the same context as its main model, with its own cache types (llama.cpp
    tools/server/server-context.cpp; confirmed by b10068's log).
    """
    if facts is None:
        return Bytes(0)
    own = evolve(context, type_k=context.draft_type_k, type_v=context.draft_type_v, projector=False)
    caches = kv_bytes(facts, own) + state_bytes(facts, own.sequences)
    return Bytes(facts.weights + caches + compute_bytes(facts, own, window_cells(facts, own)))


def _adapters(found: Found) -> int:
    names = {path.name for path in found.adapters}
    return sum(stamp.size for stamp in found.files if stamp.path.name in names)


def _projector(facts: Facts | None) -> Bytes:
    """Its tensors, plus one image: for each patch, both halves of a feed-forward layer and four rows.

    Not compared with a real engine; for gemma3's (896 pixels, 4096 patches) it gives 207 MiB.
    """
    if facts is None:
        return Bytes(0)
    patch = max(number(facts, "vision.patch_size"), 1)
    pixels = number(facts, "vision.image_size")
    row = 2 * number(facts, "vision.feed_forward_length") + 4 * number(facts, "vision.embedding_length")
    return Bytes(facts.weights + 4 * ((pixels // patch) ** 2 * row + 3 * pixels**2))
