"""Why an engine computed again what has not changed since the prompt before."""

from __future__ import annotations

from attrs import frozen

from .chain import Match
from .links import Prompt
from .verdict import Break

WORTH_TOKENS = 256
"""Tokens that must be computed again for a word about it to be worth while."""


@frozen(kw_only=True)
class Since:
    """What has happened to a model since a conversation's last prompt.

    Attributes:
        moved: Between which servers it went, in words; "" if it stayed where it was.
        loaded: Why it was loaded anew; "" if it wasn't.
        others: How many other conversations have gone on since.
        foreign: Whether some of them are other clients'.
        slots: How many conversations the engine keeps at once; None if that isn't known.
        thought: Whether the answer to the last prompt began with reasoning.
    """

    moved: str = ""
    loaded: str = ""
    others: int = 0
    foreign: bool = False
    slots: int | None = None
    thought: bool = False


def why_computed(match: Match, prompt: Prompt, since: Since) -> Break:
    """Why an engine computed again what is the same as before."""
    links, same = prompt.links, match.same
    if not prompt.cached:
        return Break(kind="no_cache", reason="the request says not to use the cache (cache_prompt = false)")
    if since.moved:
        return Break(kind="moved", reason=f"{since.moved}: each has a prompt cache of its own")
    if since.loaded:
        return Break(kind="reload", reason=f"the model was loaded anew in between, without its cache: {since.loaded}")
    if since.others and since.others >= (since.slots or 1):
        whose = "another client's" if since.foreign else "another conversation's"
        what = f"{whose} requests" if since.others == 1 else f"requests of {since.others} other conversations"
        has = "" if since.slots is None else f", and the engine has {since.slots} slot{'s' * (since.slots != 1)}"
        return Break(kind="slot", reason=f"{what} took its place in the engine's cache{has}")
    answer = next((at for at in range(same, len(links)) if links[at].role == "assistant"), None)
    if since.thought and answer is not None and links[answer].bare == links[answer].digest:
        number = answer - prompt.first + 1
        reason = f"message {number} (assistant) came back without its reasoning"
        return Break(kind="reasoning", reason=reason, message=number, role="assistant")
    if since.thought or any(link.bare != link.digest for link in links):
        return Break(kind="template", reason="the chat template probably leaves out the reasoning of earlier answers")
    return Break(
        kind="engine",
        reason="nothing in it has changed, but the engine did not find it in its cache (those of sliding windows and "
        "recurrent layers can't always go back, and a template may write earlier messages in another way)",
    )
