"""llama-swap's macros: `${name}` in a string is replaced by its definition in the file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...config.wording import did_you_mean
from .values import text

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_KEPT = ("PORT", "PID")
_LONGEST = 1 << 15
_ROUNDS = 20


def expand(value: str, macros: Mapping[str, str], model: str = "") -> str:
    """Replace the macros in a string, including those within macros.

    `${env.X}` becomes `${env:X}`, which llmsup's own config understands, and `${MODEL_ID}` the model's name; `${PORT}`
    stays for the model's start.

    Raises:
        ValueError: A macro is unknown or circular; the message is a clause.
    """

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        if name in _KEPT or name.startswith("env:"):
            return match[0]
        if name.startswith("env."):
            return f"${{env:{name[4:]}}}"
        if name == "MODEL_ID" and model:
            return model
        if name not in macros:
            raise ValueError(f"${{{name}}} is not a macro of this file{did_you_mean(name, macros)}")
        return macros[name]

    for _ in range(_ROUNDS):
        new = _REFERENCE.sub(replaced, value)
        if new == value:
            return value
        if len(new) > _LONGEST:
            raise ValueError("its macros make it too long")
        value = new
    raise ValueError("its macros are circular")


def expand_all(value: Any, macros: Mapping[str, str], model: str) -> Any:
    """`expand` in every string of a value, at any depth.

    Raises:
        ValueError: As `expand`.
    """
    if isinstance(value, str):
        return expand(value, macros, model)
    if isinstance(value, list):
        return [expand_all(item, macros, model) for item in value]
    if isinstance(value, dict):
        return {expand(key, macros, model): expand_all(item, macros, model) for key, item in value.items()}
    return value


def read(value: Any) -> dict[str, str]:
    """The macros of a `macros` table; only scalars count."""
    table = value if isinstance(value, dict) else {}
    return {name: text(item) for name, item in table.items() if not isinstance(item, dict | list)}
