"""What a running server leaves in its `state_dir` for the commands of its own user: where it answers, and a key.

A config may be edited while its server runs, so it doesn't tell where the server is, nor which keys it takes. It does
not know who reads it, nor how one asks a server.
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
"""How far apart two readings of one process's start may be: Linux tells it from the boot on, and the clock is set."""


def new_token() -> str:
    """A key that nobody can guess."""
    return secrets.token_urlsafe(32)


@frozen(kw_only=True)
class ServerFile:
    """One server.

    Attributes:
        pid: Its process; `began` is when that began, in Unix seconds: the number alone may be another one's by now.
        urls: Where a client on this machine reaches it, one for each address that it listens on.
        token: A key that it takes for as long as it runs.
        config: Its config's path, or "" if it has none.
    """

    pid: int
    began: float
    urls: tuple[str, ...]
    token: str = field(repr=False)
    config: str = ""

    @property
    def runs(self) -> bool:
        """Whether it is still there."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.began) <= SAME and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


@contextlib.contextmanager
def left_in(state_dir: Path, *, urls: tuple[str, ...], token: str, config: Path | None) -> Iterator[None]:
    """Leave the file of this process while the block runs; those of servers that were killed are removed.

    One that can't be written is told in the log: the commands then go by the config.
    """
    began = psutil.Process().create_time()
    text = {
        "pid": os.getpid(),
        "began": began,
        "urls": urls,
        "token": token,
        "config": str(config.absolute()) if config else "",
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
    """The servers that run, the newest first."""
    found = [file for path in _files(state_dir) if (file := _read(path)) and file.runs]
    return sorted(found, key=lambda file: file.began, reverse=True)


def _files(state_dir: Path) -> list[Path]:
    try:
        return sorted(state_dir.glob(_NAME.format("*")))
    except OSError:
        return []


def _read(path: Path) -> ServerFile | None:
    """One file, if it is this user's: nobody else may say where this user's commands go."""
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
        )
    except (OSError, ValueError, KeyError, TypeError):  # it is going, or another version's, or nobody's
        return None


def _sweep(state_dir: Path) -> None:
    """Remove what servers left that could not do it themselves."""
    for path in _files(state_dir):
        file = _read(path)
        if file is not None and not file.runs:
            with contextlib.suppress(OSError):
                path.unlink()
