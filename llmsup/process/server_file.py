"""What a running server leaves in its `state_dir` for its own user's commands: where it listens, and a key.

They are not in the config: it may have been edited since the server started.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from attrs import field, frozen

from ..units import Seconds
from .atomic import write_atomic

log = logging.getLogger(__name__)

_NAME = "server-{}.json"

SAME = Seconds(2)
"""Seconds that two readings of a process's start may differ by: Linux counts from boot, and the clock gets adjusted."""


def new_token() -> str:
    """An unguessable key."""
    return secrets.token_urlsafe(32)


@frozen(kw_only=True)
class ServerFile:
    """One server.

    Attributes:
        pid: Its process; `began` is when that started, in Unix seconds, as the number may have been reused.
        urls: Where a client on this machine reaches it, one for each address that it listens on.
        token: A key that it accepts while it runs.
        config: Its config's path, or "" if it has none.
        reads: Whether a reload reads that, or the usual one if there is one by then. `llmsup demo` reads none.
        identity: What its peers know it by, while it runs; "" if it doesn't say.
    """

    pid: int
    began: float
    urls: tuple[str, ...]
    token: str = field(repr=False)
    config: str = ""
    reads: bool = True
    identity: str = ""

    @property
    def runs(self) -> bool:
        """Whether it still runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.began) <= SAME and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


@contextlib.contextmanager
def left_in(
    state_dir: Path,
    *,
    urls: tuple[str, ...],
    token: str,
    config: Path | None,
    reads: bool = True,
    identity: str = "",
) -> Iterator[None]:
    """Keep this process's file there while the block runs; those of servers that were killed are removed.

    If it can't be written, that is logged, and the commands use what the config says.
    """
    began = psutil.Process().create_time()
    text = {
        "pid": os.getpid(),
        "began": began,
        "urls": urls,
        "token": token,
        "config": str(config.absolute()) if config else "",
        "reads": reads,
        "identity": identity,
    }
    path = state_dir / _NAME.format(os.getpid())
    try:
        write_atomic(path, json.dumps(text).encode() + b"\n")
    except OSError as error:
        said = error.strerror or error
        log.warning(
            "commands such as `llmsup ps` may need --url and $LLMSUP_API_KEY: %s can't be written: %s.", path, said
        )
    _sweep(state_dir)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def servers_of(state_dir: Path) -> list[ServerFile]:
    """The running servers, newest first."""
    found = [file for path in _files(state_dir) if (file := _read(path)) and file.runs]
    return sorted(found, key=lambda file: file.began, reverse=True)


def _files(state_dir: Path) -> list[Path]:
    try:
        return sorted(state_dir.glob(_NAME.format("*")))
    except OSError:
        return []


def _read(path: Path) -> ServerFile | None:
    """One file, if it belongs to this user: another user's could redirect this user's commands."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid != os.getuid():
                return None
            read: Any = json.loads(file.read())
        return ServerFile(
            pid=int(read["pid"]),
            began=float(read["began"]),
            urls=tuple(map(str, read["urls"])),
            token=str(read["token"]),
            config=str(read["config"]),
            reads=bool(read.get("reads", True)),
            identity=str(read.get("identity", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):  # being removed, another version's, or damaged
        return None


def _sweep(state_dir: Path) -> None:
    """Remove the files of servers that were killed."""
    for path in _files(state_dir):
        file = _read(path)
        if file is not None and not file.runs:
            with contextlib.suppress(OSError):
                path.unlink()
