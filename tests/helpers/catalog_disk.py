"""A disk with a few files on it, and what their headers are taken to say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ollama_store
from attrs import Factory, define

from llmsup.catalog.build import build
from llmsup.catalog.disk.survey import Survey, survey
from llmsup.catalog.found import Found, Snapshot, Unreadable
from llmsup.catalog.gguf.facts import Facts
from llmsup.config.schema import Catalog

MODEL = Facts(architecture="llama", kind="chat")
PROJECTOR = Facts(architecture="clip", role="projector")
BROKEN = Unreadable("it is empty")


@define
class Disk:
    """Files made by a test, with headers that they needn't really have."""

    base: Path
    roots: tuple[str, ...] = ("root",)
    bridge: str = "bridge"
    headers: dict[Path, Facts | Unreadable] = Factory(dict)

    def put(self, where: str, header: Facts | Unreadable = MODEL) -> Path:
        path = self.base / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(where.encode())
        self.headers[path.resolve()] = header
        return path

    def link(self, where: str, target: Path) -> Path:
        path = self.base / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
        return path

    def ollama(self, name: str, header: Facts | Unreadable = MODEL, *, content: str = "", **more: Any) -> Path:
        """Returns its blob; `content` is what makes it another model's too."""
        ollama_store.add(self.base / "store", name, (content or name).encode(), **more)
        (stored,) = (one for one in self.survey().ollama if one.model.name == name)
        self.headers[stored.blob.path] = header
        for stamp in stored.projectors.values():
            self.headers[stamp.path] = PROJECTOR
        return stored.blob.path

    def survey(self, *extra: Path) -> Survey:
        roots = tuple(self.base / root for root in self.roots)
        return survey(Catalog(roots=roots, ollama=self.base / "store"), extra=extra, bridge=self.base / self.bridge)

    def snapshot(self, *extra: Path) -> Snapshot:
        seen = self.survey(*extra)
        return build(seen, {stamp: self.headers[stamp.path] for stamp in seen.stamps})

    def models(self) -> Mapping[str, Found]:
        return self.snapshot().models

    def left_out(self) -> dict[str, str]:
        return {str(left.path.relative_to(self.base)): left.reason for left in self.snapshot().left_out}


def part(number: int, total: int, **more: Any) -> Facts:
    """The header of one of several parts; only the first says what the model is."""
    return Facts(architecture="llama" if number == 1 else "", split=(number - 1, total), **more)
