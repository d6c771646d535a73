"""What was said in LM Studio's chats, which go on from an answer's id: in memory, and the oldest goes first.

It does not know what messages look like.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

from attrs import frozen

from ...errors import BadRequest
from ...units import Bytes

PREFIX = "resp_"
MOST = Bytes(64 * 1024**2)
MOST_OF_ONE = Bytes(8 * 1024**2)


@frozen
class Turn:
    """One question and its answer.

    Attributes:
        before: The id of the answer that the question came after; "" for none.
        system: The system text of the chat, as JSON; b"" for none.
        said: The messages, as JSON, with commas between them.
    """

    before: str
    system: bytes
    said: bytes


class Turns:
    """The turns of all chats. Two chats that go on from the same answer share what was before it."""

    def __init__(self, most: Bytes = MOST) -> None:
        """`most`: what all may take, in bytes."""
        self._most = most
        self._turns: OrderedDict[str, Turn] = OrderedDict()
        self._size = 0

    def until(self, name: str) -> list[Turn]:
        """The turns of a chat up to that answer, the oldest first. Raises BadRequest: it isn't known, or no longer."""
        found: list[Turn] = []
        at = name
        while at:
            turn = self._turns.get(at)
            if turn is None:
                raise BadRequest(
                    f"There is no answer {name[:100]!r} to go on from.",
                    hint="Answers are kept in memory, and not for ever: begin anew, with what was said in `input`.",
                    param="previous_response_id",
                )
            found.append(turn)
            at = turn.before
        for turn_id in self._path(name):
            self._turns.move_to_end(turn_id)
        return found[::-1]

    def add(self, name: str, turn: Turn) -> None:
        """Keep a turn as that answer's; the oldest are forgotten for it."""
        self._turns[name] = turn
        self._size += len(turn.said) + len(turn.system)
        while self._size > self._most and len(self._turns) > 1:
            _, gone = self._turns.popitem(last=False)
            self._size -= len(gone.said) + len(gone.system)

    def _path(self, name: str) -> list[str]:
        names = []
        while name:
            names.append(name)
            name = self._turns[name].before
        return names


def new_name() -> str:
    """An id for an answer, which nobody can guess."""
    return PREFIX + secrets.token_hex(24)
