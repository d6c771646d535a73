"""Where launchd agents are kept, and how launchctl(1) installs ours; the file's contents are in `launchd`."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from ...errors import SetupError
from .job import Job
from .launchd import LABEL, plist
from .manager import Name, ServiceState
from .tool import PATIENCE, ToolFailed, ask

_EVERY = 0.2
"""Seconds between checks whether a service is gone: launchd has no way to wait for it."""


class Launchctl:
    """The launchd of one logged-in user."""

    name: Name = "launchd"
    note = ""

    def __init__(self, home: Path, uid: int) -> None:
        self.file = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"  # launchd.plist(5), FILES
        self._log = home / "Library" / "Logs" / "llmsup.log"
        self._domain = f"gui/{uid}"  # the user's login session: launchctl(1)
        self._target = f"{self._domain}/{LABEL}"
        self._bootstrap = ("launchctl", "bootstrap", self._domain, str(self.file))
        self.log: Sequence[str] = ("tail", "-f", str(self._log))
        self.way: Sequence[Sequence[str]] = (self._bootstrap,)

    def text(self, job: Job) -> str:
        """The agent's file."""
        return plist(job, str(self._log))

    def start(self, *, anew: bool) -> None:
        """Bootstrap the agent once an earlier one is gone. Raises ToolFailed, SetupError."""
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)  # launchd creates the file, but not its directory
        except OSError as error:
            raise SetupError(f"{self._log.parent} can't be made: {error.strerror or error}.") from None
        if anew:
            self.stop()
        ask("launchctl", "enable", self._target)  # a disabled service can't be bootstrapped
        ask(*self._bootstrap)

    def stop(self) -> None:
        """Boot the agent out and wait until it is gone. Raises ToolFailed."""
        if not self._known():
            return
        trouble = None
        try:
            ask("launchctl", "bootout", self._target)
        except ToolFailed as error:  # it also fails, with EINPROGRESS, while a service takes its time
            trouble = error
        deadline = time.monotonic() + (PATIENCE if trouble is None or trouble.exit_code == _IN_PROGRESS else 0)
        while self._known():
            if time.monotonic() > deadline:
                raise trouble or ToolFailed(f"{self._target} did not stop.")
            time.sleep(_EVERY)

    def forget(self) -> None:
        """Does nothing: launchd reads the directory at login."""

    def state(self) -> ServiceState:
        """What `launchctl print` shows, which is meant for people and has changed before. Raises ToolFailed."""
        try:
            return read_print(ask("launchctl", "print", self._target))
        except ToolFailed as error:
            if error.exit_code is None:
                raise
            return ServiceState(runs=False, text="not loaded")

    def _known(self) -> bool:
        try:
            ask("launchctl", "print", self._target)
        except ToolFailed as error:
            if error.exit_code is None:
                raise
            return False
        return True


_IN_PROGRESS = 36
"""EINPROGRESS on macOS (errno.h), as launchctl's exit code."""


def read_print(text: str) -> ServiceState:
    """Extract `state = running`, `pid = 123`, `last exit code = 1` from `launchctl print`'s text: the first of each, as
    unrelated sections follow.
    """
    found = dict(reversed(re.findall(r"^\s*([a-z ]+?) = (.*?)\s*$", text, re.MULTILINE)))
    parts = [found.get("state", "loaded")]
    parts += [f"{key} {found[key]}" for key in ("pid", "last exit code") if key in found]
    return ServiceState(runs=found.get("state") == "running", text=", ".join(parts))
