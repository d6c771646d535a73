"""The spellings of llama-server's flags: which of them mean the same flag."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

# One flag a line, its current spelling first. From the `--help` of llama.cpp's builds since 2023, and from what people
# write by analogy with a sampler's or a request field's name.
_FAMILIES = tuple(
    tuple(line.split())
    for line in """
    --model -m
    --host
    --port
    --api-key
    --alias -a
    --mmproj -mm
    --model-vocoder -mv
    --ctx-size -c
    --parallel -np
    --n-gpu-layers --gpu-layers -ngl
    --threads -t
    --threads-batch -tb
    --batch-size -b
    --ubatch-size -ub
    --cache-ram -cram
    --cache-type-k -ctk
    --cache-type-v -ctv
    --flash-attn -fa
    --load-mode -lm
    --no-kv-offload -nkvo
    --kv-offload -kvo
    --kv-unified -kvu
    --no-kv-unified -no-kvu
    --cont-batching -cb
    --no-cont-batching -nocb
    --ctx-checkpoints -ctxcp --swa-checkpoints
    --split-mode -sm
    --tensor-split -ts
    --main-gpu -mg
    --device -dev
    --override-tensor -ot
    --cpu-moe -cmoe
    --n-cpu-moe -ncmoe
    --fit -fit
    --embeddings --embedding
    --reranking --rerank
    --no-ui --no-webui
    --ui --webui
    --ui-config --webui-config
    --verbosity --log-verbosity -lv
    --verbose --log-verbose -v
    --defrag-thold -dt
    --reasoning -rea
    --slot-prompt-similarity -sps
    --hf-repo -hfr -hf
    --hf-file -hff
    --model-url -mu
    --docker-repo -dr
    --predict --n-predict -n
    --seed -s
    --temperature --temp
    --top-n-sigma --top-nsigma
    --typical-p --typical --typ-p --typ
    --dynatemp-exp --dynatemp-exponent
    --mirostat-lr --mirostat-eta
    --mirostat-ent --mirostat-tau
    --repeat-penalty --repetition-penalty
    --sampler-seq --sampling-seq
    --dry-sequence-breaker --dry-sequence-breakers
    --logit-bias -l
    --json-schema -j
    --reverse-prompt -r
    --backend-sampling -bs
    --spec-draft-model --model-draft -md
    --spec-draft-n-max --draft-max --draft-n --draft
    --spec-draft-n-min --draft-min --draft-n-min
    --spec-draft-p-min --draft-p-min
    --spec-draft-p-split --draft-p-split
    --spec-draft-ngl --gpu-layers-draft --n-gpu-layers-draft -ngld
    --spec-draft-device --device-draft -devd
    --spec-draft-threads --threads-draft -td
    --spec-draft-threads-batch --threads-batch-draft -tbd
    --spec-draft-type-k --cache-type-k-draft -ctkd
    --spec-draft-type-v --cache-type-v-draft -ctvd
    --spec-draft-override-tensor --override-tensor-draft -otd
    --spec-draft-cpu-moe --cpu-moe-draft -cmoed
    --spec-draft-n-cpu-moe --n-cpu-moe-draft -ncmoed
    """.strip().splitlines()
)
_FAMILY: Mapping[str, tuple[str, ...]] = {flag: family for family in _FAMILIES for flag in family}
_FLAG = re.compile(r"--?[A-Za-z][\w.-]*")


def spellings(flag: str) -> tuple[str, ...]:
    """Return all spellings of a flag, the current long one first; just the flag itself if no other is known."""
    return _FAMILY.get(flag, (flag,))


def flag_in(word: str) -> str:
    """Return the flag in a word, with dashes for underscores (llama-server accepts both), or "" if it is not a flag."""
    return re.sub(r"(?<=\w)_", "-", word) if _FLAG.fullmatch(word) else ""


def flags_of(args: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the flags of a command line in their current long spelling, each with its value.

    The value is the word that follows ("" after the last), whether or not the flag takes one. `--flag=value` is
    recognised, too.
    """
    for word, after in pairwise((*args, "")):
        flag, equals, value = word.partition("=")
        if spelt := flag_in(flag):
            yield canonical(spelt), value if equals else after


def canonical(flag: str) -> str:
    """Return the current long spelling of a flag, or the flag itself if no other is known."""
    return spellings(flag)[0]
