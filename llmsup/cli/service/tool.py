"""Runs a service manager's own program, launchctl or systemctl."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

from ...errors import Error
from ...process.inheritance import Inheritance
from ...units import Seconds, format_seconds

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
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
            errors="replace",
            check=False,
            env=Inheritance().environment(),
        )
    except FileNotFoundError:
        raise ToolFailed(f"there is no {words[0]} on this machine.", missing=True) from None
    except OSError as error:
        raise ToolFailed(f"{words[0]} can't be run: {error.strerror or error}.") from None
    except subprocess.TimeoutExpired:
        raise ToolFailed(f"{told} did not end within {format_seconds(PATIENCE)}.") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split()).rstrip(".")
        raise ToolFailed(f"{told} failed: {said or f'exit code {done.returncode}'}.", exit_code=done.returncode)
    return done.stdout


def shown(commands: Sequence[Sequence[str]]) -> str:
    """Commands as typed in a shell."""
    return " && ".join(shlex.join(words) for words in commands)
