"""Conversations: what an engine has of them while it runs, and what of that the disk keeps while it doesn't.

An engine computes of each prompt only what is new to it. For one that has just been loaded that is all but what was
restored. What is saved and restored, and within which limits, is as in llmsup's prompt cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from attrs import Factory, define, evolve, frozen

from llmsup.config.schema import GiB
from tools.simulate_machine import Model, Request, Talk

PAUSE = 1800.0
"""Seconds after which a client begins another conversation."""

SLOTS = 4
"""How many conversations of an engine are saved and restored: those in its slots. (llama-server has four by itself.
The others that it has are in its cache in memory, which can't be asked for them.)"""

MIN_TOKENS = 512
"""Shorter ones aren't saved."""

BEFORE_STOP, RESTORING = 5.0, 5.0
"""Seconds that saving may take before an unload, and after which nothing more is restored at a load."""

IDLE, WHILE_IDLE, IDLE_SAVE = 30.0, 10.0, 2.0
"""Seconds of idleness after which an engine's conversations are saved, how long that may take, and one of them."""

DISK, WRITES, IDLE_SHARE = 20 * GiB, 64 * GiB, 0.5
"""Bytes that are kept, bytes that are written in a day (no trace is longer), and the share of those while idle."""

SLOWEST = 1e9
"""Bytes a second at which a disk is expected to write before it has been seen to."""


@frozen
class Held:
    """What there is of one client's conversation: its number, and its length in tokens."""

    talk: int
    tokens: int


def with_talks(requests: Iterable[Request], models: Mapping[str, Model]) -> Iterator[Request]:
    """Add to requests, in order, what their prompts have in common with the same client's last one."""
    last: dict[tuple[str, str], Request] = {}
    for request in requests:
        if (talk := models[request.model].talk) is None:
            yield request
            continue
        before = last.get((request.model, request.client))
        if before is None:
            now = evolve(request, talk=1, tokens=talk.system + talk.turn)
        elif request.time - before.time < PAUSE and before.tokens + talk.turn <= talk.most:
            now = evolve(request, talk=before.talk, shared=before.tokens, tokens=before.tokens + talk.turn)
        else:
            now = evolve(request, talk=before.talk + 1, shared=talk.system, tokens=talk.system + talk.turn)
        last[request.model, request.client] = now
        yield now


def again(request: Request, held: Held | None, talk: Talk | None) -> int:
    """How many tokens of a prompt have to be computed again by an engine that has this of the client's conversation."""
    if held is None or talk is None:
        return request.shared
    common = request.shared if held.talk == request.talk else talk.system
    return max(request.shared - min(common, held.tokens), 0)


@define(eq=False)
class Shelf:
    """The saved conversations, by model and client; the least recently used come first.

    Attributes:
        rate: Bytes a second that the disk reads and writes.
        expects: The same, as far as it is known.
        writes: Bytes that may be written in all.
        written: Bytes.
    """

    rate: float
    expects: float = SLOWEST
    writes: int = WRITES
    saved: dict[tuple[str, str], tuple[Held, int]] = Factory(dict)
    written: int = 0

    def save(self, model: Model, held: Mapping[str, Held], *, idle: bool = False) -> float:
        """Save what an engine has.

        Args:
            held: By client, the most recently used last.
            idle: Nothing is about to end.

        Returns:
            How many seconds that takes.
        """
        spent = 0.0
        for client, each in list(held.items())[: -SLOTS - 1 : -1]:
            key, size = (model.name, client), each.tokens * model.token_bytes
            limit = min(spent + IDLE_SAVE, WHILE_IDLE) if idle else BEFORE_STOP
            late = spent + size / self.expects > limit
            if late or self.has(model, client, each) or not self.able(model, each, IDLE_SHARE if idle else 1):
                continue
            self._put(key, each, size)
            self.written += size
            spent += size / self.rate
            self.expects = (self.expects + self.rate) / 2
        return spent

    def has(self, model: Model, client: str, held: Held) -> bool:
        """Whether a conversation is saved as it is now."""
        return (model.name, client) in self.saved and self.saved[model.name, client][0] == held

    def able(self, model: Model, held: Held, share: float = 1) -> bool:
        """Whether a conversation can be saved: it isn't too short or, by what the disk has been seen to do, too long,
        and this share of the day's writes has room for it.
        """
        size = held.tokens * model.token_bytes
        fits = 0 < size <= min(BEFORE_STOP * self.expects, DISK)
        return held.tokens >= MIN_TOKENS and fits and self.written + size <= share * self.writes

    def restore(self, model: Model) -> tuple[float, dict[str, Held]]:
        """Give a loaded engine what is there.

        Returns:
            How many seconds that takes, and what the engine has then, by client, the most recently used last.
        """
        spent, mine = 0.0, [key for key in reversed(self.saved) if key[0] == model.name]
        restored: dict[str, Held] = {}
        for key in mine[:SLOTS]:
            if spent > RESTORING:
                break
            restored[key[1]], size = self.saved[key]
            spent += size / self.rate
        back = dict(reversed(restored.items()))
        for client in back:
            self.saved[model.name, client] = self.saved.pop((model.name, client))
        return spent, back

    def _put(self, key: tuple[str, str], held: Held, size: int) -> None:
        self.saved.pop(key, None)
        self.saved[key] = (held, size)
        while sum(bytes_ for _, bytes_ in self.saved.values()) > DISK:
            del self.saved[next(iter(self.saved))]
