"""A disk full of models, made by the tests: publishers' folders, Ollama's store, links between them, and litter."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ollama_store
from attrs import Factory, define, frozen
from gguf_files import tiny_llama, write_gguf

from llmsup.config.schema import Catalog

Write = Callable[..., Path]
"""Writes a model's header to a path; keyword arguments are metadata of its own."""


def write_projector(path: Path, **more: Any) -> Path:
    """A projector's header, as llama.cpp's converter writes it."""
    metadata = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "general.file_type": 1,
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.vision.block_count": 2,
        "clip.vision.projection_dim": 256,
        **more,
    }
    return write_gguf(path, metadata, [("mm.input_projection.weight", (256, 64), "F16")])


def write_adapter(path: Path, **more: Any) -> Path:
    """A LoRA adapter's header."""
    metadata = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", **more}
    return write_gguf(path, metadata, [("blk.0.attn_q.weight.lora_a", (256, 8), "F32")])


def write_split(folder: Path, stem: str, total: int, write: Write = tiny_llama) -> list[Path]:
    """A model in so many parts; only the first one's header tells what it is, as gguf-split does it."""
    paths = [folder / f"{stem}-{number:05}-of-{total:05}.gguf" for number in range(1, total + 1)]
    for number, path in enumerate(paths):
        split = {"split.no": number, "split.count": total}
        if number:
            write_gguf(path, split, [(f"blk.{number}.attn_q.weight", (256, 256), "Q4_K")])
        else:
            write(path, **split)
    return paths


@frozen
class Planted:
    """What was made.

    Attributes:
        catalog: The settings to find it with.
        ids: The names that its models should have.
        left_out: What should be left out, by its path, and words of the reason.
    """

    catalog: Catalog
    ids: frozenset[str]
    left_out: Mapping[Path, str]


@define
class Tree:
    """One that grows under `base`: LM Studio's folder, its older place that is a link to it, and Ollama's store."""

    base: Path
    write: Write = tiny_llama
    ids: set[str] = Factory(set)
    left_out: dict[Path, str] = Factory(dict)

    @property
    def root(self) -> Path:
        return self.base / "lmstudio" / "models"

    @property
    def store(self) -> Path:
        return self.base / "ollama" / "models"

    def model(self, number: int) -> None:
        """Add a model, or two; what kind it is, its number says."""
        publisher, name = f"publisher{number % 20}", f"Model-{number}"
        folder = self.root / publisher / f"{name}-GGUF"
        id_ = f"{publisher}/{name}-GGUF"
        match number % 10:
            case 4:
                self._file(folder / f"{name}-Q4_K_M.gguf", number)
                self._file(folder / f"{name}-Q8_0.gguf", number)
                self.ids |= {f"{id_}@Q4_K_M", f"{id_}@Q8_0"}
                return
            case 5:
                write_split(folder, f"{name}-Q6_K", 3, lambda path, **more: self._file(path, number, **more))
            case 6:
                self._file(folder / f"{name}-Q4_K_M.gguf", number)
                write_projector(folder / "mmproj-F16.gguf", **{"general.name": name})
            case 7:
                self._file(self.root / publisher / f"{name}.gguf", number)
                id_ = f"{publisher}/{name}"
            case 8:
                self._ollama(number)
                id_ = f"model{number}:8b"
            case 9:
                blob = self._ollama(number)
                folder.mkdir(parents=True)
                (folder / f"{name}.gguf").symlink_to(blob)
            case _:
                self._file(folder / f"{name}-Q4_K_M.gguf", number)
        self.ids.add(id_)

    def _file(self, path: Path, number: int, **more: Any) -> Path:
        return self.write(path, **{"general.name": f"Model {number}", **more})

    def _ollama(self, number: int) -> Path:
        made = self._file(self.base / "pulled.gguf", number)
        name = f"model{number}:8b"
        manifest = ollama_store.add(self.store, name, made, params={"temperature": number / 1000})
        made.unlink()
        digest: str = json.loads(manifest.read_bytes())["layers"][0]["digest"]
        return ollama_store.blob(self.store, digest)

    def litter(self) -> None:
        """Add what is no model, and what leads nowhere or round in circles."""
        folder = self.root / "litter" / "bin"
        folder.mkdir(parents=True)
        self._left(write_adapter(folder / "adapter.gguf"), "LoRA")
        self._left(write_projector(folder / "mmproj-lonely.gguf"), "without a model")
        for name, reason in (
            ("x.gguf.part", "unfinished"),
            ("downloading_y.gguf", "unfinished"),
            ("z.gguf", "unfinished"),
            ("imatrix.gguf", "importance"),
            ("calibration.imatrix", "importance"),
            ("mtp-Model-1.gguf", "draft"),
            ("page.gguf", "not a GGUF"),
            ("empty.gguf", "empty"),
        ):
            file = folder / name
            content = tiny_llama(file).read_bytes()
            file.write_bytes(b"<html>no such file</html>" if name == "page.gguf" else content * (name != "empty.gguf"))
            self._left(file, reason)
        (folder / "z.gguf.aria2").touch()
        (folder / ".hidden.gguf").touch()
        for name, target, reason in (
            ("gone.gguf", "nowhere.gguf", "dangling"),
            ("gone", "../nowhere", "dangling"),
            ("self.gguf", "self.gguf", "it can't be read"),
        ):
            (folder / name).symlink_to(target)
            self._left(folder / name, reason)
        os.mkfifo(folder / "pipe.gguf")
        self._left(folder / "pipe.gguf", "regular")
        (folder / "up").symlink_to(self.root, target_is_directory=True)
        (self.root / "here").symlink_to(".", target_is_directory=True)

    def _left(self, path: Path, reason: str) -> None:
        self.left_out[path] = reason


def plant(base: Path, models: int = 500, write: Write = tiny_llama) -> Planted:
    """Make a tree of so many models, and the settings to find them with."""
    tree = Tree(base, write)
    number = 0
    while len(tree.ids) < models:
        tree.model(number)
        number += 1
    tree.litter()
    older = base / "older" / "models"
    older.parent.mkdir(parents=True)
    older.symlink_to(tree.root, target_is_directory=True)
    roots = (tree.root, older, base / "missing")
    return Planted(Catalog(roots=roots, ollama=tree.store), frozenset(tree.ids), tree.left_out)
