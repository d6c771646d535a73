"""The spellings of llama-server's flags: which of them are one and the same.

It does not know which build has which, nor what the flags do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

# Spellings of one flag, a line each, the present one first; from the `--help` of llama.cpp's builds since 2023 and from
# those that people write after the sampler's or the request field's name.
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
    """All spellings of a flag, the present long one first; only itself where no other is known."""
    return _FAMILY.get(flag, (flag,))


def flag_in(word: str) -> str:
    """The flag that a word is, with dashes for underscores, as llama-server takes both; "" if it is none."""
    return re.sub(r"(?<=\w)_", "-", word) if _FLAG.fullmatch(word) else ""


def flags_of(args: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The flags of a command line by their present long spelling, each with the word behind it ("" behind the last),
    which is its value if it takes one. `--flag=value` is one word, and the same.
    """
    for word, after in pairwise((*args, "")):
        flag, equals, value = word.partition("=")
        if spelt := flag_in(flag):
            yield canonical(spelt), value if equals else after


def canonical(flag: str) -> str:
    """The present long spelling of a flag, or the flag itself where it is in no family."""
    return spellings(flag)[0]
