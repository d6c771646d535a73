"""Ollama's manifests: which blobs a model is made of. They are not trusted.

Finding them is `places`' part. Source: Ollama's manifest/manifest.go.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from ..gguf.window import open_regular

LARGEST_MANIFEST = 4 << 20
"""In bytes. A manifest with weights for MLX has a line of some 200 bytes per tensor; one with a GGUF has ten lines."""

_RUNNERS = ("llamacpp", "ollama")  # in our order of preference; the third that exists runs MLX
_MEDIA = "application/vnd.ollama.image."
_DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})")


class Unusable(Exception):
    """The manifest yields no model; the text is a clause: "it is not a manifest"."""


class Layer(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One blob of a model."""

    media_type: str  # required, so that a list of many empty layers is refused and takes no memory
    digest: str = ""


class _Alternative(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of a list of manifests, for a program that can run the model: inline, or as the digest of a blob."""

    runner: str
    config: Layer | None = None
    layers: tuple[Layer, ...] | None = None
    digest: str = ""


class Manifest(msgspec.Struct, frozen=True, rename="camel"):
    """The blobs that a model is made of."""

    config: Layer | None = None
    layers: tuple[Layer, ...] | None = None
    manifests: tuple[_Alternative, ...] | None = None

    def blobs(self, kind: str) -> tuple[str, ...]:
        """The digests of its layers of one kind: "model", "projector", "params", ..."""
        return tuple(layer.digest for layer in self.layers or () if layer.media_type == _MEDIA + kind)


def read_manifest(path: Path, blobs: Path) -> Manifest:
    """Read a manifest; of a list of manifests, the one that suits llama.cpp best.

    Raises:
        Unusable: It isn't a manifest, or is damaged.
    """
    manifest = _parse(read_small(path, LARGEST_MANIFEST))
    if manifest.manifests is None:
        return manifest
    for runner in _RUNNERS:
        for entry in manifest.manifests:
            if entry.runner.lower() == runner:
                blob = blob_path(entry.digest, blobs) if entry.layers is None else None
                if blob is None:
                    return Manifest(entry.config, entry.layers)
                return _parse(read_small(blob, LARGEST_MANIFEST))
    runners = ", ".join(sorted({printable(entry.runner) for entry in manifest.manifests})[:3]) or "nothing"
    raise Unusable(f"its weights are for {runners}, none for llama.cpp")


def _parse(data: bytes) -> Manifest:
    try:
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Unusable("it is not a manifest, or is damaged") from error


def read_json(path: Path, largest: int) -> Any:
    """Decode a small JSON file of any shape; None if it is missing, too large or not JSON."""
    try:
        return msgspec.json.decode(read_small(path, largest))
    except (Unusable, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def read_small(path: Path, largest: int) -> bytes:
    """Read a file that is expected to be small; never blocks, even on a named pipe.

    Raises:
        Unusable: It can't be read, isn't a regular file, or is larger than `largest` bytes.
    """
    try:
        file = open_regular(path)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise Unusable("it is not a regular file")
            if status.st_size > largest:
                raise Unusable(f"it is larger than {largest >> 20} MiB, which no GGUF's manifest is")
            with open(file, "rb", closefd=False) as source:
                return source.read(largest)
        finally:
            os.close(file)
    except OSError as error:
        raise Unusable(f"it can't be read: {error.strerror or error}") from error


def blob_path(digest: str, blobs: Path) -> Path | None:
    """Where a digest's blob is; None if it isn't a digest, but a path that leads elsewhere, for example."""
    match = _DIGEST.fullmatch(digest)
    return blobs / f"sha256-{match[1]}" if match else None


def printable(text: str) -> str:
    """Text from a manifest, made safe for a terminal and cut to a reasonable length."""
    shown = "".join(char if char.isprintable() else "?" for char in text[:60])
    return shown + "..." if len(text) > 60 else shown


def all_blobs(digests: Iterable[str], blobs: Path) -> tuple[Path, ...]:
    """Where these blobs are.

    Raises:
        Unusable: One of the digests is invalid.
    """
    paths = tuple(blob_path(digest, blobs) for digest in digests)
    if None in paths:
        raise Unusable("it is a damaged manifest: one of its digests is invalid")
    return tuple(path for path in paths if path is not None)
