"""The models of Ollama's store, read directly: Ollama need not be running, or even installed.

Weights aren't opened here. Sources: Ollama's server/images.go, types/model/config.go, envconfig/config.go.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import Factory, evolve, frozen

from ..found import LeftOut
from .manifest import Manifest, Unusable, all_blobs, printable, read_json, read_manifest
from .params import Params, params
from .places import ManifestPath, manifests

DEFAULT = Path("~/.ollama/models")
"""Where Ollama keeps its models by default (envconfig/config.go, Models)."""

SERVICE = Path("/usr/share/ollama/.ollama/models")
"""Where they are on Linux if Ollama runs as a service: its user's home is /usr/share/ollama (scripts/install.sh)."""

_LARGEST_BLOB = 1 << 20  # of the small blobs: parameters, the config
_MOST_EXTRAS = 64


@frozen(kw_only=True)
class OllamaModel:
    """One of Ollama's names, and the files that it stands for.

    Attributes:
        name: As Ollama shows it, always with the tag: "llama3.1:8b", "bob/x:latest", "hf.co/org/repo:Q4_K_M".
        aliases: Other spellings that Ollama accepts for it.
        blob: The weights.
        projectors: The projectors, which let it see or hear; the first one is used.
        adapters: LoRA adapters.
        sampling: What its PARAMETERs ask for, as llama.cpp's request fields.
        ctx_size: Tokens of context that they ask for; 0: none.
        problem: Why it can't be run, a clause: "its projector is missing"; "" if it can.
    """

    name: str
    aliases: tuple[str, ...] = ()
    blob: Path
    projectors: tuple[Path, ...] = ()
    adapters: tuple[Path, ...] = ()
    sampling: Mapping[str, Any] = Factory(dict)
    ctx_size: int = 0
    problem: str = ""


def store(
    configured: Path | None,
    environ: Mapping[str, str] | None = None,
    *,
    platform: str = sys.platform,
    service: Path = SERVICE,
) -> Path | None:
    """Where Ollama's models probably are; None if they are not wanted.

    A configured path is used as given. The default becomes $OLLAMA_MODELS if that is set; else, on Linux, the service's
    store if the default doesn't exist and the service's can be read.

    Args:
        configured: `[catalog] ollama`, its `~` expanded; None: off.
        environ: The environment; None: ours.
        service: The service's store.
    """
    default = Path(os.path.expanduser(DEFAULT))
    if configured is None or configured not in (default, DEFAULT):
        return configured
    # Ollama strips blanks, then quotes, from its variables (envconfig/config.go, Var).
    said = (os.environ if environ is None else environ).get("OLLAMA_MODELS", "").strip().strip("\"'")
    if said:
        return Path(os.path.expanduser(said))
    if platform == "linux" and not default.exists() and os.access(service / "manifests", os.R_OK | os.X_OK):
        return service
    return default


def read_store(root: Path) -> tuple[list[OllamaModel], list[LeftOut]]:
    """Read all manifests of a store. It blocks on the disk, so run it in a worker thread.

    Returns:
        Its models, by name, and the manifests that yield none; a missing store has neither.
    """
    places, left_out = manifests(root)
    models = []
    blobs = root / "blobs"
    unfinished = _unfinished(blobs) if places else frozenset[str]()
    for place in places:
        try:
            models.append(_model(place, blobs, unfinished))
        except Unusable as why:
            left_out.append(LeftOut(place.path, str(why), (place.name, *place.aliases)))
    return models, left_out


def _model(place: ManifestPath, blobs: Path, unfinished: frozenset[str]) -> OllamaModel:
    manifest = read_manifest(place.path, blobs)
    config = _config(manifest, blobs)
    weights = all_blobs(manifest.blobs("model"), blobs)
    if config("remote_host") or config("remote_model"):
        raise Unusable("a cloud model: its weights are not here")
    if not weights:
        if manifest.blobs("tensor"):
            raise Unusable("its weights are for MLX, which llama.cpp can't run")
        raise Unusable("it has no weights: a cloud model, or no language model")
    form = config("model_format")
    if form.lower() not in ("", "gguf"):
        raise Unusable(f"its weights are in the format {printable(form)!r}, which llama.cpp can't run")
    blob = weights[-1]  # of several, Ollama takes the last
    if trouble := _trouble("its weights are", blob, place, unfinished):
        raise Unusable(trouble)
    projectors = all_blobs(manifest.blobs("projector")[:_MOST_EXTRAS], blobs)
    adapters = all_blobs(manifest.blobs("adapter")[:_MOST_EXTRAS], blobs)
    said = _params(manifest, blobs)
    model = OllamaModel(
        name=place.name,
        aliases=place.aliases,
        blob=blob,
        projectors=projectors,
        adapters=adapters,
        sampling=said.sampling,
        ctx_size=said.ctx_size,
    )
    extras = [("its projector is", path) for path in projectors] + [("its adapter is", path) for path in adapters]
    troubles = (_trouble(which, path, place, unfinished) for which, path in extras)
    return evolve(model, problem=next(filter(None, troubles), ""))


class _Config:
    """The config blob: short texts by key, "" for a missing one."""

    def __init__(self, said: Any) -> None:
        self._said = said if isinstance(said, dict) else {}

    def __call__(self, key: str) -> str:
        value = self._said.get(key)
        return printable(value) if isinstance(value, str) else ""


def _config(manifest: Manifest, blobs: Path) -> _Config:
    if manifest.config is None or not manifest.config.digest:
        return _Config(None)
    return _Config(read_json(all_blobs([manifest.config.digest], blobs)[0], _LARGEST_BLOB))


def _params(manifest: Manifest, blobs: Path) -> Params:
    digests = manifest.blobs("params")
    if not digests:
        return Params()
    return params(read_json(all_blobs(digests[-1:], blobs)[0], _LARGEST_BLOB))


def _unfinished(blobs: Path) -> frozenset[str]:
    """The names of blobs with unfinished downloads: `sha256-…-partial`, and `-partial-0` for the pieces."""
    try:
        with os.scandir(blobs) as listing:
            names = [entry.name for entry in listing]
    except OSError:
        return frozenset()
    return frozenset(name.partition("-partial")[0] for name in names if "-partial" in name)


def _trouble(which: str, blob: Path, place: ManifestPath, unfinished: frozenset[str]) -> str:
    """Why a blob can't be used, a clause that begins with `which`; "" if it can."""
    try:
        return "" if stat.S_ISREG(os.stat(blob).st_mode) else f"{which} no regular file"
    except FileNotFoundError:
        what = "not wholly downloaded" if blob.name in unfinished else "missing"
        return f"{which} {what}: `ollama pull {place.name}`"
    except OSError as error:
        return f"{which} out of reach: {error.strerror or error}"
