"""Where an installed Ollama keeps its llama-server."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmsup.engines.ollama.installed import find_llama_server

LINUX = "/usr/local/lib/ollama/llama-server"
APP = "/Applications/Ollama.app/Contents/Resources"
CELLAR = "/opt/homebrew/Cellar/ollama/0.32.3/libexec"


@pytest.mark.parametrize(
    ("platform", "program", "links", "there", "found"),
    [
        ("linux", "/usr/local/bin/ollama", {}, {LINUX}, LINUX),
        ("linux", "/home/x/bin/ollama", {"/home/x/bin/ollama": "/opt/o/bin/ollama"}, {"/opt/o/lib/ollama/llama-server"},
         "/opt/o/lib/ollama/llama-server"),
        ("linux", None, {}, {"/usr/lib/ollama/llama-server"}, "/usr/lib/ollama/llama-server"),
        ("linux", "/usr/local/bin/ollama", {}, {"/usr/local/bin/llama-server"}, None),
        ("linux", None, {}, set(), None),
        ("darwin", "/usr/local/bin/ollama", {"/usr/local/bin/ollama": f"{APP}/ollama"}, {f"{APP}/llama-server"},
         f"{APP}/llama-server"),
        ("darwin", None, {}, {f"{APP}/llama-server"}, f"{APP}/llama-server"),
        ("darwin", "/opt/homebrew/bin/ollama", {"/opt/homebrew/bin/ollama": f"{CELLAR}/ollama"},
         {f"{CELLAR}/lib/ollama/llama-server", "/opt/homebrew/bin/llama-server"}, f"{CELLAR}/lib/ollama/llama-server"),
        ("darwin", None, {"/opt/homebrew/opt/ollama/bin/ollama": f"{CELLAR}/ollama"},
         {f"{CELLAR}/lib/ollama/llama-server"}, f"{CELLAR}/lib/ollama/llama-server"),
        ("darwin", "/usr/local/bin/ollama", {}, {"/usr/local/bin/llama-server"}, None),
        ("win32", None, {}, {LINUX}, None),
    ],
)  # fmt: skip
def test_finding_its_llama_server(
    platform: str, program: str | None, links: dict[str, str], there: set[str], found: str | None
) -> None:
    """It is found through links, in each installer's layout; llama.cpp's own beside an `ollama` in bin/ is not it."""
    path = find_llama_server(lambda name: program, platform, there.__contains__, lambda path: links.get(path, path))
    assert path == (Path(found) if found else None)


def test_finding_it_in_files(tmp_path: Path) -> None:
    """The real look, through a real link."""
    server = tmp_path / "opt/lib/ollama/llama-server"
    for file in (server, tmp_path / "opt/bin/ollama"):
        file.parent.mkdir(parents=True)
        file.touch()
    link = tmp_path / "ollama"
    link.symlink_to("opt/bin/ollama")
    assert find_llama_server(lambda name: str(link), "linux") == server.resolve()
