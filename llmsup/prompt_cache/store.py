"""The directory of all saved slots: who owns it, what is in it, and what has to go so that it stays within its budget.

prompt-cache/lock        held by the llmsup that uses the directory
prompt-cache/written     how much was written today
prompt-cache/saved/      three files for each saved slot (`saved`)
prompt-cache/engines/    one directory for each engine that runs, into which it writes and from which it reads
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from attrs import evolve

from ..process.atomic import write_atomic
from .saved import NAME, Saved, data_file, note, read, remove, seal, verify

DAY = 86400
_ENGINE = re.compile(r"[0-9a-f]{16}")


class Store:
    """All saved slots. Its methods block on the disk, except `of`, `bytes` and `written`.

    Attributes:
        directory: Where it is.
        entries: The saved slots by id.
        problem: Why it can't be used, a clause; "" if it can.
        clears: How many times any were removed because a person wanted that.
    """

    def __init__(self, directory: Path, now: Callable[[], float] = time.time) -> None:
        """`now`: the time in Unix seconds."""
        self.directory = directory
        self.entries: dict[str, Saved] = {}
        self.problem = "it was not opened yet"
        self.clears = 0
        self._now = now
        self._lock: int | None = None
        self._day = 0
        self._written = 0

    @property
    def _saved(self) -> Path:
        return self.directory / "saved"

    def open(self) -> bool:
        """Take the directory, unless it is ours already or another's; returns whether this call has taken it.

        What crashed writers have left there is removed, by our names for it: nothing else is.
        """
        if self._lock is not None:
            return False
        try:
            for each in (self.directory, self._saved, self.directory / "engines"):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.directory.chmod(0o700)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            lock = os.open(self.directory / "lock", flags, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._sweep()
            except BaseException:
                os.close(lock)
                raise
        except BlockingIOError:
            self.problem = f"another llmsup uses {self.directory}"
            return False
        except OSError as error:
            self.problem = f"{self.directory} can't be used: {error.strerror or error}"
            return False
        self._lock, self.problem = lock, ""
        return True

    def close(self) -> None:
        """Let another have the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock, self.problem = None, "it is closed"

    def _sweep(self) -> None:
        for left in (self.directory / "engines").iterdir():
            if _ENGINE.fullmatch(left.name) and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
        self.entries = {}
        ours = {match[1] for path in self._saved.iterdir() if (match := NAME.fullmatch(path.name))}
        for temporary in self._saved.glob(".*.tmp"):  # of `process.atomic`, in a directory of ours
            temporary.unlink(missing_ok=True)
        for each in sorted(ours):
            with contextlib.suppress(OSError):  # one that can't be read or removed doesn't take the others away
                if (saved := read(self._saved, each)) is None:
                    remove(self._saved, each)
                else:
                    self.entries[each] = saved
        with contextlib.suppress(OSError, msgspec.MsgspecError, ValueError):
            self._day, self._written = msgspec.json.decode(
                (self.directory / "written").read_bytes(), type=tuple[int, int]
            )

    # What there is...

    @property
    def bytes(self) -> int:
        """The bytes of all of it."""
        return sum(each.bytes for each in list(self.entries.values()))

    def of(self, model: str) -> list[Saved]:
        """The saved slots of a model, the most recently used first."""
        return sorted((s for s in list(self.entries.values()) if s.model == model), key=lambda s: -s.used_at)

    @property
    def written(self) -> int:
        """The bytes that were written today (UTC)."""
        return self._written if self._day == int(self._now() // DAY) else 0

    @property
    def free(self) -> int:
        """The bytes that are free on its disk. Raises OSError: it is gone."""
        return shutil.disk_usage(self._saved).free

    def look(self) -> None:
        """Begin anew if somebody has removed the directory, with all that was in it."""
        if self._lock is not None and not self._saved.is_dir():
            self.close()
            self.entries = {}
            self.open()

    # Changing it...

    def room_for_engine(self) -> Path:
        """A new directory for one engine, into which it can write. Raises OSError."""
        self.look()
        path = self.directory / "engines" / secrets.token_hex(8)
        path.mkdir(mode=0o700)
        return path

    def leave(self, room: Path) -> None:
        """Remove an engine's directory, after its end."""
        shutil.rmtree(room, ignore_errors=True)

    def count(self, size: int) -> None:
        """Note that an engine has written so many bytes, or fewer than was noted before."""
        self._day, self._written = int(self._now() // DAY), max(self.written + size, 0)
        with contextlib.suppress(OSError):
            write_atomic(self.directory / "written", msgspec.json.encode((self._day, self._written)))

    def take(self, fresh: Path, saved_id: str) -> None:
        """Take a file that an engine has written; without `add` it is removed at the next start.

        Raises:
            OSError: It can't be taken; it is removed.
        """
        try:
            fresh.chmod(0o600)
            fresh.rename(data_file(self._saved, saved_id))
        except OSError:
            fresh.unlink(missing_ok=True)
            raise

    def add(self, saved: Saved, *, most: int, instead_of: Iterable[str] = ()) -> Saved | None:
        """Make an entry of what was taken, in place of older ones; the least recently used of all go, so that there are
        no more than `most` bytes. None if it is larger than that by itself, and is removed.

        Raises:
            OSError: It can't be kept; nothing is left of it, and nothing else was removed.
        """
        if saved.bytes > most:
            self.drop(saved.id)
            return None
        saved = seal(self._saved, saved)
        self.entries[saved.id] = saved
        for each in instead_of:
            self.drop(each)
        self.shrink(most, keep=saved.id)
        return saved

    def shrink(self, most: int, keep: str = "") -> None:
        """Remove the least recently used until there are no more than `most` bytes."""
        if not keep and self.bytes > most:  # the config was changed
            self.clears += 1
        for each in sorted(self.entries.values(), key=lambda s: s.used_at):
            if self.bytes <= most:
                break
            if each.id != keep:
                self.drop(each.id)

    def lend(self, saved: Saved, room: Path) -> str | None:
        """Put a saved slot into an engine's directory, if it is still what was saved; returns its name there.

        None if it isn't, and is removed.

        Raises:
            OSError: It can't be read or put there; it is removed, too.
        """
        name = f"{secrets.token_hex(8)}.slot"
        try:
            if verify(self._saved, saved):
                os.link(data_file(self._saved, saved.id), room / name)
                return name
        except OSError:
            self.drop(saved.id)
            raise
        self.drop(saved.id)
        return None

    def used(self, saved: Saved, older: int) -> None:
        """Note that it was restored just now; `older`: how many others were that have been used more recently."""
        if saved.id in self.entries:
            self.entries[saved.id] = saved = evolve(saved, used_at=self._now() - older)
            with contextlib.suppress(OSError):
                note(self._saved, saved)

    def drop(self, saved_id: str) -> None:
        """Remove one."""
        self.entries.pop(saved_id, None)
        with contextlib.suppress(OSError):  # if it can't be removed now, the next start tries again
            remove(self._saved, saved_id)

    def clear(self, model: str | None = None) -> tuple[int, int]:
        """Remove all, or all of a model; returns how many, and their bytes."""
        gone = [each for each in list(self.entries.values()) if model in (None, each.model)]
        for each in gone:
            self.drop(each.id)
        self.clears += bool(gone)
        return len(gone), sum(each.bytes for each in gone)

    def path(self, saved: Saved) -> Path:
        """Where its data is."""
        return data_file(self._saved, saved.id)
