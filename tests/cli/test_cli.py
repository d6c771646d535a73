"""The command line itself: its help, what it imports, and how errors become lines and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from llmsup import __version__
from llmsup.cli import COMMANDS, main
from llmsup.process.lines import visible

SIX_MISTAKES = """
[server]
listen = "localhost"
max_queue = 0
[defaults]
ttl = "5 minutes"
[models.qwen3-4b]
path = "/x.gguf"
tttl = "1h"
[models.other]
aliases = ["qwen3-4b"]
[catalog]
roots = []
ollama = ""
"""


def test_help_imports_no_command() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from llmsup.cli import main;"
        "print(CliRunner().invoke(main, ['--help']).output);"
        "sys.exit(any(name in sys.modules for name in ('trio', 'quart', 'rich', 'attrs')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in done.stdout and text in done.stdout for name, text in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_each_help_begins_as_listed_and_has_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0
    assert COMMANDS[name] in " ".join(result.output.split())
    assert f"Example:\n    llmsup {name}" in result.output


@pytest.mark.parametrize("words", [[], ["service"]])
def test_the_list_of_commands_has_whole_sentences(words: list[str]) -> None:
    listed = CliRunner().invoke(main, [*words, "--help"]).output.partition("Commands:")[2]
    assert listed
    assert "..." not in listed


@pytest.mark.parametrize("name", ["", " "])
@pytest.mark.parametrize("command", [["why"], ["load"], ["unload"], ["unload", "--all"], ["logs"], ["logs", "-f"]])
def test_an_empty_name_is_bad_usage(command: list[str], name: str) -> None:
    """It is a variable that isn't set, most likely; never all models."""
    result = CliRunner().invoke(main, [*command, "--url", "127.0.0.1:1", name])
    assert result.exit_code == 2
    assert "the name is empty; `llmsup ls` shows the models' names" in result.stderr


def test_version_and_module() -> None:
    done = subprocess.run([sys.executable, "-m", "llmsup", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"llmsup {__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["bogus"],
        ["load"],
        ["unload"],
        ["unload", "x", "--all"],
        ["serve", "--listen", "here"],
        ["load", "x", "--ttl", "soon"],
        ["unload", "x", "--force", "--ttl", "1m"],
        ["top"],
        ["run", "x"],
    ],
)
def test_bad_usage_is_2(words: list[str]) -> None:
    assert CliRunner().invoke(main, words).exit_code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lod"], "No such command 'lod'. Did you mean 'load' or 'unload'?"),
        (["Serve"], "No such command 'Serve'. Did you mean 'serve' or 'service'?"),
        (["models"], "No such command 'models'. Did you mean 'ls'?"),
        (["service", "instal"], "No such command 'instal'. Did you mean 'install' or 'uninstall'?"),
        (["xyzzy"], "No such command 'xyzzy'."),
        (["ps", "--jsn"], "Did you mean '--json'?"),
        (["--versoin"], "Did you mean '--version'?"),
        (["--url", "x", "ps"], "No such option '--url' here. A command's options come after it: "),
    ],
)
def test_what_was_meant(words: list[str], said: str) -> None:
    result = CliRunner().invoke(main, words, prog_name="llmsup")
    assert result.exit_code == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"Error: {said}") or last.endswith(said)


@pytest.mark.parametrize("command", ["serve", "check"])
def test_six_mistakes_are_six_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """`check` looks for the file of the model with a misspelt key, too."""
    config = tmp_path / "llmsup.toml"
    config.write_text(SIX_MISTAKES)
    monkeypatch.setenv("LLMSUP_CONFIG", str(config))
    result = CliRunner().invoke(main, [command])
    assert result.exit_code == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    also = [f"model qwen3-4b: path '/x.gguf' matches no file @ {config}: models.qwen3-4b"] if command == "check" else []
    assert lines[6:] == also
    assert len(lines[:6]) == 6
    assert lines[3] == f"unknown key 'tttl' (did you mean 'ttl'?) @ {config}: models.qwen3-4b"


def test_a_client_minds_only_the_mistakes_about_where_the_server_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "llmsup.toml"
    config.write_text(SIX_MISTAKES)
    monkeypatch.setenv("LLMSUP_CONFIG", str(config))
    result = CliRunner().invoke(main, ["ps"])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith("'localhost' is not HOST:PORT")
    assert line.endswith(f"@ {config}: server.listen")


def test_a_config_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """And the exit code is a bad config's: starting the service again would not help."""
    result = CliRunner().invoke(main, ["serve", "--config", str(tmp_path / "x.toml")])
    assert result.exit_code == 2
    assert result.stderr.startswith("llmsup: There is no config at ")
    assert len(result.stderr.splitlines()) == 1
    unreadable = CliRunner().invoke(main, ["serve", "--config", str(tmp_path)])
    assert (unreadable.exit_code, "can't be read: Is a directory" in unreadable.stderr) == (2, True)


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(url: str | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("llmsup.cli.ps.connect", interrupted)
    result = CliRunner().invoke(main, ["ps"])
    assert (result.exit_code, result.output) == (130, "")


def test_what_is_not_printable_is_made_visible() -> None:
    assert visible("naïve 模型 🙂\tok") == "naïve 模型 🙂\tok"
    assert visible("a\r\nb\x1b[31m\u2028\u202e\udc80") == r"a\r\nb\x1b[31m\u2028\u202e\udc80"
