"""Options that several commands share, with their checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from ..config import parse_listen
from ..units import parse_seconds
from . import completing

Command = TypeVar("Command", bound=Callable[..., Any])


def config_option(command: Command) -> Command:
    """--config FILE."""
    text = "The config file  [default: $LLMSUP_CONFIG, else ~/.config/llmsup/llmsup.toml]"
    return click.option("--config", metavar="FILE", shell_complete=completing.files, help=text)(command)


def listen_option(command: Command) -> Command:
    """--listen HOST:PORT."""
    text = "The address to listen on; port 0 picks a free one."
    return click.option("--listen", metavar="HOST:PORT", callback=_address, help=text)(command)


def verbose_option(command: Command) -> Command:
    """-v."""
    return click.option("-v", "--verbose", is_flag=True, help="Log in more detail.")(command)


def url_option(command: Command) -> Command:
    """--url URL."""
    text = "The server; its API key, if it needs one, is in $LLMSUP_API_KEY  [default: $LLMSUP_URL, else your own]"
    return click.option("--url", metavar="URL", envvar="LLMSUP_URL", help=text)(command)


def model_argument(*, required: bool) -> Callable[[Command], Command]:
    """MODEL: one of a model's names."""
    return click.argument("model", required=required, callback=_name, shell_complete=completing.models)


def models_argument(*, required: bool) -> Callable[[Command], Command]:
    """MODEL...: names of one model or more; the parameter is `models`, each model once."""
    return click.argument(
        "models", nargs=-1, required=required, metavar="MODEL...", callback=_names, shell_complete=completing.models
    )


def ttl_option(text: str) -> Callable[[Command], Command]:
    """--ttl DURATION, as it was written; None if it wasn't."""
    return click.option("--ttl", metavar="DURATION", callback=_duration, help=text)


def json_option(command: Command) -> Command:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def _name(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():  # most likely a shell variable that isn't set
        raise click.BadParameter("the name is empty; `llmsup ls` shows the models' names.")
    return value


def _names(ctx: click.Context, param: click.Parameter, values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        _name(ctx, param, value)
    return tuple(dict.fromkeys(values))


def _duration(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            parse_seconds(value)
        except ValueError as error:
            raise click.BadParameter(f"{error}.") from None
    return value


def _address(_ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    if value is not None:
        try:
            parse_listen(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return value
