"""Creates a memory control group of whichever version this machine has; that takes root."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from attrs import frozen

from llmsup.memory.machine.cgroup import Group, Version, oom_kills, own_groups
from llmsup.memory.machine.files import read_file


class NoGroup(Exception):
    """No group can be created here; the message says why."""


@frozen
class Bounded:
    """A group with a limit."""

    group: Group

    def command(self, words: Sequence[str]) -> list[str]:
        """A command line that runs another command within the group, with everything that it starts."""
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.group.path / "cgroup.procs"), *words]

    @property
    def oom_kills(self) -> int:
        """How many of its processes the OOM killer has killed."""
        killed = oom_kills(self.group, read_file)
        assert killed is not None
        return killed

    @property
    def peak(self) -> int:
        """Its peak memory, file cache included, in bytes; 0 where the kernel doesn't record it."""
        name = "memory.peak" if self.group.version == 2 else "memory.max_usage_in_bytes"
        return int(read_file(self.group.path / name) or b"0")


@contextmanager
def bounded(limit: int, name: str = "llmsup-test") -> Iterator[Bounded]:
    """A group next to our own whose processes may use so many bytes together; they are ended with the block.

    Raises:
        NoGroup: This machine has no memory controller, or we may not create a group.
    """
    version, parent = _parent()
    group = Group(parent / f"{name}-{os.getpid()}", version)
    try:
        group.path.mkdir()
    except OSError as error:
        raise NoGroup(f"{group.path} can't be made: {error.strerror}. Only root may make a control group.") from None
    try:
        if version == 2:
            (group.path / "memory.max").write_text(str(limit))
            with suppress(OSError):
                (group.path / "memory.swap.max").write_text("0")
        else:
            (group.path / "memory.limit_in_bytes").write_text(str(limit))
            with suppress(OSError):  # without swap accounting there is no such file
                (group.path / "memory.memsw.limit_in_bytes").write_text(str(limit))
        yield Bounded(group)
    finally:
        for pid in map(int, (group.path / "cgroup.procs").read_text().split()):
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                process.kill()
                process.wait(10)
        group.path.rmdir()


def _parent() -> tuple[Version, Path]:
    groups = own_groups(read_file)
    for group in groups:
        if group.version == 1 and (group.path / "memory.limit_in_bytes").exists():
            return 1, group.path
    for group in (group for group in groups if group.version == 2):
        # A group that has processes can't delegate the controller, so the new one is created further up.
        if "memory" in (group.path / "cgroup.subtree_control").read_text().split():
            return 2, group.path
    root = next((group.path for group in reversed(groups) if group.version == 2), None)
    if root is not None and "memory" in (root / "cgroup.controllers").read_text().split():
        try:
            (root / "cgroup.subtree_control").write_text("+memory")
        except OSError as error:
            raise NoGroup(f"the memory controller can't be had: {error.strerror}. Only root may.") from None
        return 2, root
    raise NoGroup("this machine has no memory controller for control groups (they are Linux').")
