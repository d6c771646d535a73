"""Parameters of requests, by llama.cpp's names and by Ollama's."""

from __future__ import annotations

import json
import shlex
from typing import Any

from ...catalog.ollama.params import IGNORED, NAMES, whole
from ...config.sampling import PARAMETERS, unknown_parameter


def parameter(name: str, text: str) -> dict[str, Any]:
    """Members of a request's body for a parameter and its value, as a user has written them.

    Raises:
        ValueError: It can't be set, or not to that; the message is fit for a person.
    """
    names = members(name)
    ours = names[0]
    value = shlex.split(text) if ours == "stop" else _value(text)
    if int in PARAMETERS[ours].types:
        value = whole(value)
    try:
        PARAMETERS[ours].check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    return dict.fromkeys(names, value)


def members(name: str) -> tuple[str, ...]:
    """The members of a request's body that a parameter is, by any of its names.

    Raises:
        ValueError: It is none, or can't be set in a request; the message is fit for a person.
    """
    if name == "num_ctx":
        raise ValueError("a model's context can't be set for one chat; `ctx_size` in its config sets it")
    if name in IGNORED:
        raise ValueError(f"{name} can't be set for one chat ({IGNORED[name]})")
    ours = NAMES.get(name, name)
    if ours not in PARAMETERS:
        raise ValueError(unknown_parameter(name))
    both = ours in ("n_predict", "max_tokens")  # engines that aren't llama.cpp know the latter alone
    return ("n_predict", "max_tokens") if both else (ours,)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
