"""The last conversations of one model, as chains of hashes, and which of them a new prompt goes on with."""

from __future__ import annotations

from collections import OrderedDict
from weakref import WeakValueDictionary

from attrs import define, frozen

from .links import Link, Prompt, alike

CONVERSATIONS = 32
"""Conversations that are kept for each model."""

ALL_LINKS = 4096
"""Links that all conversations of a model have together at most: a few megabytes with their blocks, and usually far
less, as conversations share them."""

BYTES_A_TOKEN = 4
"""Of text, about."""

GUESSES = 3
"""A client's last conversations that are tried first for a prompt that goes on."""


@define(eq=False)
class Conversation:
    """What is known of a conversation.

    Attributes:
        number: Counted from 1 as conversations begin.
        client: Whose it is.
        prompt: Its last prompt.
        turn: The number of its last request, counted over all conversations of the model.
        loads: How often the model had been loaded by then.
        tokens: Tokens of that prompt, as the engine told; None if it didn't.
        thought: Whether the engine's answer to it began with reasoning.
        where: Which peer has served it last; "" for an engine here.
        broke: Where its prompts parted the last time: the role, the link and the byte.
        times: How often in a row they have parted just there.
    """

    number: int
    client: str
    prompt: Prompt
    turn: int
    loads: int = 0
    tokens: int | None = None
    thought: bool = False
    where: str = ""
    broke: tuple[str, int | None, int | None] | None = None
    times: int = 0


@frozen(eq=False)
class Match:
    """The conversation that a prompt resembles most.

    Attributes:
        before: Its last prompt until now; the conversation itself will go on.
        same: How many links are the same from the beginning on.
        later: Bytes of the prompt's other links that the conversation has, too.
    """

    conversation: Conversation
    before: Prompt
    same: int
    later: int = 0

    @property
    def related(self) -> bool:
        """They share a message, not only what many conversations begin with."""
        return self.same > self.before.opening

    @property
    def goes_on(self) -> bool:
        """Nothing has changed but the last link, which may be an edited message or an unfinished block."""
        whole = len(self.before.links)
        return self.same == whole or (self.same == whole - 1 and self.related)


class Chains:
    """Those of one model.

    Attributes:
        turns: How many prompts there were.
        conversations: The last ones, by number; those that went on last at the end.
    """

    def __init__(self) -> None:
        self.turns = 0
        self.conversations: OrderedDict[int, Conversation] = OrderedDict()
        self._begun = 0
        self._links: WeakValueDictionary[bytes, Link] = WeakValueDictionary()

    def known(self, digest: bytes) -> Link | None:
        """Find a link that one of them has."""
        return self._links.get(digest)

    def guesses(self, client: str) -> list[Prompt]:
        """The last prompts of a client, the newest first."""
        found: list[Prompt] = []
        for conversation in reversed(self.conversations.values()):
            if conversation.client == client:
                found.append(conversation.prompt)
                if len(found) == GUESSES:
                    break
        return found

    def match(self, prompt: Prompt) -> Match | None:
        """Find the conversation that has most in common with a prompt; None if none has anything.

        What they share at the beginning counts double: that is what an engine can use.
        """
        before, links = None, prompt.links
        for conversation in reversed(self.conversations.values()):
            old = conversation.prompt.links
            if (before is None or len(old) > len(before.prompt.links)) and links[: len(old)] == old:
                before = conversation
        if before is not None:  # the usual case, and a quick one: links are shared, so they are compared by identity
            return Match(before, before.prompt, len(before.prompt.links))
        return self._closest(prompt)

    def _closest(self, prompt: Prompt) -> Match | None:
        best, most, links = None, 0, prompt.links
        weights = {link.digest: link.weight + 1 for link in links}
        for conversation in reversed(self.conversations.values()):
            old = conversation.prompt.links
            same = next((at for at, (a, b) in enumerate(zip(old, links, strict=False)) if a.digest != b.digest), None)
            same = min(len(old), len(links)) if same is None else same
            weight = sum(link.weight + 1 for link in links[:same])
            common = (prompt.digests & conversation.prompt.digests).difference(link.digest for link in links[:same])
            later = sum(weights[each] for each in common)
            near = same < min(len(old), len(links)) and alike(old[same], links[same])
            if (score := 2 * weight + later + (links[same].size // 2 if near else 0)) > most:
                best, most = Match(conversation, conversation.prompt, same, later), score
        return best

    def kept(self, prompt: Prompt) -> dict[str, int]:
        """How many tokens of a prompt, about, each server should have in its prompt cache: of what it served last of
        each conversation, as far as that begins in the same way.
        """
        found: dict[str, int] = {}
        for conversation in self.conversations.values():
            old, size, same = conversation.prompt.links, 0, 0
            for one, other in zip(old, prompt.links, strict=False):
                if one is not other and one.digest != other.digest:
                    break
                size, same = size + one.weight, same + 1
            whole = same == len(old) and conversation.tokens is not None
            tokens = conversation.tokens if whole else size // BYTES_A_TOKEN
            found[conversation.where] = max(found.get(conversation.where, 0), tokens or 0)
        return found

    def went_on(self, prompt: Prompt, client: str, of: Conversation | None) -> Conversation:
        """Remember a prompt as the newest, of a conversation or a new one (None)."""
        old = () if of is None else of.prompt.links
        for at, link in enumerate(prompt.links):
            if link.role != "text" and not (at < len(old) and old[at] is link):
                self._links[link.digest] = link
        self.turns += 1
        if of is None or of.number not in self.conversations:
            self._begun += 1
            of = Conversation(self._begun, client, prompt, self.turns)
            self.conversations[of.number] = of
        of.prompt, of.client, of.turn, of.tokens, of.thought = prompt, client, self.turns, None, False
        self.conversations.move_to_end(of.number)
        self._forget()
        return of

    def others_since(self, conversation: Conversation) -> list[Conversation]:
        """The other conversations that have gone on since this one did."""
        return [each for each in self.conversations.values() if each.turn > conversation.turn]

    def _forget(self) -> None:
        links = sum(len(each.prompt.links) for each in self.conversations.values())
        while len(self.conversations) > 1 and (len(self.conversations) > CONVERSATIONS or links > ALL_LINKS):
            _, oldest = self.conversations.popitem(last=False)
            links -= len(oldest.prompt.links)
