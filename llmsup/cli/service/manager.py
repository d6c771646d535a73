"""What the command needs of a service manager, whichever it is, and which one this machine has.

It does not know what a job's file looks like to either.
"""

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
    """What the manager says of the service.

    Attributes:
        runs: Whether it runs, as far as the manager knows.
        text: Its state in the manager's own words.
    """

    runs: bool
    text: str


class Manager(Protocol):
    """One user's service manager.

    Attributes:
        name: What people call it.
        file: Where it looks for the job's file.
        log: How to look at what the service wrote.
        way: What to type to have the file taken over, where we could not.
        note: What a person should know once it is installed, or "".
    """

    name: Name
    file: Path
    log: Sequence[str]
    way: Sequence[Sequence[str]]
    note: str

    def text(self, job: Job) -> str:
        """The job's file."""

    def start(self, *, anew: bool) -> None:
        """Take the file over and start the service; `anew`: one of ours may run already. Raises ToolFailed."""

    def stop(self) -> None:
        """Stop the service, and don't start it at the next login. One that is not known is fine. Raises ToolFailed."""

    def forget(self) -> None:
        """Take note that the file is gone. Raises ToolFailed."""

    def standing(self) -> ServiceState:
        """How it is. Raises ToolFailed."""


def usual() -> Name:
    """The one that this system has."""
    return "launchd" if sys.platform == "darwin" else "systemd"


def manager(name: Name) -> Manager:
    """The manager of that name, of the user that we are."""
    from .launchctl import Launchctl
    from .systemctl import Systemctl

    home = Path(os.path.expanduser("~"))
    return Launchctl(home, os.getuid()) if name == "launchd" else Systemctl(home)
