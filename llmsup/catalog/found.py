"""The result of scanning the disk: models with their files, and what was left out and why.

What the config says about them is joined to it in `merge`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import Factory, field, frozen

from ..units import Bytes
from .gguf.facts import Facts
from .ollama import compat

Source = Literal["folder", "ollama"]


@frozen
class Stamp:
    """One state of one real file: it changes when the file is replaced or written to.

    Attributes:
        path: The real path, links resolved; of several hard links, the one found first.
        size: In bytes.
        mtime_ns: When it was last written.
        node: Device and inode, by which hard links are recognised; (0, 0) if unknown.
    """

    path: Path
    size: int
    mtime_ns: int
    node: tuple[int, int] = field(default=(0, 0), eq=False)

    def same(self, other: Stamp) -> bool:
        """Whether it is the same state of the same file, also after that was moved or given another name."""
        moved = self.node == other.node != (0, 0) and (self.size, self.mtime_ns) == (other.size, other.mtime_ns)
        return self == other or moved


@frozen
class Unreadable:
    """A file that isn't a GGUF, or is incomplete; `reason` is a clause: "it ends within its tensor table"."""

    reason: str


@frozen
class LeftOut:
    """A file that is not served on its own.

    Attributes:
        reason: A clause: "a LoRA adapter".
        names: The names that a client may ask for it by.
    """

    path: Path
    reason: str
    names: tuple[str, ...] = field(default=(), eq=False)


@frozen(kw_only=True)
class Found:
    """One model that an engine can be started with.

    Attributes:
        id: Its name in the catalog: `publisher/model`, `publisher/model@Q4_K_M`, or Ollama's `llama3.1:8b`.
        path: What the engine is given: the file by the path where it was found; of a split model, the first part.
        files: All its real files in their present state: parts, projector, adapters.
        facts: Its header; a split model's is the first part's, with the `weights` and `parameters` of all parts.
        names: Other names that it may answer to, the best known first; several models may claim the same name.
        paths: All paths to its parts: it answers to them, but they are not shown.
        projector: Its `mmproj` file, or None.
        projector_facts: That file's header.
        draft_facts: The header of the draft model that its `args` name, if they do.
        extras: Other files that its `args` make an engine load: adapters, control vectors.
        adapters: LoRA adapters that belong to it (Ollama's `ADAPTER`).
        source: Where its canonical name comes from.
        ollama: Its names in Ollama's store, each with the sampling parameters of that name.
        ctx_size: Tokens of context that Ollama's parameters ask for; 0: none.
        unseeing: Why it is served without its projector, a clause; "" if it has none or uses it.
        ollama_only: Why only Ollama's own build can run it, a clause; "" if any build can.
        tensors: It is a directory of safetensors; else a GGUF.
        problem: Why it can't be served, a clause: "part 2 of 3 is missing"; "" if it can.
    """

    id: str
    path: Path
    files: tuple[Stamp, ...]
    facts: Facts
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    projector: Path | None = None
    projector_facts: Facts | None = None
    draft_facts: Facts | None = None
    extras: tuple[Stamp, ...] = ()
    adapters: tuple[Path, ...] = ()
    source: Source = "folder"
    ollama: Mapping[str, Mapping[str, Any]] = Factory(dict)
    ctx_size: int = 0
    unseeing: str = ""
    ollama_only: str = ""
    tensors: bool = False
    problem: str = ""

    @property
    def sees_with_itself(self) -> bool:
        """Its projector is in the model's own file, from where Ollama's build, which alone can run it, takes it."""
        return bool(self.ollama_only) and compat.sees_with_itself(self.facts)

    @property
    def size(self) -> Bytes:
        """Bytes on the disk, of all its files together."""
        return Bytes(sum(stamp.size for stamp in self.files))


@frozen
class Snapshot:
    """The whole catalog at one moment.

    Attributes:
        beside: Those of the files named in models' `args` that exist, with their headers; None: not read yet.
        complete: Whether every file's header was read.
    """

    models: Mapping[str, Found] = Factory(dict)
    left_out: tuple[LeftOut, ...] = ()
    beside: Mapping[Path, tuple[Stamp, Facts | Unreadable | None]] = Factory(dict)
    complete: bool = True
