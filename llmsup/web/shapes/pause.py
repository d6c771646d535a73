"""What /pause and /resume take and give."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from .control import Freed


class Pause(TypedDict):
    """No model is loaded, and requests for models are refused.

    Attributes:
        reason: For people.
        until: When it ends by itself; null: when it is ended, or the program that it is for ends.
        program: The program that it is for (`memory.yield_to`); null: somebody asked for it.
    """

    reason: str
    since: float
    until: float | None
    program: str | None


class PauseState(TypedDict):
    """Whether llmsup is paused; null: it isn't."""

    paused: Pause | None


AskPause = TypedDict("AskPause", {"for": NotRequired[float | str | None], "force": NotRequired[bool | None]})
AskPause.__doc__ = """For how long to pause.

Attributes:
    for: Seconds, or a duration such as "1h"; left out: until /resume.
    force: Whether to cut off requests in flight; else they may finish within `drain_timeout`.
"""


class PauseDone(Freed):
    """No model is loaded any more; these were. `paused` is null if somebody has resumed llmsup meanwhile."""

    paused: Pause | None
    models: list[str]


class Resumed(TypedDict):
    """Requests are served again; `ended` is what that ended, null if llmsup wasn't paused."""

    success: Literal[True]
    ended: Pause | None
