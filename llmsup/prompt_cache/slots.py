"""What a llama-server is asked about its slots, and how its answers are read: nothing in them is taken for granted."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

from ..engines.pool import ConnectionPool
from ..errors import EngineBadAnswer
from ..errors.engine import SAID
from .fingerprint import Told

_MOST = 16 * 1024**2
"""Bytes of an answer. `/slots` repeats each slot's sampling settings, and `/props` has the chat template."""

MOST_SLOTS = 256
_SANE = 2**40


class NotSupported(EngineBadAnswer):
    """The engine can't do this, and says so."""


@frozen
class Slot:
    """One slot.

    Attributes:
        id: Its number.
        busy: Whether it works.
        task: The number of the last request that it worked on; None: none yet, or restored and not used since.
        tokens: How many tokens it holds; None if the engine doesn't say.
        context: How many it can hold.
    """

    id: int
    busy: bool
    task: int | None
    tokens: int | None
    context: int


class Slots:
    """The slots of one engine."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    async def all(self) -> list[Slot]:
        """Return all slots.

        Raises:
            NotSupported: It has no such thing.
            EngineBadAnswer: It answers nonsense.
            Disconnected, OSError: It can't be asked.
        """
        told = await self._ask("GET", "/slots")
        if not isinstance(told, list) or not 0 < len(told) <= MOST_SLOTS:
            raise EngineBadAnswer("The engine's answer to GET /slots is not a list of slots.")
        slots = [_slot(each) for each in told]
        if len({slot.id for slot in slots}) < len(slots):
            raise EngineBadAnswer("The engine has two slots of one number.")
        return slots

    async def told(self, context: int) -> Told:
        """Return what else a saved slot depends on; `context`: of one slot. Raises what `all` does."""
        props = await self._ask("GET", "/props")
        if not isinstance(props, dict) or not isinstance(props.get("chat_template", ""), str):
            raise EngineBadAnswer("The engine's answer to GET /props is not understood.")
        try:
            adapters = await self._ask("GET", "/lora-adapters")
        except NotSupported:
            adapters = []
        if not isinstance(adapters, list):
            raise EngineBadAnswer("The engine's answer to GET /lora-adapters is not a list.")
        return Told(str(props.get("build_info", "")), context, props.get("chat_template", ""), len(adapters))

    async def save(self, slot: int, name: str) -> tuple[int, int]:
        """Have a slot written into a file of the engine's directory; returns its tokens and the file's bytes.

        Raises what `all` does.
        """
        answer = await self._act(slot, "save", name)
        return _number(answer, "n_saved"), _number(answer, "n_written")

    async def restore(self, slot: int, name: str) -> tuple[int, int]:
        """Have a slot filled from a file of the engine's directory; returns the same. Raises what `all` does."""
        answer = await self._act(slot, "restore", name)
        return _number(answer, "n_restored"), _number(answer, "n_read")

    async def erase(self, slot: int) -> None:
        """Have a slot emptied. Raises what `all` does."""
        await self._ask("POST", f"/slots/{slot}?action=erase", {})

    async def _act(self, slot: int, action: str, name: str) -> dict[str, Any]:
        answer = await self._ask("POST", f"/slots/{slot}?action={action}", {"filename": name})
        if not isinstance(answer, dict) or answer.get("id_slot") != slot:
            raise EngineBadAnswer(f"The engine's answer to the {action} of a slot is not understood.")
        return answer

    async def _ask(self, method: str, target: str, body: Any = None) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        headers = [(b"content-type", b"application/json")] if data else []
        answer = await self._pool.request(method, target.encode(), headers, data)
        got = bytearray()
        try:
            while part := await answer.body():
                got += part
                if len(got) > _MOST:
                    raise EngineBadAnswer(f"The engine's answer to {method} {target} doesn't end.")
        finally:
            await answer.close()
        path = target.partition("?")[0]
        if answer.status in (404, 501):
            raise NotSupported(f"its engine answers {answer.status} to {method} {path}{_message(got)}")
        if answer.status != 200:
            raise EngineBadAnswer(f"The engine answers {answer.status} to {method} {target}{_message(got)}")
        try:
            return json.loads(got)
        except (ValueError, RecursionError):
            raise EngineBadAnswer(f"The engine's answer to {method} {path} is not JSON.") from None


def _message(got: bytearray) -> str:
    try:
        message = json.loads(got)["error"]["message"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return ""
    return f". {SAID}{str(message)[:200]}"


def _number(answer: dict[str, Any], key: str) -> int:
    value = answer.get(key)
    if type(value) is not int or not 0 <= value < _SANE:
        raise EngineBadAnswer(f"The engine's answer about a slot has no sane {key}.")
    return value


def _slot(told: Any) -> Slot:
    if not isinstance(told, dict):
        raise EngineBadAnswer("The engine's answer to GET /slots has a slot that is none.")
    number, context, busy = _number(told, "id"), _number(told, "n_ctx"), told.get("is_processing")
    if number >= MOST_SLOTS or not isinstance(busy, bool):
        raise EngineBadAnswer("The engine's answer to GET /slots has a slot that is none.")
    task, tokens = told.get("id_task"), told.get("n_prompt_tokens")
    return Slot(
        id=number,
        busy=busy,
        task=task if type(task) is int and task >= 0 else None,
        tokens=tokens if type(tokens) is int and 0 <= tokens < _SANE else None,
        context=context,
    )
