"""Which models of a file with mistakes can still be checked further.

Left out are those for which a check would only report consequences of the mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable

from .consistency import Draft
from .engine_words import AUTO
from .schema import ModelSpec
from .tables import Read
from .wording import Place

_DECISIVE = frozenset({"path", "command", "engine", "kind"})
"""The keys that decide which model a table is about."""


def sound(draft: Draft, between: Iterable[Place]) -> list[str]:
    """Return the names of the models that can be checked, in the file's order.

    Args:
        between: The places where keys contradict each other.
    """
    wrong = {tuple(place[:2]) for place in between if place[2:3] not in (("aliases",), ("presets",))}
    wrong |= {("engines", name) for name, engine in draft.engines.items() if engine.bad}
    return [
        name
        for name, model in draft.models.items()
        if ("models", name) not in wrong and _is_itself(model) and not _depends(draft, model, wrong)
    ]


def _is_itself(model: Read[ModelSpec]) -> bool:
    """Whether we know which model this is; if no key says so, one with a mistake was meant to."""
    return not (model.bad & _DECISIVE) and bool(model.value.path or model.value.command or not model.bad)


def _depends(draft: Draft, model: Read[ModelSpec], wrong: set[Place]) -> bool:
    """Whether a mistake elsewhere in the file affects the model."""
    spec = model.value
    if spec.command:
        return False
    inherited = "engine" not in model.given
    engine = draft.defaults.value.engine if inherited else spec.engine
    # for "auto" any kind may be chosen, with the program that its own table names
    choices = [word.name for word in draft.words.values() if word.own_table] if engine == AUTO else [engine]
    if any(("engines", name) in wrong for name in choices):
        return True
    if inherited and ("engine" in draft.defaults.bad or ("defaults", "engine") in wrong):
        return True
    return bool({"roots", "ollama"} & draft.catalog.bad) and not spec.path.startswith("/")
