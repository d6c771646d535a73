"""What is kept in a JSON file from one run to the next, read back: it may be missing, damaged, or another version's."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
from attrs import frozen

Document = TypeVar("Document")


@frozen
class _Format:
    format: int


def read_kept(
    file: Path, document: type[Document], *, version: int, largest: int, instead: str
) -> tuple[Document | None, str | None]:
    """Read a file that begins anew whenever it can't be used.

    Args:
        document: What is in it; its member `format` has the version.
        version: Ours. A file of another one counts as missing: its members may be others, too.
        largest: Bytes that it may have; a larger one isn't ours.
        instead: What happens without it, a clause for people.

    Returns:
        What is in it, or None; and why an existing file couldn't be used, a sentence, or None.
    """
    try:
        if file.stat().st_size > largest:
            return None, f"{file} is too large to be ours; {instead}."
        data = file.read_bytes()
        if msgspec.json.decode(data, type=_Format).format != version:
            return None, None
        return msgspec.json.decode(data, type=document), None
    except FileNotFoundError:
        return None, None
    except OSError as error:
        return None, f"{file} can't be read ({error.strerror or error}); {instead}."
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None, f"{file} is damaged; {instead}."
