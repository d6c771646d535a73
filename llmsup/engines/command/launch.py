"""A user's own command as a launch: placeholders filled in, and the address where it will answer.

No flags are assumed for such an engine, so all of the model's sampling goes with its requests.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from ...config.schema import ModelSpec
from ...errors import SetupError
from ..address import TcpAddress, UnixAddress
from ..launch import Launch, mentions
from ..ports import LOOPBACK, free_port
from ..sampling import request_fields

_NAMES = ("PORT", "SOCKET", "PATH", "NAME", "ARGS")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_]+)\}")


def launch(
    spec: ModelSpec,
    *,
    command: tuple[str, ...],
    engine: str,
    model: Path | None,
    socket: Path,
    name: str = "",
    port: Callable[[], int] | None = None,
) -> Launch:
    """Fill in a command's placeholders; the model's arguments come last unless the command has ${ARGS}.

    Args:
        command: The words, with placeholders. `spec.args` may contain them, too.
        engine: The engine's name in messages.
        model: The value of ${PATH}, if there is one.
        name: The value of ${NAME}; "" for the model's own name.
        socket: The value of ${SOCKET}; a command that uses it is expected to answer there.
        port: Picks the value of ${PORT}; None for any free port.

    Raises:
        SetupError: The command has neither ${PORT} nor ${SOCKET}, ${PATH} is used without a path, or a placeholder
            is misspelt.
    """
    words = _with_args(command, spec.args)
    values = {"NAME": name or spec.name, "ARGS": shlex.join(spec.args)}
    if model is not None:
        values["PATH"] = str(model)
    if mentions(words, "SOCKET"):
        address: UnixAddress | TcpAddress = UnixAddress(socket)
        values["SOCKET"] = str(socket)
    elif mentions(words, "PORT"):
        address = TcpAddress(LOOPBACK, (port or free_port)())
        values["PORT"] = str(address.port)
    else:
        raise SetupError(
            f"model {spec.name}: its command does not say where to answer.",
            hint="Put ${PORT} or ${SOCKET} into it, where its server takes its port or its socket.",
        )
    return Launch(
        engine=engine,
        argv=tuple(_filled(spec, word, values) for word in words),
        env=spec.env,
        address=address,
        health=spec.health,
        body_defaults=request_fields(spec.sampling) if spec.kind in (None, "chat") else {},
    )


def _with_args(command: tuple[str, ...], args: tuple[str, ...]) -> tuple[str, ...]:
    if not mentions(command, "ARGS"):
        return (*command, *args)
    return tuple(new for word in command for new in (args if word == "${ARGS}" else (word,)))


def _filled(spec: ModelSpec, word: str, values: dict[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name in values:
            return values[name]
        if name == "PATH":
            raise SetupError(f"model {spec.name}: its command uses ${{PATH}}, but it has no path.")
        if name == "PORT":
            raise SetupError(f"model {spec.name}: its command uses both ${{PORT}} and ${{SOCKET}}; one is enough.")
        if near := difflib.get_close_matches(name.upper(), _NAMES, n=1, cutoff=0.7):
            raise SetupError(f"model {spec.name}: unknown ${{{name}}}.", hint=f"Did you mean ${{{near[0]}}}?")
        return match[0]  # a variable of a shell that the command starts

    return _PLACEHOLDER.sub(value, word)
