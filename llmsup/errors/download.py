"""A model could not be fetched."""

from __future__ import annotations

from .base import Error


class DownloadFailed(Error):
    """A model could not be fetched: the hub refuses, has another file than it lists, or the disk has no room."""

    status, code = 502, "download_failed"
    lasting = True


class DownloadCut(DownloadFailed):
    """The hub doesn't answer now, or an answer broke off; what has come is kept, and another try goes on from there."""

    lasting = False
