"""The files besides the model's own that its `args` and environment make a llama-server load.

They are only named here: whether they exist is for `survey` to find out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from ...config.flag_names import flags_of
from ...config.schema import Settings

_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "--spec-draft-model": ("LLAMA_ARG_SPEC_DRAFT_MODEL", "LLAMA_ARG_MODEL_DRAFT"),
    "--mmproj": ("LLAMA_ARG_MMPROJ",),
}
_LISTS = ("--lora", "--lora-scaled", "--control-vector", "--control-vector-scaled")  # each may be given several times
_SCALE = re.compile(r":[0-9.eE+-]+$")


@frozen
class Companions:
    """The additional files.

    Attributes:
        draft: The draft model, for speculative decoding.
        projector: The `mmproj` file, which lets the model see or hear.
        others: Adapters, control vectors, a vocoder.
    """

    draft: Path | None = None
    projector: Path | None = None
    others: tuple[Path, ...] = ()

    @property
    def all(self) -> tuple[Path, ...]:
        """All of them."""
        return (*(path for path in (self.draft, self.projector) if path), *self.others)


def companions(spec: Settings, environ: Mapping[str, str] | None = None) -> Companions:
    """The files that a model's settings name, spelled as they are there.

    Args:
        environ: What the engine inherits; None: our own environment.
    """
    given = list(flags_of(spec.args))
    last = dict(given)
    variables = {**(os.environ if environ is None else environ), **spec.env}

    def one(flag: str) -> Path | None:
        named = [last.get(flag, ""), *(variables.get(variable, "") for variable in _VARIABLES.get(flag, ()))]
        return _path(next(filter(None, named), ""))

    others = [_path(file) for flag, value in given if flag in _LISTS for file in _files(flag, value)]
    vocoder = one("--model-vocoder")
    return Companions(one("--spec-draft-model"), one("--mmproj"), tuple(filter(None, [*others, vocoder])))


def _files(flag: str, value: str) -> Iterator[str]:
    """Split a list at its commas, and each file from its scale; older builds take the scale as a separate word."""
    for part in value.split(","):
        yield _SCALE.sub("", part) if flag.endswith("-scaled") else part


def _path(text: str) -> Path | None:
    return Path(text) if text and "\0" not in text else None
