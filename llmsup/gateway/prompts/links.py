"""A prompt as a chain of links: what is kept of it."""

from __future__ import annotations

from functools import cached_property
from operator import eq

from attrs import define, field, frozen

WORTH = 1024
"""Bytes that must be computed again for a word about it to be worth while: a few hundred tokens. A prompt that is
shorter isn't looked at, as no other could have lost so much of it.
"""

FOLLOWED = 8 << 20
"""Bytes of the longest body whose prompt is followed: reading one takes memory for a second copy of it."""

MOST = 512
"""Links that a prompt has at most; the last one stands for all the rest."""

LONG = 512
"""Bytes of a message from which on its blocks are kept; those of system prompts are in any case."""

_ALIKE = 256
"""Bytes of a message from which on it can be told that another one is nearly the same."""

SETTINGS = ("chat_template_kwargs", "reasoning_effort", "chat_template", "response_format", "tool_choice")
"""Members of a body that may change how its messages are written into the prompt."""

BEFORE = ("edits", "settings", "tool definition", "system", "developer")
"""Roles of what many conversations begin with."""


@define(slots=True, eq=False, weakref_slot=True)
class Link:
    """One message, tool or system prompt; or a block of a prompt that is one text.

    Attributes:
        digest: Of all of it.
        bare: The same without what the model thought.
        role: Whose it is; "tool definition", "settings", "edits" (llmsup's own) or "text" for what is no message.
        size: Bytes of its text.
        extra: Bytes of the rest.
        blocks: Hashes of its text's blocks, eight bytes each, if it is `LONG`; `bounds` says where they begin.
    """

    digest: bytes
    bare: bytes
    role: str
    size: int
    extra: int = 0
    blocks: bytes = field(default=b"", repr=False)

    @property
    def weight(self) -> int:
        """Its bytes, as a measure of the work that it makes."""
        return self.size + self.extra


def alike(old: Link, new: Link) -> bool:
    """Whether one is most probably the other with something changed: half of their blocks are the same."""
    if old.role != new.role or min(old.size, new.size) < _ALIKE or not old.blocks or not new.blocks:
        return False
    some, others = memoryview(old.blocks).cast("q"), memoryview(new.blocks).cast("q")
    same: int = sum(map(eq, some, others))
    return 2 * same >= max(len(some), len(others))


@frozen(eq=False)
class Prompt:
    """A request's prompt.

    Attributes:
        links: From its beginning to its end.
        head: Of all that comes before the messages, as the client wrote it.
        length: Bytes of the messages as the client wrote them, without the end of the array; 0: not known.
        written: The hash of these.
        first: How many links come before the first message.
        size: Bytes of all of it, as the client wrote it.
        cached: Whether the engine may use its cache for it (`cache_prompt`).
    """

    links: tuple[Link, ...]
    head: bytes
    length: int = 0
    written: bytes = b""
    first: int = 0
    size: int = 0
    cached: bool = True

    @cached_property
    def digests(self) -> frozenset[bytes]:
        """Those of its links."""
        return frozenset(link.digest for link in self.links)

    @property
    def opening(self) -> int:
        """How many links it begins with that are no talk: settings, tools, the system prompt."""
        return next((at for at, link in enumerate(self.links) if link.role not in BEFORE), len(self.links))
