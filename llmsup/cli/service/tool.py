"""Asking a service manager's own program, launchctl or systemctl.

It does not know what is asked.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

from ...errors import Error
from ...process.inheritance import Inheritance
from ...units import Seconds, format_seconds

PATIENCE = Seconds(600)
"""How long one question may take: systemctl waits until the service has started, or has stopped."""


class ToolFailed(Error):
    """The program said no, or could not be asked.

    Attributes:
        missing: It is not on this machine.
        exit_code: What it ended with; None: it could not be asked.
    """

    code = "tool_failed"

    def __init__(self, message: str, *, missing: bool = False, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.missing = missing
        self.exit_code = exit_code


def ask(*words: str) -> str:
    """Run the program; returns what it prints.

    Raises:
        ToolFailed: It is not there, it failed, or it took longer than `PATIENCE`.
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
    """Commands as one types them."""
    return " && ".join(shlex.join(words) for words in commands)
