"""How each sampling field is spelled: as a request field, and as a flag at launch.

It does not know which flags an engine has; `flags` asks a dialect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from attrs import frozen

Form = Literal["value", "switch", "names", "repeated", "json"]


@frozen
class Field:
    """One sampling field and the flags that set its default, the newest spelling first.

    Attributes:
        flags: Candidate spellings; none: only a request can carry it.
        form: How the value is written: as it is, as the flag's mere presence, as names joined by ";",
            as the flag once per element, or as JSON.
        off: For a switch that is on by default: what turns it off.
    """

    flags: tuple[str, ...] = ()
    form: Form = "value"
    off: tuple[str, ...] = ()


# The keys are the names that requests use. A field that is not here is handed on as a request field, so that
# one which llama.cpp adds tomorrow works today.
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
    # The flag's members are merged with a request's own; a request field would be replaced as a whole.
    "chat_template_kwargs": Field(("--chat-template-kwargs",), "json"),
    # No flags for these, though --predict and --logit-bias exist: --predict also caps what a request may ask
    # for, and --logit-bias spells its value in a language of its own.
    "max_tokens": Field(),
    "logit_bias": Field(),
    "stop": Field(),
}


def request_field(name: str) -> str:
    """The name under which a sampling field is written into a body that may have fields of its own.

    llama.cpp has three names for one limit, and `n_predict` would beat a client's own `max_tokens`; `max_tokens`
    is the weakest of them.
    """
    return "max_tokens" if name == "n_predict" else name


def request_fields(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """A whole sampling table as request fields, with values as a request body wants them."""
    fields = {request_field(name): value for name, value in sampling.items()}
    return {field: body_value(field, value) for field, value in fields.items()}


def body_value(field: str, value: Any) -> Any:
    """A field's value as it stands in a request body."""
    match FIELDS.get(field, Field()).form:
        case "names" if isinstance(value, str):
            # In a body a string is a list of one-letter abbreviations; the names want an array.
            return value.split(";")
        case "repeated" if isinstance(value, str):
            return [value]
        case "json" if isinstance(value, str):
            return json.loads(value)
    return value


def flag_words(flag: str, form: Form, value: Any) -> tuple[str, ...]:
    """The words of a command line that give a flag this value, never as one `--flag=value` word."""
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
