"""Ollama's stores made by the tests: manifests and blobs as its `pull` and `create` leave them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MEDIA = "application/vnd.ollama.image."
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
LIST = "application/vnd.ollama.manifest.list.v2+json"

Content = Path | bytes


def add(
    root: Path,
    name: str,
    gguf: Content | None = None,
    *,
    params: Mapping[str, Any] | bytes | None = None,
    projector: Content | None = None,
    adapters: Iterable[Content] = (),
    config: Mapping[str, Any] | None = None,
    layers: Iterable[Mapping[str, Any]] = (),
) -> Path:
    """Add a model, as `ollama create` would, and return its manifest's path.

    Args:
        root: The store: the folder that `OLLAMA_MODELS` names.
        name: "llama3.1:8b", "bob/x" (its tag is "latest"), "hf.co/org/repo:Q4_K_M".
        gguf: The weights, a GGUF's path (which is then linked) or its bytes; None: the manifest has none.
        params: What the model's PARAMETERs are, or that file's bytes.
        config: What the config blob says besides what it always does; a value of None takes a key out.
        layers: More layers, as `layer` makes them.
    """
    return write_manifest(root, name, manifest(root, gguf, params, projector, adapters, config, layers))


def manifest(
    root: Path,
    gguf: Content | None = None,
    params: Mapping[str, Any] | bytes | None = None,
    projector: Content | None = None,
    adapters: Iterable[Content] = (),
    config: Mapping[str, Any] | None = None,
    layers: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Store the blobs that `add` tells of, and return the manifest that lists them."""
    said = {"model_format": "gguf", "model_family": "llama", "model_type": "8.0B", "file_type": "Q4_K_M"}
    described = {key: value for key, value in {**said, **(config or {})}.items() if value is not None}
    listed = [layer(root, "model", gguf)] if gguf is not None else []
    listed += [layer(root, "projector", projector)] if projector is not None else []
    listed += [layer(root, "adapter", adapter) for adapter in adapters]
    if params is not None:
        listed.append(layer(root, "params", params if isinstance(params, bytes) else json.dumps(params).encode()))
    media = "application/vnd.docker.container.image.v1+json"
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {**layer(root, "", json.dumps(described).encode()), "mediaType": media},
        "layers": [*listed, *layers],
    }


def layer(root: Path, kind: str, content: Content) -> dict[str, Any]:
    """Store a blob and return the layer that names it: "model", "projector", "params", "template", ..."""
    if isinstance(content, Path):
        # Tests' GGUFs are sparse: two are the same if their heads are.
        with content.open("rb") as file:
            digest = hashlib.sha256(file.read(1 << 20)).hexdigest()
        size = content.stat().st_size
    else:
        digest, size = hashlib.sha256(content).hexdigest(), len(content)
    path = blob(root, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        if isinstance(content, Path):
            path.hardlink_to(content)
        else:
            path.write_bytes(content)
    return {"mediaType": MEDIA + kind, "digest": f"sha256:{digest}", "size": size}


def blob(root: Path, digest: str) -> Path:
    """Where the blob of a digest lies; "sha256:" in front of it may be left out."""
    return root / "blobs" / f"sha256-{digest.removeprefix('sha256:')}"


def write_manifest(root: Path, name: str, content: Mapping[str, Any] | bytes, folder: str = "manifests") -> Path:
    """Write a manifest, whatever it is, under a model's name."""
    *front, last = name.split("/")
    host, namespace = ["registry.ollama.ai", "library", *front][-2:]
    if len(front) == 1:
        host = "registry.ollama.ai"
    model, _, tag = last.partition(":")
    path = root / folder / host / namespace / model / (tag or "latest")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path
