"""Where an installed Ollama keeps its llama-server."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ..llama_server import NAME


def find_llama_server(
    which: Callable[[str], str | None] = shutil.which,
    platform: str = sys.platform,
    exists: Callable[[str], bool] = os.path.isfile,
    realpath: Callable[[str], str] = os.path.realpath,
) -> Path | None:
    """The llama-server of an installed Ollama, or None if there is none (Ollama has had one since May 2026).

    It is where Ollama itself looks for it (package llm, llamaCppBinaryCandidates): relative to its program, in
    ../lib/ollama on Linux, in lib/ollama with Homebrew (Formula/o/ollama.rb), and next to it in the app and the archive
    for the Mac. The program is the one on the PATH, else where its installers put it.

    Args:
        which: Finds a program on the PATH.
        platform: As in `sys.platform`.
        exists: Whether a file exists.
        realpath: Resolves links.
    """
    programs = [program] if (program := which("ollama")) else []
    places = _candidates([*programs, *_PROGRAMS.get(platform, ())], platform, realpath)
    return next((Path(place) for place in places if exists(place)), None)


_PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "darwin": (
        "/Applications/Ollama.app/Contents/Resources/ollama",
        "~/Applications/Ollama.app/Contents/Resources/ollama",
        "/opt/homebrew/opt/ollama/bin/ollama",
        "/usr/local/opt/ollama/bin/ollama",
    ),
    "linux": ("/usr/local/bin/ollama", "/usr/bin/ollama"),
}
"""Where installers put Ollama: the app, Homebrew, scripts/install.sh, distributions."""


def _candidates(programs: Iterable[str], platform: str, realpath: Callable[[str], str]) -> Iterator[str]:
    for program in programs:
        folder = os.path.dirname(realpath(os.path.expanduser(program)))
        prefix = os.path.dirname(folder)
        yield os.path.join(prefix, "lib", "ollama", NAME)
        yield os.path.join(folder, "lib", "ollama", NAME)
        # In a general folder of programs, llama-server may well be llama.cpp's own.
        if platform == "darwin" and os.path.basename(folder) != "bin":
            yield os.path.join(folder, NAME)
