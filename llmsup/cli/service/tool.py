"""Runs a service manager's own program, launchctl or systemctl."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ...errors import Error
from ...process.programs import ProgramFailed, run_now
from ...units import Seconds

PATIENCE = Seconds(600)
"""Seconds that one call may take: systemctl waits until the service has started or stopped."""


class ToolFailed(Error):
    """The program failed, or could not be run.

    Attributes:
        missing: Whether it isn't on this machine.
        exit_code: Its exit code; None if it could not be run.
    """

    code = "tool_failed"

    def __init__(self, message: str, *, missing: bool = False, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.missing = missing
        self.exit_code = exit_code


def ask(*words: str) -> str:
    """Run the program; returns its output.

    Raises:
        ToolFailed: It is missing, it failed, or it took longer than `PATIENCE`.
    """
    told = f"`{shown([words])}`"
    try:
        return run_now(words, name=told, timeout=PATIENCE)
    except ProgramFailed as failed:
        if failed.missing:
            raise ToolFailed(f"there is no {words[0]} on this machine.", missing=True) from None
        if failed.exit_code is None:
            raise ToolFailed(failed.message) from None
        said = " ".join(failed.output.split()).rstrip(".") or f"exit code {failed.exit_code}"
        raise ToolFailed(f"{told} failed: {said}.", exit_code=failed.exit_code) from None


def shown(commands: Sequence[Sequence[str]]) -> str:
    """Commands as typed in a shell."""
    return " && ".join(shlex.join(words) for words in commands)
