"""What models were seen to cost, kept from one run to the next.

It does not know what makes two loads alike: its caller names each by a key.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path

import msgspec
from attrs import frozen

from ...units import Bytes

FORMAT = 1
MOST = 2000
"""Entries; beyond, those that were not seen for the longest time are forgotten."""

LARGEST_FILE = 4 * 1024**2
_ABSURD = 2**50


@frozen
class _Seen:
    bytes: int
    at: float


@frozen
class _Document:
    format: int
    seen: dict[str, _Seen]


class FootprintStore:
    """The highest that was seen, by key. `load` and `save` use the disk; one call at a time, from any thread."""

    def __init__(self, file: Path) -> None:
        """`file`: where they are kept."""
        self._file = file
        self._seen: dict[str, _Seen] = {}
        self._dirty = False
        self._told = ""

    def load(self) -> str | None:
        """Take what was saved.

        Returns:
            Why there is nothing, a sentence, if there should be something; it is then measured anew.
        """
        self._seen = {}
        try:
            if self._file.stat().st_size > LARGEST_FILE:
                return f"{self._file} is too large to be ours; what models cost is measured anew."
            document = msgspec.json.decode(self._file.read_bytes(), type=_Document)
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"{self._file} can't be read ({error.strerror or error}); what models cost is measured anew."
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return f"{self._file} is damaged; what models cost is measured anew."
        if document.format == FORMAT:
            self._seen = {key: seen for key, seen in document.seen.items() if 0 < seen.bytes < _ABSURD}
        return None

    def get(self, key: str) -> Bytes | None:
        """What was seen, in bytes; None: nothing yet."""
        seen = self._seen.get(key)
        return None if seen is None else Bytes(seen.bytes)

    def put(self, key: str, size: Bytes) -> None:
        """Remember what a run has come to; the last run counts, not the highest of all: files and prompts change."""
        if 0 < size < _ABSURD:
            self._seen.pop(key, None)
            self._seen[key] = _Seen(size, round(time.time(), 3))
            while len(self._seen) > MOST:
                del self._seen[next(iter(self._seen))]
            self._dirty = True

    def save(self) -> str | None:
        """Write what is new; the file is replaced as a whole, and only its owner may read it. What could not be written
        is tried again the next time.

        Returns:
            Why it could not be written, a sentence; None if all is well, or if that was said already.
        """
        if not self._dirty:
            return None
        self._dirty = False
        data = msgspec.json.encode(_Document(FORMAT, dict(self._seen)))
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(prefix=f".{self._file.name}.", dir=self._file.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                Path(temporary).replace(self._file)
            except BaseException:
                with contextlib.suppress(OSError):
                    Path(temporary).unlink()
                raise
        except OSError as error:
            self._dirty = True
            said, self._told = self._told, f"what models cost can't be kept in {self._file}: {error.strerror or error}."
            return self._told if self._told != said else None
        self._told = ""
        return None
