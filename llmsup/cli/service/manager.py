"""The interface to a service manager, and which one this machine has."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from attrs import frozen

from .job import Job

Name = Literal["launchd", "systemd"]


@frozen
class ServiceState:
    """What the manager reports about the service.

    Attributes:
        runs: Whether the manager considers it running.
        text: Its state in the manager's own words.
    """

    runs: bool
    text: str


class Manager(Protocol):
    """One user's service manager.

    Attributes:
        name: Its name.
        file: Where it expects the job's file.
        log: The command that shows the service's output.
        way: The commands to load the file by hand, if we could not.
        note: What the user should know once it is installed, or "".
    """

    name: Name
    file: Path
    log: Sequence[str]
    way: Sequence[Sequence[str]]
    note: str

    def text(self, job: Job) -> str:
        """The job's file."""

    def start(self, *, anew: bool) -> None:
        """Load the file and start the service; `anew`: an earlier one may still be running. Raises ToolFailed."""

    def stop(self) -> None:
        """Stop the service and don't start it at the next login; does nothing if it isn't loaded. Raises ToolFailed."""

    def forget(self) -> None:
        """Make the manager notice that the file is gone. Raises ToolFailed."""

    def state(self) -> ServiceState:
        """The service's state. Raises ToolFailed."""


def usual() -> Name:
    """The one that this system has."""
    return "launchd" if sys.platform == "darwin" else "systemd"


def manager(name: Name) -> Manager:
    """The manager of that name, for the current user."""
    from .launchctl import Launchctl
    from .systemctl import Systemctl

    home = Path(os.path.expanduser("~"))
    return Launchctl(home, os.getuid()) if name == "launchd" else Systemctl(home)
