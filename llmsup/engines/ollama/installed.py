"""Where an installed Ollama keeps its llama-server."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ..llama_server.names import NAME


def find_llama_server(
    which: Callable[[str], str | None] = shutil.which,
    platform: str = sys.platform,
    exists: Callable[[str], bool] = os.path.isfile,
    realpath: Callable[[str], str] = os.path.realpath,
) -> Path | None:
    """Return the llama-server of an installed Ollama, or None (also if Ollama is older than May 2026 and has none).

    It is where Ollama itself looks for it (package llm, llamaCppBinaryCandidates): in ../lib/ollama relative to its
    program on Linux, in lib/ollama beside the program if that is Homebrew's (Formula/o/ollama.rb), and right beside it
    in the Mac app and archive. The program is the one on PATH, else the one where its installers put it.

    Args:
        which: Finds a program on PATH.
        platform: The value of `sys.platform`.
        exists: Tells whether there is a file of that name.
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
        # A llama-server in a folder of programs may well be llama.cpp's.
        if platform == "darwin" and os.path.basename(folder) != "bin":
            yield os.path.join(folder, NAME)
