"""Fetches the files of a plan, step by step. What was fetched is kept under another name until all of it is there.

A process may end at any moment: the next pull hashes what there is of each file, and goes on from its end. When all are
there and are what the hub lists, they get their names, the model's first file last, so that nobody finds a model of
which something is missing.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, Final, Literal

from attrs import frozen

from ..catalog.disk.lmstudio import OURS
from ..config.schema import MiB
from ..errors import DownloadCut, DownloadFailed
from ..units import Bytes, Seconds
from .hub import Listing
from .hub_client import Hub
from .plan import UNFINISHED, Plan, Wanted

TRIES: Final = 6
"""How often a file is asked for in vain, one after the other; each byte that comes begins the count anew."""

LONGEST_PAUSE: Final = Seconds(30)

_NO_LOCKS: Final = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What network file systems without locks answer: better two pulls at once there than none."""

_BLOCK: Final = 4 * MiB


@frozen
class Step:
    """Where a pull is.

    Attributes:
        what: Whether earlier bytes are being checked, new ones fetched, a break waited out, or all are there.
        wanted: Which file.
        done: How many of its bytes are checked or fetched.
        why: Of a break: what happened.
    """

    what: Literal["checking", "fetching", "waiting", "done"]
    wanted: Wanted
    done: Bytes
    why: str = ""


def fetch(hub: Hub, plan: Plan, pause: Callable[[float], None] = time.sleep) -> Generator[Step, None, None]:
    """Fetch what is missing. Nothing happens between the steps; closing the iterator keeps what has come.

    Args:
        pause: Waits so many seconds before the hub is asked again.

    Raises:
        DownloadCut: The hub can't be reached; what has come is kept.
        DownloadFailed: It refuses, what comes isn't what it lists, another pull is at it, or the disk is full.
    """
    with ExitStack() as open_files:
        fetched: list[tuple[Wanted, BinaryIO]] = []
        try:
            _make_root(plan.root)
            plan.folder.mkdir(parents=True, exist_ok=True)
            for wanted in plan.files:
                if not wanted.there:
                    file = open_files.enter_context(_opened(wanted))
                    yield from _fetched(hub, plan.listing, wanted, file, pause)
                    fetched.append((wanted, file))
            _place(fetched)
        except OSError as error:
            full = "It goes on from there once there is room." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            raise DownloadFailed(f"{plan.folder} can't be written to: {error.strerror or error}.", hint=full) from None


def _make_root(root: Path) -> None:
    """Where LM Studio isn't installed the first root is its folder all the same, and shall not be taken for its own."""
    if not root.exists():
        root.mkdir(parents=True)
        (root / OURS).touch()


def _opened(wanted: Wanted) -> BinaryIO:
    """The unfinished file, locked: the kernel frees the lock however a process ends."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = open(os.open(wanted.partial, flags, 0o666), "r+b")  # noqa: SIM115 -- the caller's to close
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = True
    except OSError as error:
        locked = error.errno in _NO_LOCKS
    if locked and not wanted.there:
        return file
    if locked:  # another pull had it until now, and has put the file into its place: this is a new one
        wanted.partial.unlink(missing_ok=True)
    file.close()
    raise DownloadFailed(f"{wanted.target} is being fetched by another pull.", hint="Wait for that.")


def _fetched(
    hub: Hub, listing: Listing, wanted: Wanted, file: BinaryIO, pause: Callable[[float], None]
) -> Iterator[Step]:
    digest, at, size = hashlib.sha256(), 0, wanted.file.size
    if os.fstat(file.fileno()).st_size > size:
        file.truncate(0)
    while block := file.read(_BLOCK):
        digest.update(block)
        at += len(block)
        yield Step("checking", wanted, Bytes(at))
    failed = 0
    while at < size:
        try:
            for chunk in hub.stream(listing, wanted.file, at):
                if at + len(chunk) > size:
                    raise _not_listed(wanted, f"more than {size} bytes came")
                file.write(chunk)
                digest.update(chunk)
                at, failed = at + len(chunk), 0
                yield Step("fetching", wanted, Bytes(at))
            failed += 1  # an answer that ended too early without an error
        except DownloadCut as cut:
            failed += 1
            if failed >= TRIES:
                raise
            yield Step("waiting", wanted, Bytes(at), cut.message)
            pause(min(2.0 ** (failed - 1), LONGEST_PAUSE))
        if failed >= TRIES:
            raise DownloadCut(f"{wanted.file.name} doesn't come: the hub ends its answers too early.")
    file.flush()
    if wanted.file.sha256 and digest.hexdigest() != wanted.file.sha256:
        wanted.partial.unlink()
        raise _not_listed(wanted, f"its SHA-256 is {digest.hexdigest()[:12]}… instead of {wanted.file.sha256[:12]}…")
    yield Step("done", wanted, Bytes(at))


def _not_listed(wanted: Wanted, why: str) -> DownloadFailed:
    return DownloadFailed(
        f"What came as {wanted.file.name} is not what the hub lists: {why}.",
        hint="It was not kept as a model. Pull again; if that doesn't help, the file is damaged on its way.",
    )


def _place(fetched: Sequence[tuple[Wanted, BinaryIO]]) -> None:
    """Give the files their names, in the plan's order."""
    for _, file in fetched:
        os.fsync(file.fileno())
    for wanted, _ in fetched:
        if os.path.lexists(wanted.target):
            raise DownloadFailed(f"{wanted.target} has come into being meanwhile, and is not replaced.")
        wanted.partial.rename(wanted.target)
        _forget_others(wanted)


def _forget_others(wanted: Wanted) -> None:
    """Remove what earlier pulls have left of the file's other revisions."""
    start, end = f"{wanted.target.name}.", UNFINISHED
    for name in os.listdir(wanted.target.parent):
        middle = name.removeprefix(start).removesuffix(end)
        if name == f"{start}{middle}{end}" and len(middle) == 12 and all(c in "0123456789abcdef" for c in middle):
            with suppress(OSError):
                Path(wanted.target.parent, name).unlink()
