"""Control groups of both versions: which of them limit our memory, and how much is left within them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

from attrs import frozen

from ...units import Bytes
from .files import Read, number, pairs

MEMBERSHIP = Path("/proc/self/cgroup")
MOUNTS = Path("/proc/self/mountinfo")

Version = Literal[1, 2]

_USUAL: dict[Version, tuple[str, Path]] = {
    1: ("/", Path("/sys/fs/cgroup/memory")),
    2: ("/", Path("/sys/fs/cgroup")),
}
_LONGEST = 4096
_UNBOUNDED = 2**62  # version 1 writes "no limit" as the largest number of whole pages
_ESCAPE = re.compile(r"\\([0-7]{3})")


@frozen
class Group:
    """A directory of a control group."""

    path: Path
    version: Version


@frozen
class Bound:
    """A group with a limit.

    Attributes:
        group: The group.
        limit: In bytes.
        file: The file with the limit.
        used: What can't be freed by dropping file cache, in bytes; None if it can't be read.
    """

    group: Group
    limit: Bytes
    file: Path
    used: Bytes | None

    @property
    def room(self) -> Bytes | None:
        """What is left, in bytes."""
        return None if self.used is None else Bytes(max(self.limit - self.used, 0))


def own_groups(read: Read) -> tuple[Group, ...]:
    """The groups that our process is in, the innermost first, each version's from its mount point down.

    Linux Documentation/admin-guide/cgroup-v2.rst ("/proc/$PID/cgroup"), cgroup-v1/cgroups.rst, and proc(5) for
    mountinfo, whose `root` is the group at the mount point: in a container often our own.
    """
    mounts = _USUAL | parse_mounts(read(MOUNTS))
    groups: list[Group] = []
    for version, path in parse_membership(read(MEMBERSHIP)).items():
        root, mount = mounts[version]
        inner = PurePosixPath(path)
        below = inner.relative_to(root) if inner.is_relative_to(root) else PurePosixPath()
        groups += (Group(mount / group, version) for group in (below, *below.parents))
    return tuple(groups)


def parse_membership(data: bytes) -> dict[Version, str]:
    """The group in version 2's hierarchy and the one of version 1's memory controller, as absolute paths.

    A line is "0::/a/b" or "4:cpu,memory:/a/b". A path with ".." belongs to a process outside its namespace: what is
    mounted here isn't its group.
    """
    found: dict[Version, str] = {}
    for line in data.decode(errors="replace").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        path = path.removesuffix(" (deleted)")
        if path.startswith("/") and len(path) < _LONGEST and ".." not in path and "\0" not in path:
            if number == "0" and not controllers:
                found[2] = path
            elif "memory" in controllers.split(","):
                found[1] = path
    return found


def parse_mounts(data: bytes) -> dict[Version, tuple[str, Path]]:
    """Where the hierarchies are mounted: by version, the group at the mount point, and the mount point."""
    found: dict[Version, tuple[str, Path]] = {}
    for line in data.decode(errors="replace").splitlines():
        head, _, tail = line.partition(" - ")
        fields, kind = head.split(" "), tail.split(" ")
        if len(fields) < 5 or len(kind) < 3:
            continue
        root, point = (_ESCAPE.sub(lambda code: chr(int(code[1], 8)), field) for field in fields[3:5])
        if kind[0] == "cgroup2":
            found.setdefault(2, (root, Path(point)))
        elif kind[0] == "cgroup" and "memory" in kind[2].split(","):
            found.setdefault(1, (root, Path(point)))
    return found


def bounds(groups: tuple[Group, ...], read: Read) -> tuple[Bound, ...]:
    """The groups that have a limit."""
    first = next((group for group in groups if group.version == 1), None)
    found = (_bound(group, read, innermost=group is first) for group in groups)
    return tuple(bound for bound in found if bound)


def cgroup_limit(read: Read) -> Bytes | None:
    """The lowest limit of our control group and those above it, in bytes; None: no limit."""
    return min((bound.limit for bound in bounds(own_groups(read), read)), default=None)


def own_limit(groups: tuple[Group, ...], found: tuple[Bound, ...]) -> Bytes | None:
    """The limit of our process's own group (a container's, a systemd unit's), in bytes.

    None where it has none, or a group above it has a tighter one, in which other processes may run as well.

    Args:
        groups: Our groups, from `own_groups`.
        found: Those of them that have a limit.
    """
    tightest = min(found, key=lambda bound: bound.limit, default=None)
    innermost = {group.version: group for group in reversed(groups)}
    if tightest is None or tightest.group != innermost[tightest.group.version]:
        return None
    if tightest.file.name == "memory.stat" and any(
        bound.limit <= tightest.limit for bound in found if bound != tightest
    ):
        return None  # version 1 reports the least of all groups above; this is one of theirs
    return tightest.limit


def oom_kills(group: Group, read: Read) -> int | None:
    """How many processes in a group and those below it the OOM killer has killed so far."""
    file = "memory.events" if group.version == 2 else "memory.oom_control"
    return pairs(read(group.path / file)).get("oom_kill")


def _bound(group: Group, read: Read, *, innermost: bool) -> Bound | None:
    limits = sorted(_limits(group, read, innermost=innermost), key=lambda found: found[0])
    if not limits:
        return None
    limit, file = limits[0]
    seen = file.name != "memory.stat"  # the limit of a group above that isn't visible, nor is its usage
    return Bound(group, Bytes(limit), file, _used(group, read) if seen else None)


def _limits(group: Group, read: Read, *, innermost: bool) -> Iterator[tuple[int, Path]]:
    """Above `memory.high` a group is throttled almost to a halt, so that counts as a limit too."""
    for name in ("memory.max", "memory.high") if group.version == 2 else ("memory.limit_in_bytes",):
        limit = number(read(group.path / name))
        if limit is not None and limit < _UNBOUNDED:
            yield limit, group.path / name
    if group.version == 1 and innermost:
        # The least of all groups above, including those outside a container (cgroup-v1/memory.rst, 5.2).
        limit = pairs(read(group.path / "memory.stat")).get("hierarchical_memory_limit")
        if limit is not None and limit < _UNBOUNDED:
            yield limit, group.path / "memory.stat"


def _used(group: Group, read: Read) -> Bytes | None:
    """What a group uses, less the file cache that can be dropped without harm.

    That is inactive cache, as for the kubelet's "working set", and active cache that isn't mapped: a model file that
    was merely read twice stays active for ever, and would otherwise look like memory in use.
    """
    second = group.version == 2
    usage = number(read(group.path / ("memory.current" if second else "memory.usage_in_bytes")))
    stat = pairs(read(group.path / "memory.stat"))
    # With hierarchy, version 1's usage includes the groups below; the matching statistics have a prefix.
    names = ("inactive_file", "active_file", "file_mapped" if second else "mapped_file")
    inactive, active, mapped = (stat.get(name if second else f"total_{name}") for name in names)
    if usage is None or inactive is None:
        return None
    idle = max(active - mapped, 0) if active is not None and mapped is not None else 0
    return Bytes(max(usage - inactive - idle, 0))
