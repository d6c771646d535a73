"""The command line: which commands there are, and how an error becomes lines and an exit code.

Each command is a module of its own, imported when it is used, so that `llmsup --help` doesn't wait for trio and Quart.

Exit codes: 0 done, 1 it failed, 2 bad usage or bad config, 130 Ctrl-C.
"""

from __future__ import annotations

import builtins
import keyword
import sys
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from .. import __version__
from ..errors import ConfigError, ConfigUnreadable, Error
from ..process.lines import visible
from .groups import Group
from .several import tell

COMMANDS = {
    "serve": "Run the server in the foreground.",
    "demo": "Fetch a small model and serve it, without any setup.",
    "init": "Write a commented config from the models on this machine.",
    "import": "Convert a llama-swap config to llmsup's format.",
    "check": "Check the config and show what each model resolves to.",
    "pull": "Fetch a model from Hugging Face, or by Ollama.",
    "ls": "Show the available models.",
    "ps": "Show the loaded models.",
    "peers": "Show the other servers whose models are served here.",
    "top": "Watch the models, and load, unload and pin them by a key.",
    "run": "Chat with a model in this terminal.",
    "why": "Show why a model is loaded, waiting, or unloaded.",
    "load": "Load models now, before a request asks for them.",
    "unload": "Unload models, or all of them.",
    "pause": "Unload everything and refuse requests for a while.",
    "resume": "Serve requests again after a pause.",
    "reload": "Apply the current config and look for new models.",
    "key": "Make, list and remove API keys with names.",
    "usage": "Show what each key has used since the server started.",
    "cache": "Show or remove the conversations that are kept of unloaded models.",
    "bridge": "Link Ollama's models into LM Studio's folder now.",
    "logs": "Show the log lines of the engines and of llmsup itself.",
    "service": "Keep llmsup running, as a launchd agent or a systemd user unit.",
    "completion": "Print or install what completes commands in a shell.",
    "list": "Ollama's word for `ls`.",
    "show": "Show what is known of a model.",
    "stop": "Ollama's word for `unload`.",
}
"""Every command and the first line of its help. `llmsup NAME` is the click command `command` in `cli/NAME.py`
(`cli/import_.py` for `import`, `cli/list_.py` for `list`, which are words of Python's own)."""


class Commands(Group):
    """A group that imports a command when it is used, and prints errors as one line instead of a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Their names, in the order in which users need them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- click's signature
        """Import the command of that name."""
        if cmd_name not in COMMANDS:
            return None
        # A module named like a builtin would take its place in this package's namespace.
        own = keyword.iskeyword(cmd_name) or hasattr(builtins, cmd_name)
        module = f"{cmd_name}_" if own else cmd_name
        command: click.Command = import_module(f".{module}", __name__).command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete them without importing them, as click would."""
        listed = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return [*listed, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- click's
        """List them without importing them, as click would."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; llmsup's own errors become lines on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            for mistake in error.mistakes:
                click.echo(visible(mistake), err=True)
            ctx.exit(2)
        except Error as error:
            tell(error)
            ctx.exit(2 if isinstance(error, ConfigUnreadable) else 1)
        except KeyboardInterrupt:
            if sys.stderr.isatty():
                click.echo(err=True)  # so that the prompt doesn't follow "^C"
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="llmsup", message="%(prog)s %(version)s")
def main() -> None:
    """A supervisor for local language models.

    One OpenAI-compatible endpoint for all models on this machine. A request loads the model that it names, beside
    those that are loaded already.

    Try it with `llmsup demo`.

    \b
    Environment:
      LLMSUP_CONFIG   the config file, instead of ~/.config/llmsup/llmsup.toml
      LLMSUP_URL      the server that the commands talk to
      LLMSUP_API_KEY  the API key that the commands send
    """
