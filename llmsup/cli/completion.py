"""`llmsup completion`: what a shell reads to complete `llmsup`'s words, printed or put where the shell looks.

The words themselves come from click, which the shell asks by calling `llmsup` again; models' names from `completing`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import click

from ..config.write import write_whole
from ..errors import SetupError
from ..process.lines import visible

Shell = Literal["bash", "zsh", "fish"]
SHELLS: tuple[Shell, ...] = get_args(Shell)

MARK = "Written by `llmsup completion --install`, which writes it anew."
"""A comment in the file. One without it isn't ours, and is left alone."""

# Differs from click's own in this: `:` is part of a word, as it is in models' names (the two functions are
# bash-completion's); and the bash 3.2 of macOS, which has no `compopt` and no `nosort`, completes words at least.
_BASH = r"""_llmsup_completion() {
    local IFS=$'\n' cur="${COMP_WORDS[COMP_CWORD]}" cword=$COMP_CWORD words=("${COMP_WORDS[@]}")
    local response completion type value
    if declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n : cur words cword
    fi
    response=$(env COMP_WORDS="${words[*]}" COMP_CWORD=$cword _LLMSUP_COMPLETE=bash_complete "$1")
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        if [[ $type == file ]]; then
            COMPREPLY=()
            compopt -o default 2>/dev/null
        elif [[ $type == plain ]]; then
            COMPREPLY+=("$value")
        fi
    done
    if declare -F __ltrim_colon_completions >/dev/null; then
        __ltrim_colon_completions "$cur"
    fi
    return 0
}
complete -o nosort -F _llmsup_completion llmsup 2>/dev/null || complete -F _llmsup_completion llmsup
"""


@click.command("completion")
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Write it where the shell looks for it, instead of printing it.")
def command(shell: Shell | None, install: bool) -> None:
    """Print or install what completes commands in a shell.

    For commands, options, files and the names of models (those that a running server has). Without a name it is for
    the shell in $SHELL. Installed, it is in force in new terminals: in fish at once, in bash if the package
    bash-completion is set up, in zsh if the folder that is named then is in fpath. Without --install, add its output to
    the file that your shell reads at its start.

    \b
    Example:
      llmsup completion zsh --install
      source <(llmsup completion bash)
    """
    chosen = shell or usual(os.environ)
    if not install:
        click.echo(script(chosen), nl=False)
        return
    path = place(chosen, os.environ)
    _must_be_ours(path)
    write_whole(path, script(chosen), force=True)
    click.echo(visible(f"Wrote {path}."))
    if chosen == "zsh":
        click.echo(visible(f"Have this in ~/.zshrc, before the line with compinit:  fpath+=({path.parent})"))


def usual(environ: Mapping[str, str]) -> Shell:
    """The user's own shell. Raises UsageError: it is none that can be completed in."""
    name = Path(environ.get("SHELL", "")).name
    for shell in SHELLS:
        if name == shell:
            return shell
    raise click.UsageError(f"Say for which shell: {', '.join(SHELLS)}.")


def script(shell: Shell) -> str:
    """What the shell reads."""
    if shell == "bash":
        return f"# {MARK}\n{_BASH}"
    from click.shell_completion import get_completion_class

    from . import main

    made = get_completion_class(shell)
    assert made is not None, "click knows it"
    lines = made(main, {}, "llmsup", "_LLMSUP_COMPLETE").source().strip("\n").split("\n")
    at = 1 if lines[0].startswith("#compdef") else 0  # which zsh wants first
    return "\n".join((*lines[:at], f"# {MARK}", *lines[at:], ""))


def place(shell: Shell, environ: Mapping[str, str]) -> Path:
    """The file that a shell reads by itself when `llmsup` is completed; for zsh, one in a folder that many have."""
    home = Path(environ.get("HOME") or Path.home())
    if shell == "fish":
        return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "fish/completions/llmsup.fish"
    if shell == "zsh":
        return Path(environ.get("ZDOTDIR") or home) / ".zfunc/_llmsup"
    data = Path(environ.get("XDG_DATA_HOME") or home / ".local/share")
    return Path(environ.get("BASH_COMPLETION_USER_DIR") or data / "bash-completion") / "completions/llmsup"


def _must_be_ours(path: Path) -> None:
    """Raises SetupError: there is a file that somebody else has made."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise SetupError(f"{path} can't be read: {error.strerror or error}.", hint="Check what it is.") from None
    if path.is_symlink() or MARK not in text:
        why = "is a link" if path.is_symlink() else "was not written by `llmsup completion --install`"
        raise SetupError(f"{path} {why}, so it is left alone.", hint="Move it away if it is not needed.")
