"""Whether a model's conversations can be saved and given back, going by its file, its settings and its kind of engine.

What the running engine itself can do is found out by asking it (`slots`); how well it worked, by counting misses.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from ..catalog.entry import Entry
from ..config.flag_names import flags_of
from ..engines.registry import Kinds
from ..memory.cost.header import layer_count
from ..memory.cost.recurrent import recurrent_layers
from ..memory.cost.sliding_window import windows

Word = Literal["yes", "exact", "no"]

MISSES = 2
"""How many misses in a row switch it off for a model."""


@frozen
class Ability:
    """Whether it can.

    Attributes:
        word: "yes"; "exact": only what continues exactly where it was saved gains by it; or "no".
        reason: Why it isn't "yes", a clause.
    """

    word: Word
    reason: str = ""

    def __bool__(self) -> bool:
        return self.word != "no"


ABLE = Ability("yes")
_OWN = "--slot-save-path"
_FLAGS = {
    _OWN: f"its args set {_OWN}, so its slots are left alone",
    "--no-slots": "its args switch /slots off (--no-slots)",
    "--no-cache-prompt": "its args switch the reuse of prompts off (--no-cache-prompt)",
    "--spec-draft-model": "the state of its draft model can't be saved",
    "--cache-disk": "its engine keeps prompts on the disk by itself (--cache-disk)",
}
_ADAPTERS = "a request may choose among LoRA adapters, and a saved slot doesn't tell which it was computed with"


def ability(entry: Entry, kinds: Kinds) -> Ability:
    """Return whether a model is able by all that is known without its engine."""
    spec, found = entry.spec, entry.found
    kind = next(iter(kinds.of(spec, found)), None)
    if kind is None or not kind.saves_slots or found is None:
        return Ability("no", "llmsup can't tell what the command that starts it does with prompts")
    if (spec.kind or found.facts.kind) != "chat":
        return Ability("no", "it has no conversations")
    given = dict(flags_of(spec.args))
    for flag, why in _FLAGS.items():
        if flag in given:
            return Ability("no", why)
    if found.draft_facts is not None:
        return Ability("no", _FLAGS["--spec-draft-model"])
    if found.adapters or any(flag.startswith("--lora") for flag in given):
        return Ability("no", _ADAPTERS)
    _, layers = layer_count(found.facts)
    if recurrent_layers(found.facts):
        return Ability("exact", "some of its layers keep a state that can't be turned back")
    context = kind.estimate(spec, found)
    window, windowed = windows(found.facts, layers)
    if windowed and not (context and context.swa_full):
        return Ability(
            "no", f'some of its layers see {window} tokens only: args = ["--swa-full"] makes it able, for more memory'
        )
    return ABLE


@frozen
class Trust:
    """How restoring has worked for one model so far.

    Attributes:
        misses: How many times in a row an engine made nothing of a restored slot that fitted.
    """

    misses: int = 0

    @property
    def off(self) -> str:
        """Why it is switched off, a clause; "" if it isn't."""
        return (
            f"{self.misses} times in a row its engine computed anew what had been restored"
            if self.misses >= MISSES
            else ""
        )

    def seen(self, *, hit: bool) -> Trust:
        """After another look at whether it worked."""
        return Trust(0 if hit else self.misses + 1)
