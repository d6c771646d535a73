"""Completion: what shells are told, where it is put, and that bash, which is everywhere, completes with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner
from serving import fake, serving

from llmsup.cli import COMMANDS, main
from llmsup.cli.completion import SHELLS, Shell, place, script


def completed(*words: str, **env: str) -> list[str]:
    """What the last word can be, as bash is told."""
    asked = {"COMP_WORDS": "\n".join(("llmsup", *words)), "COMP_CWORD": str(len(words))}
    result = CliRunner().invoke(main, [], prog_name="llmsup", env={**asked, "_LLMSUP_COMPLETE": "bash_complete", **env})
    return [line.partition(",")[2] for line in result.output.splitlines() if line.startswith("plain,")]


def test_commands_and_options() -> None:
    assert completed("") == list(COMMANDS)
    assert completed("re") == ["resume", "reload"]
    assert "--force" in completed("unload", "--")
    assert completed("completion", "") == list(SHELLS)
    assert {"install", "print"} <= set(completed("service", ""))


def test_commands_are_completed_without_importing_them() -> None:
    code = (
        "import sys; from llmsup.cli import main; import click;"
        "print([item.value for item in main.shell_complete(click.Context(main), 'se')]);"
        "sys.exit(any(name in sys.modules for name in ('trio', 'quart', 'rich', 'attrs')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['serve', 'service']\n"


async def test_names_of_models() -> None:
    """Of all, or of those that can be unloaded; none where nobody answers."""
    async with serving(fake("org/a"), fake("org/b:8b"), fake("c")) as served:
        assert (await served.client.chat("org/a")).status == 200
        url = f"http://127.0.0.1:{served.client.port}"

        async def names(*words: str) -> list[str]:
            return await trio.to_thread.run_sync(lambda: completed(*words, LLMSUP_URL=url))

        assert await names("load", "org/") == ["org/a", "org/b:8b"]
        assert await names("why", "--url", url, "c") == ["c"]
        assert await names("unload", "") == ["org/a"]
        assert completed("load", "", LLMSUP_URL="http://127.0.0.1:1") == []
        assert completed("load", "", LLMSUP_URL="no url") == []


BASH = """
source {script}
COMP_WORDS=({words}) COMP_CWORD={count}
_llmsup_completion llmsup
printf '%s\\n' "${{COMPREPLY[@]}}"
complete -p llmsup
"""


def test_bash_completes_with_it(tmp_path: Path) -> None:
    """`llmsup` is a stand-in here, which answers as the real one does."""
    file, program = tmp_path / "script", tmp_path / "llmsup"
    file.write_text(script("bash"))
    program.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "from llmsup.cli import main; main(prog_name=\'llmsup\')" "$@"\n'
    )
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for words, wanted in (("llmsup unl", ["unload"]), ("llmsup check --conf", ["--config"])):
        said = BASH.format(script=file, words=words, count=len(words.split()) - 1)
        done = subprocess.run(["bash", "--norc", "-c", said], capture_output=True, text=True, env=env, check=True)
        assert done.stdout.splitlines()[:-1] == wanted, done.stderr
        assert done.stdout.splitlines()[-1].endswith("-F _llmsup_completion llmsup")


@pytest.mark.parametrize("shell", SHELLS)
def test_each_is_printed_and_installed(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same text; a file of somebody else's is left alone."""
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR", "BASH_COMPLETION_USER_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    printed = CliRunner().invoke(main, ["completion"])
    assert printed.exit_code == 0
    assert f"_LLMSUP_COMPLETE={shell}_complete" in printed.output
    if shell == "zsh":
        assert printed.output.startswith("#compdef llmsup\n")
    for _ in range(2):  # the second time over its own
        done = CliRunner().invoke(main, ["completion", shell, "--install"])
        assert done.exit_code == 0, done.output
    path = place(shell, {"HOME": str(tmp_path)})
    assert path.read_text() == printed.output
    assert str(path) in done.output
    assert ("fpath" in done.output) == (shell == "zsh")
    path.write_text("mine")
    refused = CliRunner().invoke(main, ["completion", shell, "--install"])
    assert refused.exit_code == 1
    assert "left alone" in refused.stderr
    assert path.read_text() == "mine"


def test_folders_that_are_set() -> None:
    """As each shell documents them."""
    env = {"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d", "ZDOTDIR": "/z"}
    assert {shell: str(place(shell, env)) for shell in SHELLS} == {
        "bash": "/d/bash-completion/completions/llmsup",
        "zsh": "/z/.zfunc/_llmsup",
        "fish": "/c/fish/completions/llmsup.fish",
    }
    assert str(place("bash", {**env, "BASH_COMPLETION_USER_DIR": "/b"})) == "/b/completions/llmsup"


def test_another_shell_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    result = CliRunner().invoke(main, ["completion"])
    assert result.exit_code == 2
    assert "bash, zsh, fish" in result.stderr
