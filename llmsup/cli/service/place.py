"""The service's file: checking that it is ours, writing and removing it."""

from __future__ import annotations

from pathlib import Path

from ...config.write import write_whole
from ...errors import SetupError

MARK = "Written by `llmsup service install`, which writes it anew; `llmsup service uninstall` removes it."
"""A comment at the top of the file. A file without exactly this text isn't ours, so it must never change."""

_HEAD = 4096
"""How many bytes at the start must contain the mark."""


def written_before(path: Path) -> bool:
    """Whether there is a file of ours.

    Raises:
        SetupError: There is something else, which must not be touched.
    """
    if path.is_symlink():  # made by `systemctl mask`, to /dev/null (systemctl(1)), and by people with dotfiles
        raise _not_ours(path, f"is a link to {path.readlink()}")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SetupError(f"{path} can't be read: {error.strerror or error}.", hint="Check what it is.") from None
    if MARK.encode() not in head:
        raise _not_ours(path, "was not written by `llmsup service install`")
    return True


def put(path: Path, text: str) -> None:
    """Write the file, whole or not at all, readable only by its owner: it may contain secrets.

    Raises:
        SetupError: It can't be written.
    """
    write_whole(path, text, force=True, private=True)


def remove(path: Path) -> None:
    """Remove the file, which `written_before` has found to be ours.

    Raises:
        SetupError: It can't be removed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SetupError(f"{path} can't be removed: {error.strerror or error}.", hint="Remove it by hand.") from None


def _not_ours(path: Path, why: str) -> SetupError:
    return SetupError(f"{path} {why}, so it is left alone.", hint="Move it away if it is not needed.")
