"""How a llama-server gets at the weights: it maps the file, reads it, or reads it past the system's page cache.

Which of them is the fastest depends on the machine; that is measured and decided in `memory.cost.load_mode`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import pairwise

from ...config.flag_names import canonical, flag_in
from ...config.load_modes import LOAD_MODES, LoadMode
from ...config.schema import ModelSpec
from ...errors import SetupError
from .flags import FlagSet

# The switches that --load-mode replaced (b10734 still accepted them, b11053 doesn't): what each sets for mmap, mlock
# and direct I/O.
SWITCHES: Mapping[str, Mapping[str, bool]] = {
    "--mmap": {"mmap": True},
    "--no-mmap": {"mmap": False},
    "--mlock": {"mlock": True},
    "--direct-io": {"dio": True},
    "-dio": {"dio": True},
    "--no-direct-io": {"dio": False},
    "-ndio": {"dio": False},
}
_VARIABLES = ("LLAMA_ARG_LOAD_MODE", "LLAMA_ARG_MLOCK", "LLAMA_ARG_MMAP", "LLAMA_ARG_DIO")
_FLAG = "--load-mode"
_NOW: Mapping[LoadMode, str] = {"mmap": "mmap", "read": "none", "direct": "dio"}
_BEFORE: Mapping[LoadMode, str] = {"mmap": "--mmap", "read": "--no-mmap", "direct": "--direct-io"}


def words_for(spec: ModelSpec, flag_set: FlagSet) -> tuple[str, ...]:
    """Return the words for a model's `load_mode`; none for "auto", and none if the user's own words decide.

    Raises:
        SetupError: This build can't load that way.
    """
    if spec.load_mode == "auto" or own_words(spec):
        return ()
    words = _words(spec.load_mode, flag_set)
    if not words:
        able = ", ".join(f'"{mode}"' for mode in modes(flag_set)) or "none"
        raise SetupError(
            f"model {spec.name}: {flag_set.name} can't be given load_mode = {spec.load_mode!r}: it has no "
            f"{_BEFORE[spec.load_mode]}, and no --load-mode either.",
            hint=f'Leave load_mode at "auto". What this build can be asked for: {able}.',
        )
    return words


def modes(flag_set: FlagSet) -> tuple[LoadMode, ...]:
    """Return the modes that a build can be asked for, the usual one first."""
    return tuple(mode for mode in LOAD_MODES if _words(mode, flag_set))


def own_words(
    spec: ModelSpec, command: Iterable[str] = (), environ: Mapping[str, str] | None = None
) -> dict[str, bool | str]:
    """Return what the user's own words say about loading, by "mmap", "mlock", "dio" or "mode"; empty if nothing.

    Args:
        spec: The settings; its `args` and `env` count.
        command: The words that the command line begins with.
        environ: What the engine inherits; None: our own environment.
    """
    said: dict[str, bool | str] = {}
    for variable in _set((os.environ if environ is None else environ), spec.env):
        said["variable"] = variable
    for word, after in pairwise((*command, *spec.args, "")):
        flag, equals, value = word.partition("=")
        flag = flag_in(flag)
        if flag in SWITCHES:
            said |= SWITCHES[flag]
        elif flag and canonical(flag) == _FLAG:
            said["mode"] = value if equals else after
    return said


def maps(spec: ModelSpec, environ: Mapping[str, str] | None = None) -> bool:
    """Tell whether the weights are mapped, so that the system may drop and read them again, rather than private."""
    said = own_words(spec, (), environ)
    if not said:
        return spec.load_mode in ("auto", "mmap")
    if said.get("mlock") or said.get("dio"):
        return False  # locked pages can't be dropped
    mode = str(said.get("mode", ""))
    return mode in ("mmap", "auto") if mode else bool(said.get("mmap", True))


def _words(mode: LoadMode, flag_set: FlagSet) -> tuple[str, ...]:
    if now := flag_set.pick((_FLAG, "-lm")):
        return (now, _NOW[mode])
    return (_BEFORE[mode],) if _BEFORE[mode] in flag_set.flags else ()


def _set(*environments: Mapping[str, str]) -> Iterable[str]:
    names = {name.replace("LLAMA_ARG_NO_", "LLAMA_ARG_") for each in environments for name in each}
    return (variable for variable in _VARIABLES if variable in names)
