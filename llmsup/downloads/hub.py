"""What a repository of the hub has; and the hub itself, if the library for it is installed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen

from ..errors import SetupError
from ..units import Bytes

if TYPE_CHECKING:
    from .hub_client import Hub

ENDPOINT = "https://huggingface.co"


@frozen
class HubFile:
    """A file in a repository.

    Attributes:
        path: Its path there.
        size: In bytes.
        sha256: Of its content, in hex; "" for one that isn't in the hub's storage for large files.
        blob: Git's id of it, which differs for each content.
    """

    path: str
    size: Bytes
    sha256: str = ""
    blob: str = ""

    @property
    def name(self) -> str:
        """Without the folders."""
        return self.path.rpartition("/")[2]

    @property
    def folder(self) -> str:
        """The folders; "" if there are none."""
        return self.path.rpartition("/")[0]

    @property
    def digest(self) -> str:
        """What tells this content from any other of the file's."""
        return self.sha256 or self.blob


@frozen
class Listing:
    """A repository at one commit.

    Attributes:
        repo: "org/repo", as the hub spells it, which knows old names and other cases too.
        commit: The commit, so that all that is fetched is of one state.
        files: All its files.
    """

    repo: str
    commit: str
    files: tuple[HubFile, ...]


def endpoint(environ: Mapping[str, str] = os.environ) -> str:
    """The hub's address: $HF_ENDPOINT, by which people use a mirror, else the public hub's."""
    return (environ.get("HF_ENDPOINT", "").strip() or ENDPOINT).rstrip("/")


def mirror(environ: Mapping[str, str] = os.environ) -> str:
    """The host of the hub in use, with its port, whose addresses people may paste."""
    return urlsplit(endpoint(environ)).netloc


def hub(environ: Mapping[str, str] = os.environ) -> Hub:
    """The hub, through its own library, which takes a while to import. Nothing is asked yet.

    Raises:
        SetupError: The library isn't installed.
    """
    # Else the library asks the hub, with a request of its own, how to describe this machine's programs to it.
    quiet = "HF_HUB_DISABLE_TELEMETRY"
    ours = quiet not in os.environ
    os.environ.setdefault(quiet, "1")
    try:
        from .hub_client import Hub
    except ImportError as error:
        raise SetupError(
            f"Models from the hub are pulled with what llmsup's extra `pull` brings, which isn't installed: {error}.",
            hint="Run, where llmsup's source is: pip install -e '.[engine,pull]'",
        ) from None
    finally:
        if ours:
            del os.environ[quiet]  # engines inherit the environment
    return Hub(endpoint(environ))
