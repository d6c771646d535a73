"""The command `run`."""

from __future__ import annotations

import sys

import click

from ...errors import SetupError
from ...process.lines import visible
from ..client import model_path
from ..options import model_argument, ttl_option, url_option
from ..table import width
from ..target import connect, state_dir


@click.command("run")
@model_argument(required=True)
@click.argument("prompt", nargs=-1, metavar="[PROMPT]")
@click.option("--system", metavar="TEXT", default="", help="A system message.")
@click.option("--set", "settings", metavar="NAME=VALUE", multiple=True, help="A sampling parameter: temperature=0.7.")
@click.option("--think/--no-think", default=None, help="Have it reason before it answers, or not.")
@click.option("--hide-thinking", is_flag=True, help="Don't show the reasoning.")
@click.option("-v", "--verbose", is_flag=True, help="Show how long each answer took.")
@ttl_option("Unload the model after being idle for so long, instead of its own ttl: 2h, never.")
@url_option
def command(
    model: str,
    prompt: tuple[str, ...],
    system: str,
    settings: tuple[str, ...],
    think: bool | None,
    hide_thinking: bool,
    verbose: bool,
    ttl: str | None,
    url: str | None,
) -> None:
    """Chat with a model in this terminal.

    With PROMPT, or with text on standard input, one answer is printed; without, a chat begins, in which /? shows what
    there is. Ctrl-C stops an answer. Elsewhere than on a terminal only the answer is printed, without the reasoning.

    What is typed is kept for the arrow keys, in chat_history in the state_dir; what is answered isn't.

    \b
    Example:
      llmsup run qwen3-4b
      llmsup run qwen3-4b 'Why is the sky blue?'
      git diff | llmsup run qwen3-4b 'Write a commit message for this.'
    """
    from .chat import Chat
    from .prompt import remembering
    from .slash import Commands
    from .talk import once, talk
    from .writer import Writer

    parameters = _parameters(settings)
    piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read().decode(errors="replace")
    text = "\n\n".join(part for part in (piped.strip(), " ".join(prompt).strip()) if part)
    if not text and not (sys.stdin is not None and sys.stdin.isatty()):
        raise click.UsageError("There is nothing to ask: standard input is empty, and there is no PROMPT.")
    client = connect(url)
    entry = client.get(model_path("/v1/models", model))
    if (kind := entry["kind"]) != "chat":
        raise SetupError(f"{model} can't chat: its kind is {kind}.", hint="`llmsup ls` shows those that can.")
    elsewhere = bool(entry.get("peer") or entry.get("peers"))
    chat = Chat(client, model, system=system, parameters=parameters, think=think, ttl=ttl, elsewhere=elsewhere)
    writer = Writer(width() if sys.stdout.isatty() else None, thoughts=not hide_thinking)
    if text:
        once(chat, text, writer, verbose=verbose)
        return
    chat.load()
    click.echo(f"{visible(model)} is ready. /? shows what can be done here.")
    with remembering(state_dir() / "chat_history"):
        talk(chat, writer, Commands(chat, writer, verbose=verbose))


def _parameters(settings: tuple[str, ...]) -> dict[str, object]:
    from .parameters import parameter

    parameters: dict[str, object] = {}
    for setting in settings:
        name, sign, value = setting.partition("=")
        if not sign:
            raise click.BadParameter(f"{setting!r}: write it as NAME=VALUE.", param_hint="--set")
        try:
            parameters |= parameter(name.strip(), value.strip())
        except ValueError as error:
            raise click.BadParameter(f"{setting!r}: {error}.", param_hint="--set") from None
    return parameters
