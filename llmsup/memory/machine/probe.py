"""The user's own probe: a command that prints one JSON object about the machine's memory.

Keeping the last good reading, if it fails, is up to the caller.
"""

from __future__ import annotations

import json
import shlex
from typing import Any, NoReturn, get_args

from attrs import frozen

from ...config.wording import did_you_mean, got
from ...errors import SetupError
from ...process.inheritance import Inheritance
from ...process.programs import run
from ...units import Bytes, Seconds
from .reading import Level

_SIZES = ("total", "available")
_KEYS = (*_SIZES, "level")
_LEVELS: tuple[Level, ...] = get_args(Level)
_HINT = 'It must print one JSON object: {"total": bytes, "available": bytes, "level": "normal|warn|critical"}.'


@frozen
class ProbeAnswer:
    """The values that the command printed; None for missing ones. Sizes in bytes."""

    total: Bytes | None = None
    available: Bytes | None = None
    level: Level | None = None


def parse_answer(data: bytes) -> ProbeAnswer:
    """Parse what a probe printed. Keys may be missing or null, but not all of them.

    Raises:
        ValueError: It is anything else; the message is fit for a person.
    """
    if not data.strip():
        raise ValueError("it printed nothing")
    try:
        value = json.loads(data, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it printed nested JSON") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        text = data[:60].decode(errors="replace")
        raise ValueError(f"it printed {text!r}, which is not one JSON object") from None
    if not isinstance(value, dict):
        raise ValueError(f"it printed JSON, but not an object: {got(value)}")  # noqa: TRY004 -- the text is wrong, not a caller's type
    for key in value:
        if key not in _KEYS:
            raise ValueError(f"{key[:40]!r} is not one of its keys{did_you_mean(key[:40], _KEYS)}")
    total, available = (_size(key, value.get(key)) for key in _SIZES)
    level = value.get("level")
    if level is not None and level not in _LEVELS:
        raise ValueError(f'"level" is one of {", ".join(_LEVELS)}, {got(level)}')
    if total is None and available is None and level is None:
        raise ValueError("it says nothing: total, available and level are all missing")
    if total is not None and available is not None and available > total:
        raise ValueError(f'"available" is {available}, more than "total", {total}')
    return ProbeAnswer(total, available, level)


async def ask(
    command: tuple[str, ...], *, timeout: Seconds = Seconds(5), inheritance: Inheritance | None = None
) -> ProbeAnswer:
    """Run a probe; it and all that it started are ended if it takes too long or prints too much.

    Raises:
        SetupError: It can't be run, failed, took too long, or printed something invalid.
    """
    name = f"[memory] probe {shlex.join(command)[:200]}"
    env = None if inheritance is None else inheritance.environment()
    output = await run(command, name=name, timeout=timeout, env=env)
    try:
        return parse_answer(output)
    except ValueError as error:
        raise SetupError(f"{name}: {error}.", hint=_HINT) from None


def _size(key: str, value: Any) -> Bytes | None:
    if value is None:
        return None
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f'"{key}" is a whole number of bytes, {got(value)}')
    return Bytes(value)


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("it names a key twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"it printed {name}, which is not JSON")
