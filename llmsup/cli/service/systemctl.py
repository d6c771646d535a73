"""Where systemd user units are kept, and how systemctl(1) installs ours; the file's contents are in `systemd`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .job import Job
from .manager import Name, ServiceState
from .systemd import UNIT, unit
from .tool import ask

_USER = ("systemctl", "--user")


class Systemctl:
    """The systemd of one user."""

    name: Name = "systemd"
    log: Sequence[str] = ("journalctl", "--user", "--unit", UNIT, "--follow")
    way: Sequence[Sequence[str]] = ((*_USER, "daemon-reload"), (*_USER, "enable", "--now", UNIT))
    # loginctl(1): the user's manager ends with the last session unless the user lingers
    note = "It runs while you are logged in; `loginctl enable-linger` keeps it running after that, and from boot on."

    def __init__(self, home: Path) -> None:
        self.file = home / ".config" / "systemd" / "user" / UNIT  # systemd.unit(5), "UNIT FILE LOAD PATH"

    def text(self, job: Job) -> str:
        """The unit's file."""
        return unit(job)

    def start(self, *, anew: bool) -> None:
        """Enable and start the unit; returns when requests are answered. Raises ToolFailed."""
        for words in self.way:
            ask(*words)
        if anew:  # `enable --now` doesn't restart a running unit
            ask(*_USER, "restart", UNIT)

    def stop(self) -> None:
        """Disable and stop the unit; returns when it has stopped. Raises ToolFailed."""
        ask(*_USER, "disable", "--now", UNIT)

    def forget(self) -> None:
        """Make systemd reload its unit files. Raises ToolFailed."""
        ask(*_USER, "daemon-reload")

    def state(self) -> ServiceState:
        """The state by `systemctl show`. Raises ToolFailed."""
        return read_show(ask(*_USER, "show", UNIT))


def read_show(text: str) -> ServiceState:
    """Read `KEY=VALUE` lines (systemctl(1), "show")."""
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if found.get("LoadState") == "not-found":
        return ServiceState(runs=False, text="not loaded")
    active = found.get("ActiveState", "unknown")
    parts = [f"{active} ({found.get('SubState', '?')})"]
    if found.get("MainPID", "0") != "0":
        parts.append(f"pid {found['MainPID']}")
    elif found.get("Result", "success") != "success":
        parts.append(f"{found['Result']}, exit status {found.get('ExecMainStatus', '?')}")
    if found.get("UnitFileState", "enabled") != "enabled":
        parts.append(f"{found['UnitFileState']} at login")
    runs = active in ("active", "reloading")
    if runs and found.get("StatusText"):  # after it has ended, this would still be the last one
        parts.append(found["StatusText"])
    return ServiceState(runs=runs, text=", ".join(parts))
