"""Something that answers like the hub does, as huggingface_hub asks it, and a storage that it redirects to.

Its answers follow the library's own source: hf_api.py (`model_info`), file_download.py (`get_hf_file_metadata`) and
utils/_http.py (`hf_raise_for_status`), which says by which headers the hub tells one refusal from another.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from attrs import Factory, define
from gguf_files import sized_llama
from huggingface_hub import close_session

from llmsup.downloads.hub_client import Hub

COMMIT = "c0ffee" + 34 * "0"
TOKEN = "hf_secret"


@define
class FakeHub:
    """Two servers on ports of their own.

    Attributes:
        url: The hub's address.
        repos: The files of each repository.
        private: Repositories that want a token.
        gated: Those that list their files to everybody, and give them to nobody.
        seen: (which server, path, Range, Authorization) of each request.
        cuts: How many bytes of its body each next answer of the storage sends before it hangs up; None: all.
        statuses: What the storage answers next instead of a file.
        whole: The storage ignores Range.
        spoil: Changes what the storage sends.
        etag: Changes the ETag that the hub tells.
        hold: Called by the storage before it sends a body.
    """

    url: str = ""
    storage: str = ""
    repos: dict[str, dict[str, bytes]] = Factory(dict)
    private: set[str] = Factory(set)
    gated: set[str] = Factory(set)
    seen: list[tuple[str, str, str, str]] = Factory(list)
    cuts: list[int | None] = Factory(list)
    statuses: list[int] = Factory(list)
    whole: bool = False
    spoil: Callable[[bytes], bytes] = bytes
    etag: Callable[[str], str] = str
    hold: Callable[[], object] = list

    @property
    def ranges(self) -> list[str]:
        """Which parts the storage was asked for, in order."""
        return [asked for where, _, asked, _ in self.seen if where == "storage"]

    def connect(self) -> Hub:
        """Ours, at this address."""
        return Hub(self.url)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class _Server(ThreadingHTTPServer):
    hub: FakeHub


class _Handler(BaseHTTPRequestHandler):
    """The hub itself."""

    where = "hub"
    server: _Server

    def do_GET(self) -> None:
        asked, token = self.headers.get("Range", ""), self.headers.get("Authorization", "")
        self.server.hub.seen.append((self.where, self.path, asked, token))
        self.answer(unquote(urlsplit(self.path).path), token)

    def answer(self, path: str, token: str) -> None:
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            if self.may(match[1], token):
                self.describe(match[1], match[2])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            if self.may(match[1], token):
                self.redirect(match[1], match[2], match[3], token)
        else:
            self.tell(404, {}, b"<html>Sorry</html>")

    def describe(self, repo: str, revision: str | None) -> None:
        if revision in (None, "main", "v1"):
            self.tell(200, {}, json.dumps(described(repo, self.server.hub.repos[repo])).encode())
        else:
            self.refuse(404, "RevisionNotFound", "Invalid rev id: nosuch")

    def redirect(self, repo: str, revision: str, path: str, token: str) -> None:
        hub = self.server.hub
        if repo in hub.gated:
            self.refuse(403 if token else 401, "GatedRepo", "Access to this model is restricted.")
        elif (data := hub.repos[repo].get(path)) is None:
            self.refuse(404, "EntryNotFound", "Entry not found")
        else:
            tag = f'"{hub.etag(digest(data))}"'
            told = {"X-Repo-Commit": revision, "X-Linked-Size": str(len(data)), "X-Linked-ETag": tag}
            self.tell(302, {**told, "Location": f"{hub.storage}/{repo}/{path}?signed=1"}, b"")

    def may(self, repo: str, token: str) -> bool:
        hub = self.server.hub
        if token and token != f"Bearer {TOKEN}":
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif repo not in hub.repos or (repo in hub.private and not token):
            self.refuse(404 if token else 401, "RepoNotFound", "Invalid username or password.")
        else:
            return True
        return False

    def refuse(self, status: int, code: str, message: str) -> None:
        told = {"X-Error-Code": code, "X-Error-Message": message}
        self.tell(status, {k: v for k, v in told.items() if v}, json.dumps({"error": message}).encode())

    def tell(self, status: int, headers: Mapping[str, str], body: bytes, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:cut])

    def log_message(self, *_: object) -> None:
        pass


class _Storage(_Handler):
    """What it redirects to."""

    where = "storage"

    def answer(self, path: str, token: str) -> None:
        assert not token, "the storage is someone else's, and must not get the token"
        hub = self.server.hub
        if hub.statuses and (status := hub.statuses.pop(0)):
            self.tell(status, {}, b"ill")
            return
        _, org, repo, file = path.split("/", 3)
        data = hub.spoil(hub.repos[f"{org}/{repo}"][file])
        hub.hold()
        cut = hub.cuts.pop(0) if hub.cuts else None
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None or hub.whole:
            self.tell(200, {"ETag": '"x"'}, data, cut)
            return
        start, end = int(match[1]), min(int(match[2] or len(data)), len(data) - 1)
        if start >= len(data):
            self.tell(416, {"Content-Range": f"bytes */{len(data)}"}, b"")
            return
        self.tell(206, {"Content-Range": f"bytes {start}-{end}/{len(data)}"}, data[start : end + 1], cut)


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """One that runs while the block does."""
    hub = FakeHub()
    with ExitStack() as stack:
        servers = [stack.enter_context(_Server(("127.0.0.1", 0), each)) for each in (_Handler, _Storage)]
        hub.url, hub.storage = (f"http://127.0.0.1:{server.server_port}" for server in servers)
        for server in servers:
            server.hub = hub
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield hub


def described(repo: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    """What `/api/models/…?blobs=true` says of a repository."""
    siblings: list[dict[str, Any]] = []
    for path, data in files.items():
        blob = hashlib.sha1(data).hexdigest()  # noqa: S324 -- git's
        sibling = {"rfilename": path, "size": len(data), "blobId": blob}
        if path.endswith(".gguf"):
            sibling["lfs"] = {"sha256": digest(data), "size": len(data), "pointerSize": 135}
        siblings.append(sibling)
    return {"id": repo, "modelId": repo, "sha": COMMIT, "private": False, "gated": False, "siblings": siblings}


def model(folder: Path, name: str, *, rows: int = 600, **more: Any) -> bytes:
    """A GGUF of a little over `rows` / 2 kB, whose content is told by its name."""
    return sized_llama(folder / "made" / "model.gguf", rows, {"general.name": name, **more}).read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """One that commands and servers take for the hub; no token and no proxy of the user's is used."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", str(tmp_path / "no_token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    with fake_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running
        close_session()  # the library keeps its connections for the next one, which isn't there
