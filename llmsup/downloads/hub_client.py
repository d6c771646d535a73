"""The hub through huggingface_hub, its own library: this module alone imports it, and words its errors for people.

The library knows the hub's addresses and API, the user's token ($HF_TOKEN, or the one that `hf auth login` keeps) and
proxies. The bytes are read here, with the library's client, as its own downloads can't be resumed: a process of its
removes what it has not completed.

No exception of the library's is chained or quoted whole: it holds the request, and with it the token.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx2
from huggingface_hub import HfApi, get_session, get_token, hf_hub_url, hf_raise_for_status
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, not re-exported

from .. import __version__
from ..errors import DownloadCut, DownloadFailed, ModelNotFound
from ..units import Bytes, Seconds
from .hub import HubFile, Listing
from .name import HubName

PATIENCE: Final = Seconds(30)
"""How long the hub may take to accept a connection, and to send the next bytes."""

LOGIN: Final = "Set $HF_TOKEN to a token of yours (huggingface.co/settings/tokens), or run `hf auth login`."

_RANGE: Final = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_REPO: Final = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)

# Their lines would have the addresses of files, which for a private one let anybody fetch it for a while.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Hub:
    """The hub at one address. All methods block, and raise DownloadCut, DownloadFailed or ModelNotFound."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint`: its address, without a slash at the end."""
        self.endpoint = endpoint
        self._api = HfApi(endpoint=endpoint, library_name="llmsup", library_version=__version__)

    def listing(self, name: HubName) -> Listing:
        """What a repository has."""
        with self._telling(name.repo, name.revision):
            info = self._api.model_info(
                name.repo, revision=name.revision or None, files_metadata=True, timeout=PATIENCE
            )
        repo = info.id if _REPO.fullmatch(info.id) and ".." not in info.id else name.repo
        files = [
            HubFile(
                sibling.rfilename,
                Bytes(sibling.lfs.size if sibling.lfs else sibling.size or 0),
                sibling.lfs.sha256 if sibling.lfs else "",
                sibling.blob_id or "",
            )
            for sibling in info.siblings or ()
        ]
        return Listing(repo, info.sha or name.revision or "main", tuple(files))

    def stream(self, listing: Listing, file: HubFile, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """A file's bytes as they come, from `start` to before `end`, by default to its end.

        The address is asked for anew each time: that of the file's storage, to which the hub redirects, soon expires.
        """
        url = hf_hub_url(listing.repo, file.path, revision=listing.commit, endpoint=self.endpoint)
        headers = build_hf_headers(library_name="llmsup", library_version=__version__)
        # Always a range: storages refuse very large files otherwise.
        headers["Range"] = f"bytes={start}-{(file.size if end is None else end) - 1}"
        headers["Accept-Encoding"] = "identity"
        with (
            self._telling(listing.repo, listing.commit),
            get_session().stream("GET", url, headers=headers, timeout=PATIENCE) as response,
        ):
            hf_raise_for_status(response)
            ahead = start - _begins(file, response, start)
            for chunk in response.iter_bytes():
                if ahead < len(chunk):
                    yield chunk[ahead:]
                ahead = max(ahead - len(chunk), 0)

    def read(self, listing: Listing, file: HubFile, start: int, end: int) -> bytes:
        """A part of a file; no more is taken, whatever is sent."""
        parts = bytearray()
        for chunk in self.stream(listing, file, start, end):
            parts += chunk
            if len(parts) >= end - start:
                break
        return bytes(parts[: end - start])

    @contextmanager
    def _telling(self, repo: str, revision: str) -> Iterator[None]:
        """What goes wrong in the block, as an error for people."""
        try:
            yield
        except HfHubHTTPError as error:
            raise self._refusal(error, repo, revision) from None
        except OfflineModeIsEnabled:
            raise DownloadFailed(f"{repo} can't be pulled while $HF_HUB_OFFLINE is set.", hint="Unset it.") from None
        except httpx2.TransportError as error:
            why = str(error) or type(error).__name__
            raise DownloadCut(
                f"The hub at {self.endpoint} can't be reached, or its answer broke off: {why}.",
                hint="What has come is kept: pull again to go on. A mirror's address goes into $HF_ENDPOINT.",
            ) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise DownloadFailed(
                f"What {self.endpoint} says about {repo} is not what a hub says ({type(error).__name__}).",
                hint="Is $HF_ENDPOINT right?",
            ) from None

    def _refusal(self, error: HfHubHTTPError, repo: str, revision: str) -> Exception:
        status, page = error.response.status_code, f"{self.endpoint}/{repo}"
        said = error.response.headers.get("X-Error-Message", "")
        token = bool(get_token())
        if isinstance(error, GatedRepoError):
            whose = "your token's account" if token else "you"
            login = "" if token else f" {LOGIN}"
            return DownloadFailed(
                f"{repo} is gated: its publisher lets in only those who have agreed to its terms, and {whose} "
                f"{'has' if token else 'have'} not.",
                hint=f"Agree on {page}.{login}",
            )
        if isinstance(error, RevisionNotFoundError):
            return ModelNotFound(f"{repo} has no branch, tag or commit {revision!r}.", hint=f"See {page}.")
        if isinstance(error, RemoteEntryNotFoundError):
            return DownloadFailed(f"A file of {repo} is gone from the hub.", hint="Pull again: it is listed anew.")
        if status == 401 and "credentials" in said.lower():
            return DownloadFailed("The hub doesn't accept your token: it has expired, or is mistyped.", hint=LOGIN)
        if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
            private = "Your token doesn't let you see it if it is private." if token else f"If it is private: {LOGIN}"
            return ModelNotFound(
                f"There is no {repo} on the hub, or it is private.",
                hint=f"Check the spelling. {private} What Ollama calls {repo} is ollama.com/{repo}.",
            )
        if status == 403:
            return DownloadFailed(f"The hub refuses {repo}: {said or 'forbidden'}.", hint=LOGIN)
        if status in (408, 429) or status >= 500:
            return DownloadCut(f"The hub is busy or ill (HTTP {status}).", hint="Pull again later: what came is kept.")
        return DownloadFailed(f"The hub refuses {repo}: HTTP {status}{said and f', {said}'}.")


def _begins(file: HubFile, response: httpx2.Response, start: int) -> int:
    """Where in the file an answer begins: 0 for one that is the whole file, although it was asked for from `start`.

    Raises:
        DownloadFailed: It is another file than the one that was listed, or another part of it.
    """
    for answer in (*response.history, response):  # the hub says it, not the storage that it redirects to
        tag = answer.headers.get("X-Linked-ETag", "").removeprefix("W/").strip('"')
        if file.sha256 and _SHA256.fullmatch(tag) and tag != file.sha256:
            raise _other(file, f"its ETag is {tag[:12]}… instead of {file.sha256[:12]}…")
    if response.status_code != 206:
        return 0
    match = _RANGE.match(response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) > start or match[2] not in ("*", str(file.size)):
        raise _other(file, f"Content-Range is {response.headers.get('Content-Range')!r}, for {file.size} bytes")
    return int(match[1])


def _other(file: HubFile, why: str) -> DownloadFailed:
    return DownloadFailed(
        f"The hub sends another {file.name} than it lists: {why}.",
        hint="Pull again; if that doesn't help, a proxy or mirror in between has an old one.",
    )
