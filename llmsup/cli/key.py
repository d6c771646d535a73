"""`llmsup key new|list|remove`: keys with names, in the config's file. A running server takes them with a reload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..config import DEFAULT_PATH, KeySpec, find, read_text
from ..config.checks import check_name
from ..config.edit import with_table, without_table
from ..config.keys import UNNAMED, hash_of, new_key
from ..config.load import tables_of
from ..config.tilde import expand
from ..config.write import Table as TomlTable
from ..config.write import document, write_whole
from ..errors import ConfigError, SetupError
from ..process.lines import visible
from ..process.server_file import ServerFile
from .configs import load
from .groups import Group
from .options import config_option, json_option
from .table import Column, Table
from .target import running_now

_HEADER = ("llmsup's config. All keys and their meaning: etc/llmsup.toml in llmsup's repository.",)


@click.group("key", cls=Group)
def command() -> None:
    """Make, list and remove API keys with names.

    A key says who asks, and bounds what they may: which models, how much, and whether they may load and unload. Only
    its hash is kept, in the config. `llmsup usage` shows what each has used.

    \b
    Example:
      llmsup key new laptop --models 'qwen*'
      llmsup key list
    """


def _named(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    try:
        check_name(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None
    if value == UNNAMED:
        raise click.BadParameter(f"{UNNAMED} is what the keys in server.{UNNAMED} are called.")
    return value


@command.command(short_help="Make a key and print it, this once.")
@click.argument("name", callback=_named)
@click.option("--models", "globs", metavar="GLOB", multiple=True, help="Only these models; may be given again.")
@click.option("--admin", is_flag=True, help="It may load, unload and reload, and see everything, too.")
@click.option("--requests-per-minute", type=click.IntRange(min=0), default=0, metavar="N", help="0: no limit.")
@click.option("--max-in-flight", type=click.IntRange(min=0), default=0, metavar="N", help="0: no limit.")
@config_option
def new(
    name: str, globs: tuple[str, ...], admin: bool, requests_per_minute: int, max_in_flight: int, config: str | None
) -> None:
    """Make a key and print it on standard output, this once: only its hash is written, into the config.

    Without a config, one is made at the usual place. If none can be written, the lines to add are shown. Give
    --models patterns of names, such as 'qwen*'.

    \b
    Example:
      llmsup key new laptop
      llmsup key new batch --models 'qwen*' --requests-per-minute 60
    """
    key = new_key()
    table = TomlTable(("keys", name))
    table.put("hash", hash_of(key))
    try:
        spec = KeySpec(name=name, models=globs or ("*",), admin=admin)
    except ValueError as error:
        raise click.UsageError(f"--models: {error}.") from None
    if globs:
        table.put("models", list(spec.models))
    if admin:
        table.put("admin", True)
    if requests_per_minute:
        table.put("requests_per_minute", requests_per_minute)
    if max_in_flight:
        table.put("max_in_flight", max_in_flight)
    _add(find(config), table)
    click.echo(key)


def _add(path: Path | None, table: TomlTable) -> None:
    """Write the table into the config, or show it."""
    if path is None:
        _start(expand(DEFAULT_PATH), table)
        return
    text = read_text(path)
    tables = tables_of(text, str(path))
    try:
        write_whole(path, with_table(text, table), force=True)
    except ValueError as error:
        if table.name[1] in tables.get("keys", {}):
            hint = f"Take another name, or remove it: llmsup key remove {table.name[1]}"
            raise SetupError(f"There is a key {table.name[1]} in {path} already.", hint=hint) from None
        _show(table, f"{path} stays as it is: {error}. Add this key there:")
        return
    except SetupError as error:
        _show(table, f"{error.message} Add these lines to it:")
        return
    first = not tables.get("keys") and not tables.get("server", {}).get("api_keys")
    _tell(f"Wrote its hash to {path}.", path, first=first)


def _start(path: Path, table: TomlTable) -> None:
    """Write a config that has nothing but the table, or show it."""
    try:
        write_whole(path, document(_HEADER, [table]), force=False, private=True)
    except SetupError as error:
        _show(table, f"{error.message} A config with these lines, which --config names, has the key:")
        return
    _tell(f"Made {path}, with its hash.", path, first=True)


def _tell(done: str, path: Path, *, first: bool) -> None:
    """Say what was written, and what puts it into force: of a server that runs, whether it reads that file."""
    try:
        load(path)
    except ConfigError:
        mend = f"`llmsup check --config {path}` finds mistakes in it: until they are mended, no server takes it."
        click.echo(visible(f"{done} {mend}"), err=True)
        return
    server = running_now()
    if server is None or _reads(server, path):
        click.echo(visible(f"{done} `llmsup reload` puts it into force."), err=True)
        if first:
            click.echo("It is the first key: from then on, every request needs one.", err=True)
        return
    url, what = server.urls[0], server.config or "no config"
    click.echo(visible(f"{done} But the server at {url} reads {what}: it goes on as before."), err=True)
    click.echo(visible(f"Start one that reads it: llmsup serve --config {path}"), err=True)


def _reads(server: ServerFile, path: Path) -> bool:
    """Whether a server's next reload reads that file."""
    config = Path(server.config) if server.config else expand(DEFAULT_PATH)
    return server.reads and config.absolute() == path.absolute()


def _show(table: TomlTable, why: str) -> None:
    click.echo(visible(why), err=True)
    click.echo("\n" + table.text(), err=True)


@command.command("list")
@config_option
@json_option
def show(config: str | None, as_json: bool) -> None:
    """Show the keys in the config, and what each may do."""
    path = find(config)
    keys = load(path).keys if path else {}
    if as_json:
        click.echo(json.dumps([_entry(key) for key in keys.values()], indent=2))
        return
    if not keys:
        click.echo("There are no keys with names. `llmsup key new NAME` makes one.")
        return
    titles = ("KEY", "MAY", "A MINUTE", "AT A TIME", "FROM", "MODELS")
    columns = [Column(title, right=title in ("A MINUTE", "AT A TIME"), prose=title == "MODELS") for title in titles]
    Table(columns, [_row(key) for key in keys.values()]).show()


def _entry(key: KeySpec) -> dict[str, Any]:
    return {
        "key": key.name,
        "admin": key.admin,
        "models": list(key.models),
        "requests_per_minute": key.requests_per_minute,
        "max_in_flight": key.max_in_flight,
        "env": key.env or None,
    }


def _row(key: KeySpec) -> tuple[str, ...]:
    may = "everything" if key.admin else "ask models"
    limits = (str(key.requests_per_minute or "-"), str(key.max_in_flight or "-"))
    return key.name, may, *limits, f"${key.env}" if key.env else "hash", ", ".join(key.models) or "none"


@command.command()
@click.argument("name")
@config_option
def remove(name: str, config: str | None) -> None:
    """Remove a key from the config."""
    path = find(config)
    if path is None:
        raise SetupError(f"There is no config at {DEFAULT_PATH}, so there are no keys.")
    text = read_text(path)
    tables = tables_of(text, str(path))
    try:
        new = without_table(text, ("keys", name))
    except LookupError:
        known = ", ".join(tables.get("keys", {})) or "none"
        raise SetupError(f"There is no key {name!r} in {path}.", hint=f"There are: {known}.") from None
    except ValueError as error:
        raise SetupError(f"{path} stays as it is: {error}.", hint="Remove the key there by hand.") from None
    write_whole(path, new, force=True)
    click.echo(visible(f"Removed {name} from {path}. `llmsup reload` puts that into force."), err=True)
    if len(tables["keys"]) == 1 and not tables.get("server", {}).get("api_keys"):
        click.echo("It was the last key: from then on, no request needs one.", err=True)
