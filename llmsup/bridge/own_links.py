"""The list of links that we made, kept beside them: only what is on it may be replaced or removed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from ..errors import SetupError
from ..process.atomic import write_atomic

FILE = ".llmsup-bridge.json"
LOCK = ".llmsup-bridge.lock"

_FORMAT = 1


@frozen
class LinkRecord:
    """One link of ours.

    Attributes:
        model: The model it is for, by Ollama's name.
        targets: What it leads to; two while it is being changed, in case we are killed in between.
    """

    model: str
    targets: tuple[str, ...]


def read(target: Path) -> dict[str, LinkRecord]:
    """Our links, by path under the target; empty if there is no list.

    Raises:
        SetupError: The list can't be read, or isn't one that we wrote.
    """
    file = target / FILE
    try:
        return _entries(json.loads(file.read_bytes()))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise SetupError(f"{file} can't be read: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise SetupError(
            f"{file} is damaged, so which links are llmsup's is not known, and nothing was changed.",
            hint="Remove it: the links that are there then count as yours, and new ones are made beside them.",
        ) from None


def write(target: Path, entries: Mapping[str, LinkRecord]) -> None:
    """Replace the list, whole or not at all. Raises OSError."""
    links = {path: {"model": one.model, "targets": one.targets} for path, one in sorted(entries.items())}
    about = "The links here that llmsup made, and may change or remove. It touches nothing else."
    text = json.dumps({"about": about, "format": _FORMAT, "links": links}, indent=1)
    write_atomic(target / FILE, text.encode())


def forget(target: Path) -> None:
    """Remove the list and its lock file. Raises OSError."""
    for file in (target / FILE, target / LOCK):
        file.unlink(missing_ok=True)


def _entries(said: Any) -> dict[str, LinkRecord]:
    """Raises ValueError, KeyError, TypeError, AttributeError if it isn't one of our lists."""
    if said["format"] != _FORMAT:
        raise ValueError("another format")
    entries: dict[str, LinkRecord] = {}
    for path, link in said["links"].items():
        model, targets = link["model"], link["targets"]
        folder, _, name = path.partition("/")
        inside = folder not in ("", ".", "..") and name.endswith(".gguf") and "/" not in name and "\0" not in path
        if not (inside and isinstance(model, str) and targets and all(isinstance(one, str) for one in targets)):
            raise ValueError("not a link of ours")
        entries[path] = LinkRecord(model, tuple(targets))
    return entries
