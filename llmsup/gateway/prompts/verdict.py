"""Where a prompt parts from the one before it, and why."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from .chain import Match
from .hashing import SMALL_BLOCK, bounds
from .links import SETTINGS, WORTH, Link, Prompt, alike

Kind = Literal[
    "settings", "edits", "tools", "system", "message", "text", "reasoning", "dropped", "inserted",
    "no_cache", "moved", "reload", "slot", "template", "engine",
]  # fmt: skip


@frozen(kw_only=True)
class Break:
    """Where a prompt parts from its predecessor, and why.

    Attributes:
        kind: Why, in one word.
        reason: Why, in a sentence without its full stop.
        message: The message, counted from 1 as in the client's list; None: it is none of them.
        role: Whose that message is.
        byte: From which byte of its text on; known to a block. None: it isn't the text.
        weight: About how many bytes of what was computed before come after this.
    """

    kind: Kind
    reason: str
    message: int | None = None
    role: str = ""
    byte: int | None = None
    weight: int = 0

    @property
    def place(self) -> tuple[str, int | None, int | None]:
        """What is the same if it happens again in the same place."""
        return self.role, self.message, self.byte


def difference(old: Link, new: Link) -> int | None:
    """After which byte two texts differ, where a block begins; None: they are the same, or it isn't known."""
    if not old.blocks or not new.blocks:
        return None
    size = min(old.size, new.size)
    starts = bounds(max(old.size, new.size), SMALL_BLOCK)
    for at, start in enumerate(starts):
        if start >= size:
            break
        if old.blocks[8 * at : 8 * at + 8] != new.blocks[8 * at : 8 * at + 8]:
            return start
    return None if old.size == new.size else size


def find_break(match: Match, prompt: Prompt, client: str) -> Break | None:
    """Where a prompt parts from what it resembles, as far as its client would not expect it; None: nowhere."""
    old, new, at = match.before.links, prompt.links, match.same
    if match.goes_on or at >= len(new) or at >= len(old):
        return None
    near = alike(old[at], new[at])
    kin = match.later >= (64 if match.conversation.client == client else WORTH // 2)
    if not near and not kin:
        return None  # another conversation that begins in the same way
    byte = difference(old[at], new[at]) if old[at].role == new[at].role else None
    rest = max(min(old[at].size, new[at].size) - (byte or 0), 0) if old[at].role == new[at].role else 0
    weight = match.later + rest
    if weight < WORTH:
        return None
    kind, reason = _why(old, new, at, byte, prompt.first, near=near)
    role, number = new[at].role, at - prompt.first + 1
    if kind == "text":
        return Break(kind=kind, reason=reason, role=role, byte=sum(link.size for link in new[:at]), weight=weight)
    told = byte if kind in ("system", "message") else None
    message = None if number < 1 or kind in ("settings", "edits", "tools") else number
    return Break(kind=kind, reason=reason, message=message, role=role, byte=told, weight=weight)


def _why(
    old: tuple[Link, ...], new: tuple[Link, ...], at: int, byte: int | None, first: int, *, near: bool
) -> tuple[Kind, str]:
    before, after = old[at], new[at]
    roles = (before.role, after.role)
    where = f"message {at - first + 1} ({after.role})"
    if "edits" in roles:
        return "edits", "llmsup's own config changes requests in another way now (request.set, request.strip)"
    if "settings" in roles:
        return "settings", f"settings that change how messages are written ({', '.join(SETTINGS)}) are not the same"
    if "tool definition" in roles:
        return "tools", _tools(old, new)
    if after.role == "text":
        return "text", f"the text differs within the block that begins at byte {sum(link.size for link in new[:at]):,}"
    if before.bare == after.bare:
        how = "without its reasoning" if after.digest == after.bare else "with other reasoning"
        return "reasoning", f"{where} came back {how}"
    gone = next((j for j in range(at + 1, len(old)) if old[j].digest == after.digest), at) - at
    if gone and all(link.role == "reasoning" for link in old[at : at + gone]):
        return "reasoning", f"the reasoning before {where} was left out"
    if gone:
        return "dropped", f"{'a message' if gone == 1 else f'{gone} messages'} before {where} came back no more"
    came = next((j for j in range(at + 1, len(new)) if new[j].digest == before.digest), at) - at
    if came:
        return "inserted", f"{'a new message' if came == 1 else f'{came} new messages'} came in at {where}"
    differs = "something in it differs"
    if byte is not None:
        differs = f"it differs somewhere after byte {byte:,} (of {after.size:,})"
    if before.role == after.role and after.role in ("system", "developer"):
        return "system", f"the system prompt has changed: {differs}"
    follows = [links[at + 1].digest for links in (old, new) if at + 1 < len(links)]
    if near or (before.role == after.role and len(follows) == 2 and follows[0] == follows[1]):
        return "message", f"{where} has changed: {differs}"
    return "dropped", f"from {where} on the history was replaced, as by a summary, and only a part of it came back"


def _tools(old: tuple[Link, ...], new: tuple[Link, ...]) -> str:
    had, has = ([link.digest for link in links if link.role == "tool definition"] for links in (old, new))
    if not had or not has:
        return "there were no tools before" if not had else "the tools are gone"
    at = next((at for at, (a, b) in enumerate(zip(had, has, strict=False)) if a != b), min(len(had), len(has))) + 1
    added, removed = len(set(has) - set(had)), len(set(had) - set(has))
    if not added and not removed:
        return f"the tools came in another order, from tool {at} on"
    what = [f"{count} {word}" for count, word in ((added, "new or changed"), (removed, "gone or changed")) if count]
    return f"the tools have changed, from tool {at} of {len(has)} on ({', '.join(what)})"


def recurring(found: Break, times: int) -> str:
    """The reason, with what it means that it has happened so many times in a row in the same place."""
    if times > 1:
        again = f"{found.reason}, {times} times in a row"
        return (
            f"{again}: something there changes with every request, as a date does" if found.byte is not None else again
        )
    return f"{found.reason}; a date or a time there would do that" if found.kind == "system" else found.reason
