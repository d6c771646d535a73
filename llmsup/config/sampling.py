"""The sampling parameters that a model, its presets and [defaults] may set: llama.cpp's request fields.

Which of them an engine gets at launch and which go into a request's body is decided in `engines.sampling`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from .wording import did_you_mean, got

INF = math.inf


@frozen
class Parameter:
    """The values that one parameter accepts.

    Attributes:
        types: The Python types it accepts; `float` includes integers, and `bool` is never a number.
        low: The smallest number, inclusive.
        high: The largest number, inclusive.
        items: The strings allowed in a list, where an empty tuple allows any. If there are such names, a text may also
            hold them, separated by semicolons. None: its list, if it can have one, doesn't hold strings.
    """

    types: tuple[type, ...]
    low: float = -INF
    high: float = INF
    items: tuple[str, ...] | None = None

    def check(self, value: Any) -> None:
        """Check a value.

        Raises:
            ValueError: The type is wrong or the value is out of range; the message can be shown to the user.
        """
        if type(value) not in self.types and not (float in self.types and type(value) is int):
            wanted = " or ".join(_WORDS[type_] for type_ in self.types)
            raise ValueError(f"expected {wanted}, {got(value)}")
        if isinstance(value, int | float) and not self.low <= value <= self.high:  # false for NaN, too
            bounds = f"{self.low:.10g} to {self.high:.10g}"
            if math.inf in (-self.low, self.high):
                bounds = f"at least {self.low:g}" if self.high == INF else f"at most {self.high:g}"
            raise ValueError(f"must be {bounds}, not {value}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"must be finite, not {value}")
        if self.items is not None:
            self._check_items(value if isinstance(value, list) else value.split(";"), self.items)

    def _check_items(self, items: list[Any], known: tuple[str, ...]) -> None:
        for item in items:
            if type(item) is not str:
                raise ValueError(f"expected strings in the list, {got(item)}")
            if known and item not in known:
                hint = did_you_mean(item, known) or f" (there are: {', '.join(known)})"
                raise ValueError(f"there is no {item!r}{hint}")


_WORDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a table",
}


def _number(low: float = -INF, high: float = INF) -> Parameter:
    return Parameter((float,), low, high)


def _integer(low: float = -INF, high: float = INF) -> Parameter:
    return Parameter((int,), low, high)


_FLAG, _TEXT, _TABLE = (Parameter((type_,)) for type_ in (bool, str, dict))
_LIST, _TEXT_OR_LIST = Parameter((list,), items=()), Parameter((str, list), items=())

# From llama.cpp's common/sampling.cpp, which drops an unknown name with only a line in its log. Names with dashes, and
# the short names, are only understood in flags.
_SAMPLERS = (
    "penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature", "infill", "adaptive_p",
    "top-n-sigma", "top-k", "typical-p", "typical", "typ-p", "typ", "top-p", "nucleus", "min-p", "temp",
)  # fmt: skip

PARAMETERS: Mapping[str, Parameter] = {
    "top_n_sigma": _number(),  # below 0 = off
    "top_k": _integer(-1),  # 0 = off
    "top_p": _number(0, 1),
    "min_p": _number(0, 1),
    "typical_p": _number(0, 1),
    "temperature": _number(0),
    "dynatemp_range": _number(0),
    "dynatemp_exponent": _number(0),
    "xtc_probability": _number(0, 1),
    "xtc_threshold": _number(0, 1),
    "dry_multiplier": _number(0),
    "dry_base": _number(0),
    "dry_allowed_length": _integer(0),
    "dry_penalty_last_n": _integer(-1),  # -1 = the whole context
    "dry_sequence_breakers": _LIST,
    "repeat_last_n": _integer(-1),  # -1 = the whole context
    "repeat_penalty": _number(0),
    "presence_penalty": _number(),
    "frequency_penalty": _number(),
    "mirostat": _integer(0, 2),
    "mirostat_eta": _number(0),
    "mirostat_tau": _number(0),
    "adaptive_target": _number(high=1),  # below 0 = off
    "adaptive_decay": _number(0, 0.99),
    "samplers": Parameter((str, list), items=_SAMPLERS),
    "seed": _integer(-1, 2**32 - 1),  # -1 = a new one each time
    "n_predict": _integer(-1),  # -1 = no limit
    "max_tokens": _integer(-1),
    "ignore_eos": _FLAG,
    "backend_sampling": _FLAG,
    "logit_bias": Parameter((list, dict)),
    "grammar": _TEXT,
    "json_schema": _TABLE,
    "stop": _TEXT_OR_LIST,
    "n_probs": _integer(0),
    "min_keep": _integer(0),
    "cache_prompt": _FLAG,
    "chat_template_kwargs": _TABLE,
    "reasoning_format": _TEXT,
}

# Names from other programs and from llama.cpp's own flags, too far off for the spelling check to suggest.
_OTHER_NAMES = {
    "temp": "temperature",
    "typ_p": "typical_p",
    "typical": "typical_p",
    "nsigma": "top_n_sigma",
    "repetition_penalty": "repeat_penalty",
    "rep_pen": "repeat_penalty",
    "dynatemp_exp": "dynatemp_exponent",
    "mirostat_lr": "mirostat_eta",
    "mirostat_ent": "mirostat_tau",
    "predict": "n_predict",
    "max_new_tokens": "n_predict",
    "max_completion_tokens": "max_tokens",
}


def unknown_parameter(name: str) -> str:
    """Word the mistake for a parameter that llama.cpp would silently ignore."""
    other = _OTHER_NAMES.get(name.casefold().replace("-", "_"))
    hint = f" (did you mean {other!r}?)" if other else did_you_mean(name, PARAMETERS)
    return f"unknown sampling parameter {name!r}{hint}"
