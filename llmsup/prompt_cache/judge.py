"""Whether what was restored to an engine was of use: told by what its answers say they had not to compute."""

from __future__ import annotations

from collections import deque

from .cache import PromptCache
from .saved import Saved
from .state_file import Tokens, shared

ENOUGH = 256
"""Tokens of a prompt from which on the time it took tells how long one takes."""


class Judge:
    """Watches the answers of one engine.

    Attributes:
        cost: Seconds that restoring took.
    """

    def __init__(self, cache: PromptCache, model: str) -> None:
        self._cache = cache
        self._model = model
        self._restored: dict[int, Saved] = {}  # by slot; those that are not judged yet
        self._answers: deque[int] = deque(maxlen=256)  # how many tokens each had not to compute
        self.cost = 0.0

    @property
    def listens(self) -> bool:
        """Whether it wants to be told of answers."""
        return bool(self._restored) or self._cache.of(self._model).per_token is None

    def restored(self, slot: int, saved: Saved) -> None:
        """A slot was restored."""
        self._restored[slot] = saved

    def answered(self, computed: int, cached: int, seconds: float | None) -> None:
        """See `Keeper.answered`."""
        tally = self._cache.of(self._model)
        if computed >= ENOUGH and seconds:
            tally.per_token = seconds / computed
        if not self._restored:
            return
        self._answers.append(cached)
        slots = sorted((saved.tokens, slot) for slot, saved in self._restored.items() if _use(cached, saved.tokens))
        if not slots or cached < self._cache.spec.min_tokens / 2:
            return
        del self._restored[slots[0][1]]
        tally.hits, tally.tokens = tally.hits + 1, tally.tokens + cached
        tally.seconds += max(cached * (tally.per_token or 0.0) - self.cost, 0.0)
        tally.trust, self.cost = tally.trust.seen(hit=True), 0.0

    def saw(self, slot: int, old: Tokens[int] | None, content: Tokens[int] | None) -> bool:
        """A slot holds `content` now, where it was restored with `old` if it was; None where that isn't known.

        Returns whether that was of no use though it fitted.
        """
        restored = self._restored.pop(slot, None)
        if restored is None or old is None or content is None or not self._answers:
            return False
        fitted = shared(old, content)
        if fitted < self._cache.spec.min_tokens or any(_use(each, restored.tokens, fitted) for each in self._answers):
            return False
        tally = self._cache.of(self._model)
        tally.misses, tally.trust = tally.misses + 1, tally.trust.seen(hit=False)
        return True


def _use(cached: int, tokens: int, fitted: int | None = None) -> bool:
    """Whether an answer for which so many tokens were cached may have had them from a slot that was restored with
    `tokens`, of which `fitted` fitted. A conversation's second answer has more: all of the first turn.
    """
    return (tokens if fitted is None else fitted) / 2 <= cached <= tokens
