"""What the gateway tells of each prompt, and what is told of them to people."""

from __future__ import annotations

import time
from collections import Counter, deque

import msgspec
from attrs import Factory, define, frozen

from ...config.schema import ModelSpec
from ...fleet.fleet import Fleet
from ..body import JsonBody, Turn
from ..metering import Meter
from .chain import Chains, Conversation, Match
from .computed import WORTH_TOKENS, Since, why_computed
from .links import SETTINGS, Prompt
from .pieces import Steps
from .reader import read_prompt
from .verdict import Break, find_break, recurring

DEBUG = b"x-llmsup-debug"
"""A request with this header and the value 1 gets the next one in its answer."""

HEADER = b"X-Llmsup-Prompt"

KEPT = 20
"""Prompts that were computed again, of each model, that are remembered."""

_PROMPT = frozenset(
    ("messages", "prompt", "input", "system", "instructions", "tools", "cache_prompt", "id_slot", *SETTINGS)
)
"""Members of a body whose edits change its prompt."""


@frozen(kw_only=True)
class Told:
    """A prompt that was computed again.

    Attributes:
        at: Unix seconds.
        client: Whose it was.
        found: Where it broke, and why.
        reason: Why, with what is known from the times before.
        prompt_tokens: How many tokens it had; None if the engine didn't tell.
        cached_tokens: How many of them were not computed; None likewise.
    """

    at: float
    client: str
    found: Break
    reason: str
    prompt_tokens: int | None
    cached_tokens: int | None


@define(eq=False)
class OfModel:
    """One model's prompts.

    Attributes:
        last: The last that were computed again, oldest first.
        kinds: How many there were, by kind.
    """

    chains: Chains = Factory(Chains)
    last: deque[Told] = Factory(lambda: deque(maxlen=KEPT))
    kinds: Counter[str] = Factory(Counter)
    _edits: tuple[ModelSpec | None, bytes] = (None, b"")

    def edits(self, spec: ModelSpec) -> bytes:
        """Stands for what the config changes in prompts; b"" for nothing."""
        if self._edits[0] is not spec:
            changes = {path: value for path, value in spec.request.set.items() if path.split(".")[0] in _PROMPT}
            drops = [path for path in spec.request.strip if path.split(".")[0] in _PROMPT]
            self._edits = (spec, msgspec.json.encode([changes, drops]) if changes or drops else b"")
        return self._edits[1]


class Prompts:
    """The prompts of all models."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._models: dict[str, OfModel] = {}

    def of(self, name: str) -> OfModel:
        """A model's."""
        found = self._models.get(name)
        if found is None:
            there = (*self._fleet.models, *self._fleet.elsewhere, *self._fleet.addressed)
            self._models = {each: known for each, known in self._models.items() if each in there}
            found = self._models[name] = OfModel()
        return found

    async def read(self, spec: ModelSpec, body: JsonBody, client: str, shown: str, turn: Turn) -> Trace | None:
        """Look at a request's prompt; None if there is none that is worth it. Large ones are read in turns.

        Args:
            client: Tells this client from others.
            shown: What it is called before people: not a hash of its key, from which a weak one could be guessed.
        """
        of = self.of(spec.name)
        steps = read_prompt(body, of.edits(spec), of.chains.guesses(client), of.chains.known)
        prompt = await _finished(steps, turn)
        if prompt is None or not prompt.links:
            return None
        match = of.chains.match(prompt)
        found = None if match is None else find_break(match, prompt, client)
        return Trace(self._fleet, spec.name, of, client, shown, prompt, match, found)


async def _finished(steps: Steps[Prompt | None], turn: Turn) -> Prompt | None:
    try:
        next(steps)
        while True:
            async with turn:  # fair, and a checkpoint
                next(steps)
    except StopIteration as end:
        prompt: Prompt | None = end.value
        return prompt


class Trace:
    """One request's prompt.

    Attributes:
        found: Where it parts from the one before, and why; None: nowhere.
    """

    def __init__(
        self,
        fleet: Fleet,
        name: str,
        of: OfModel,
        client: str,
        shown: str,
        prompt: Prompt,
        match: Match | None,
        found: Break | None,
    ) -> None:
        self._fleet = fleet
        self._name = name
        self._of = of
        self._client = client
        self._shown = shown
        self._prompt = prompt
        self._match = match
        self.found = found
        self._went_on: Conversation | None = None
        self._turn = 0
        self._kept: dict[str, int] | None = None
        self._expected: int | None = None
        self._loads = 0
        self._since = Since()
        self._times = 0

    @property
    def in_short(self) -> str:
        """What is known before the engine answers, in a line of ASCII."""
        if self.found is not None:
            return f"{self.found.kind}: {recurring(self.found, self._times)}"
        return "goes on" if self._match is not None and self._match.goes_on else "new"

    def remembered_by(self, where: str) -> int:
        """How many of its tokens, about, a server should have in its prompt cache; "" is the engine here."""
        if not self._prompt.cached:
            return 0
        if self._kept is None:
            self._kept = self._of.chains.kept(self._prompt)
        return self._kept.get(where, 0)

    def sent(self, where: str = "") -> None:
        """Its engine, `where` that is a peer's, has begun to answer, or will soon: it is the newest prompt."""
        match, chains = self._match, self._of.chains
        before = None if match is None or not (match.related or match.goes_on or self.found) else match.conversation
        if before is not None:
            others = [each for each in chains.others_since(before) if each.where == where]
            model = self._fleet.models.get(self._name)
            needs = None if model is None else model.estimate
            self._since = Since(
                others=len(others),
                foreign=any(each.client != self._client for each in others),
                slots=None if needs is None or where else needs.context.sequences,
                thought=before.thought,
                moved=""
                if before.where == where
                else f"{_called(where)} has it now, and {_called(before.where)} had it",
            )
            self._expected, self._loads = before.tokens, before.loads
            if self.found is None:
                before.broke, before.times = None, 0
            else:
                before.times = before.times + 1 if before.broke == self.found.place else 1
                before.broke, self._times = self.found.place, before.times
        self._went_on = chains.went_on(self._prompt, self._client, before)
        self._went_on.where = where
        self._turn = chains.turns

    def ended(self, meter: Meter | None, where: str = "") -> None:
        """Its answer is over, and `meter` has read it; None: that wasn't worth while. `where`: which peer it was."""
        conversation, model = self._went_on, self._fleet.models.get(self._name)
        assert conversation is not None
        loads = 0 if model is None else model.history.loads
        tokens, cached = (None, None) if meter is None else (meter.tokens, meter.cached)
        count = None if tokens is None else tokens[0]
        if conversation.turn == self._turn:
            conversation.tokens, conversation.loads, conversation.where = count, loads, where
            conversation.thought = meter is not None and meter.thought
        found = self.found
        if count is not None and cached is not None and self._expected is not None:
            again = min(count, self._expected) - cached
            if found is not None:
                found = found if again >= WORTH_TOKENS // 2 else None  # the engine had it, whatever we thought
            elif again >= WORTH_TOKENS and self._match is not None and self._match.goes_on:
                since = self._since
                if loads != self._loads and model is not None and not (where or since.moved):
                    since = Since(
                        loaded=next((e.reason for e in reversed(model.history.entries) if e.what == "unload"), "?")
                    )
                found = why_computed(self._match, self._prompt, since)
        if found is not None:
            self._tell(found, count, cached)

    def _tell(self, found: Break, count: int | None, cached: int | None) -> None:
        reason = recurring(found, self._times)
        told = Told(
            at=round(time.time(), 3),
            client=self._shown,
            found=found,
            reason=reason,
            prompt_tokens=count,
            cached_tokens=cached,
        )
        self._of.last.append(told)
        self._of.kinds[found.kind] += 1
        self._fleet.events.write("prompt", model=self._name, **as_json(told))


def _called(where: str) -> str:
    return where or "the engine here"


def as_json(told: Told) -> dict[str, object]:
    """What is told, for events and the control API."""
    return {
        "client": told.client,
        "cause": told.found.kind,
        "reason": told.reason,
        "message": told.found.message,
        "role": told.found.role or None,
        "byte": told.found.byte,
        "prompt_tokens": told.prompt_tokens,
        "cached_tokens": told.cached_tokens,
    }
