"""A group of commands that suggests one for a word that isn't a command."""

from __future__ import annotations

import difflib

import click

ELSEWHERE = {
    "start": "serve", "up": "serve", "server": "serve", "models": "ls", "status": "ps", "chat": "run",
    "kill": "unload", "info": "show", "explain": "why", "preload": "load", "validate": "check", "config": "check",
    "test": "check", "restart": "reload", "sync": "bridge", "setup": "init", "daemon": "service", "log": "logs",
    "hold": "pause", "suspend": "pause", "sleep": "pause", "continue": "resume", "unpause": "resume", "wake": "resume",
    "download": "pull", "get": "pull", "fetch": "pull", "add": "pull",
    "nodes": "peers", "hosts": "peers", "machines": "peers",
}  # fmt: skip
"""What other programs call some of our commands."""


class Group(click.Group):
    """A click group with suggestions. (click makes some from 8.3 on, but only for commands that it has loaded.)"""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that a word names. Raises UsageError."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise click.UsageError(f"No such command {name!r}.{self._meant(ctx, name)}", ctx)
        return super().resolve_command(ctx, args)

    def _meant(self, ctx: click.Context, name: str) -> str:
        known = self.list_commands(ctx)
        here = {word: meant for word, meant in ELSEWHERE.items() if meant in known}
        if name.lower() in here:
            return f" Did you mean {here[name.lower()]!r}?"
        near = difflib.get_close_matches(name.lower(), known, n=2)
        return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options before the command. Raises UsageError."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.possibilities:
                raise
            hint = f"A command's options come after it: `{ctx.command_path} COMMAND {error.option_name}`."
            raise click.UsageError(f"No such option {error.option_name!r} here. {hint}", ctx) from None
