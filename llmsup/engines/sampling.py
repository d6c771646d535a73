"""How each sampling field is spelled and written: as a request field, and as a flag at launch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from attrs import frozen

from ..config.sampling import PARAMETERS

Form = Literal["value", "switch", "names", "repeated", "json"]


@frozen
class Field:
    """One sampling field and the flags that set its default, the newest spelling first.

    Attributes:
        flags: The possible spellings; empty if only a request can carry the field.
        form: How the value is written: unchanged, as the presence of the flag, as names joined by ";", as the flag
            once per element, or as JSON.
        off: The flag that turns off a switch that is on by default.
    """

    flags: tuple[str, ...] = ()
    form: Form = "value"
    off: tuple[str, ...] = ()


# By the names that requests use. A field that is not listed is passed on as a request field, so that those which
# llama.cpp adds later work without a change here.
FIELDS: Mapping[str, Field] = {
    "samplers": Field(("--samplers",), "names"),
    "seed": Field(("--seed", "-s")),
    "temperature": Field(("--temperature", "--temp")),
    "dynatemp_range": Field(("--dynatemp-range",)),
    "dynatemp_exponent": Field(("--dynatemp-exponent", "--dynatemp-exp")),
    "top_n_sigma": Field(("--top-n-sigma", "--top-nsigma")),
    "top_k": Field(("--top-k",)),
    "top_p": Field(("--top-p",)),
    "min_p": Field(("--min-p",)),
    "typical_p": Field(("--typical-p", "--typical")),
    "xtc_probability": Field(("--xtc-probability",)),
    "xtc_threshold": Field(("--xtc-threshold",)),
    "dry_multiplier": Field(("--dry-multiplier",)),
    "dry_base": Field(("--dry-base",)),
    "dry_allowed_length": Field(("--dry-allowed-length",)),
    "dry_penalty_last_n": Field(("--dry-penalty-last-n",)),
    "dry_sequence_breakers": Field(("--dry-sequence-breaker",), "repeated"),
    "repeat_last_n": Field(("--repeat-last-n",)),
    "repeat_penalty": Field(("--repeat-penalty",)),
    "presence_penalty": Field(("--presence-penalty",)),
    "frequency_penalty": Field(("--frequency-penalty",)),
    "mirostat": Field(("--mirostat",)),
    "mirostat_eta": Field(("--mirostat-eta", "--mirostat-lr")),
    "mirostat_tau": Field(("--mirostat-tau", "--mirostat-ent")),
    "adaptive_target": Field(("--adaptive-target",)),
    "adaptive_decay": Field(("--adaptive-decay",)),
    "ignore_eos": Field(("--ignore-eos",), "switch"),
    "backend_sampling": Field(("--backend-sampling", "-bs"), "switch"),
    "cache_prompt": Field(("--cache-prompt",), "switch", ("--no-cache-prompt",)),
    "reasoning_format": Field(("--reasoning-format",)),
    "grammar": Field(("--grammar",)),
    "json_schema": Field(("--json-schema", "-j"), "json"),
    # The flag's members are merged with a request's; a request field would be replaced as a whole.
    "chat_template_kwargs": Field(("--chat-template-kwargs",), "json"),
    # --predict and --logit-bias exist but are not used: --predict also caps what a request may ask for, and
    # --logit-bias has a value syntax unlike the request field's.
    "max_tokens": Field(),
    "logit_bias": Field(),
    "stop": Field(),
}


FIELD_OF: Mapping[str, str] = {
    **{flag: name for name, field in FIELDS.items() for flag in (*field.flags, *field.off)},
    "--sampler-seq": "samplers",
    "--logit-bias": "logit_bias",
    "--predict": "max_tokens",
    "--reverse-prompt": "stop",
}
"""The field whose default a flag sets, by flag."""

WHOLE_CONTEXT = 1 << 18
"""Stands for "the whole context" in a window of last tokens. llama.cpp accepted -1 for that until the summer of 2026;
later builds refuse it (tools/server/server-schema.cpp: 0 and up). All accept a window larger than the context, at four
bytes a token.
"""

_WINDOWS = ("repeat_last_n", "dry_penalty_last_n")

# common/sampling.cpp: the samplers' letters in --sampler-seq
_LETTERS = {
    "e": "penalties",
    "d": "dry",
    "s": "top_n_sigma",
    "k": "top_k",
    "y": "typ_p",
    "p": "top_p",
    "m": "min_p",
    "i": "infill",
    "x": "xtc",
    "t": "temperature",
    "a": "adaptive_p",
}
_BIAS = re.compile(r"(\d+)([+-](?:\d+(?:\.\d*)?|\.\d+))")


def request_field(name: str) -> str:
    """Return the name under which to write a sampling field into a client's body.

    llama.cpp has three names for one limit, and `n_predict` would override a client's `max_tokens`; `max_tokens` has
    the lowest precedence of them.
    """
    return "max_tokens" if name == "n_predict" else name


def request_fields(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole sampling table as request fields, with values as a request body needs them."""
    fields = {request_field(name): value for name, value in sampling.items()}
    return {field: body_value(field, value) for field, value in fields.items()}


def engine_value(field: str, value: Any) -> Any:
    """Return a field's value in the form that every build of llama.cpp accepts."""
    return WHOLE_CONTEXT if value == -1 and field in _WINDOWS else value


def body_value(field: str, value: Any) -> Any:
    """Return a field's value in the form that a request body needs."""
    value = engine_value(field, value)
    match FIELDS.get(field, Field()).form:
        case "names" if isinstance(value, str):
            # In a body, a string means one-letter abbreviations; names need an array.
            return value.split(";")
        case "repeated" if isinstance(value, str):
            return [value]
        case "repeated" if not value:
            return ["\0"]  # a body's empty list is refused; NUL never occurs in text
        case "json" if isinstance(value, str):
            return json.loads(value)
    return value


def flag_words(flag: str, form: Form, value: Any) -> tuple[str, ...]:
    """Return the words of a command line that give a flag this value, never as a single `--flag=value` word."""
    match form:
        case "switch":
            return (flag,)
        case "names":
            return (flag, value if isinstance(value, str) else ";".join(value))
        case "repeated":
            each = [value] if isinstance(value, str) else value or ["none"]
            return tuple(word for one in each for word in (flag, one))
        case "json":
            return (flag, value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))
    return (flag, str(value))


def read_flag(flag: str, word: str, before: Any = None) -> Any:
    """Return the value of the field that a flag of `FIELD_OF` sets, parsed from the word after it.

    Args:
        before: The field's value from earlier flags, as some can be given several times.

    Raises:
        ValueError: The word is not a valid value.
    """
    name = FIELD_OF[flag]
    match name, FIELDS.get(name, Field()).form:
        case _, "switch":
            return flag not in FIELDS[name].off
        case "samplers", _:
            return [_LETTERS[letter] for letter in word if letter in _LETTERS] if "seq" in flag else word.split(";")
        case "logit_bias", _:
            if not (bias := _BIAS.fullmatch(word)):
                raise ValueError(f"{word!r} is not TOKEN+BIAS")
            return [*(before or []), [int(bias[1]), float(bias[2])]]
        case "dry_sequence_breakers", _ if word == "none":
            return []
        case "dry_sequence_breakers" | "stop", _:
            return [*(before or []), word]
        case _, "json":
            return json.loads(word)
    types = PARAMETERS[name].types
    return word if str in types else int(word) if int in types else float(word)
