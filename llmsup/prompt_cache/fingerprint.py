"""What gives a saved slot its meaning: it may only be restored where all of this is the same.

llama.cpp checks the shape of a saved state, not which model it comes from: a fine-tune of the same shape restores
without an error, and answers from the other's state.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from ..engines.llama_server.command_line import RPC
from ..engines.llama_server.load_mode import SWITCHES

PARTS = ("files", "arguments", "environment", "build", "context", "template")
"""The parts of a fingerprint, in words that `llmsup why` may use."""

SAMPLE = 64 * 1024
"""How many bytes of a file's beginning and of its end are read: headers are at the beginning, and two files of the same
size and time that differ only in between would have to be made on purpose."""

_EACH_TIME = frozenset(
    ("--host", "--port", "--alias", "-a", "--slot-save-path", "--threads", "-t", "--threads-batch", "-tb")
) | frozenset(("--threads-http", "--verbosity", "--log-verbosity", "-lv", "--cache-ram", "-cram", "--load-mode", "-lm"))
"""Flags with a value that says nothing about what is computed."""

_SILENT = frozenset(("--offline", "--no-ui", "--no-webui", "--no-cache-idle-slots", "--cache-idle-slots", *SWITCHES))
"""Flags without one that don't, either. Among them how the weights get into memory, which llmsup chooses anew for each
load."""

_PREFIXES = ("LLAMA_", "GGML_", "CUDA_", "HIP_", "ROCR_", "HSA_", "VK_", "MTL_", "METAL_", "ONEAPI_", "SYCL_")
_OURS = ("LLAMA_SERVER_ROUTER_PORT", "LLAMA_SERVER_CHILD_MODE")

_PART = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")

Fingerprint = Mapping[str, str]
"""A digest of each part."""


@frozen
class Told:
    """What a running engine says about itself.

    Attributes:
        build: Its build, as it calls it.
        context: Tokens that one slot can have.
        template: The chat template in use.
        adapters: The LoRA adapters that are loaded.
    """

    build: str
    context: int
    template: str
    adapters: int = 0


def fingerprint(argv: Sequence[str], env: Mapping[str, str], build: str, told: Told) -> Fingerprint:
    """Return the fingerprint of a running engine. Reads the disk.

    Args:
        argv: Its command line; a word that names a file counts by that file, wherever it lies.
        env: Its environment.
        build: A text that changes whenever the program does.

    Raises:
        OSError: One of its files can't be read.
    """
    words, files = _words(argv[1:])
    variables = {k: v for k, v in env.items() if k.startswith(_PREFIXES) and k not in _OURS}
    parts: dict[str, Any] = {
        "files": files,
        "arguments": words,
        "environment": sorted(variables.items()),
        "build": [build, told.build, list(_libraries(Path(argv[0])))],
        "context": told.context,
        "template": [told.template, told.adapters],
    }
    return {name: _digest(parts[name]) for name in PARTS}


def differences(one: Fingerprint, other: Fingerprint) -> list[str]:
    """The parts in which two fingerprints differ."""
    return [part for part in PARTS if one.get(part) != other.get(part) or part not in one]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True).encode()).hexdigest()[:32]


def _words(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The words that matter, without paths to files; and those files' identities, in their order."""
    words: list[str] = []
    files: list[str] = []
    rest = iter(argv)
    for word in rest:
        if word.replace("_", "-") in _EACH_TIME:
            next(rest, None)
        elif word == RPC:  # at other addresses each time; among how many workers it is divided does matter
            words += (word, str(next(rest, "").count(",") + 1))
        elif word.replace("_", "-") not in _SILENT:
            left = word
            for name in _files_in(word):
                files += [identity(path) for path in _parts(Path(name))]
                left = left.replace(name, "(file)")
            words.append(left)
    return words, files


def _files_in(word: str) -> Iterator[str]:
    """The paths of files that a word has: `FILE`, `FILE,FILE`, `FILE:SCALE` or `KEY=FILE`."""
    for piece in (word,) if _is_file(Path(word)) else word.split(","):
        for name in (piece, piece.rpartition(":")[0], piece.partition("=")[2]):
            if name and _is_file(Path(name)):
                yield name
                break


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that can be no path
        return False


def _parts(path: Path) -> Iterable[Path]:
    match = _PART.fullmatch(path.name)
    if match is None:
        return (path,)
    stem, of = match[1], match[3]
    every = (path.with_name(f"{stem}-{part:05d}-of-{of}.gguf") for part in range(1, int(of) + 1))
    return [part for part in every if _is_file(part)]


def identity(path: Path) -> str:
    """Return a text that changes when a file is replaced or written to. Raises OSError."""
    with path.open("rb") as file:
        stat = os.fstat(file.fileno())
        sample = hashlib.sha256(file.read(SAMPLE))
        file.seek(max(stat.st_size - SAMPLE, 0))
        sample.update(file.read(SAMPLE))
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino} {sample.hexdigest()}"


def _libraries(program: Path) -> Iterator[str]:
    """The libraries beside a program or in `../lib`: what computes may be in them, and be replaced without it."""
    try:
        real = program.resolve(strict=True)
    except OSError:
        return
    for directory in (real.parent, real.parent.parent / "lib"):
        for library in sorted(directory.glob("lib*llama*")) + sorted(directory.glob("lib*ggml*")):
            stat = library.stat()
            yield f"{library.name} {stat.st_size} {stat.st_mtime_ns}"
