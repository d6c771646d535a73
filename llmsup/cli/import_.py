"""`llmsup import`: convert a llama-swap config to llmsup's format; the conversion is in `importing`."""

from __future__ import annotations

from pathlib import Path

import click

from ..config.write import write_whole
from ..errors import SetupError
from ..process.lines import visible
from .importing import convert
from .importing.reading import LARGEST


@click.command("import")
@click.argument("file")
@click.option("--output", metavar="FILE", default="-", help="Where to write the result  [default: standard output]")
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(file: str, output: str, force: bool) -> None:
    """Convert a llama-swap config to llmsup's format.

    Models, commands with their macros, sampling flags, time limits, aliases and API keys are converted. What has no
    counterpart is listed on standard error and in comments in the result.

    \b
    Example:
      llmsup import ~/llama-swap/config.yaml --output ~/.config/llmsup/llmsup.toml
    """
    path = Path(file)
    try:
        with click.open_file(file, "rb") as opened:  # - is standard input
            data = opened.read(LARGEST + 1)
    except OSError as error:
        raise click.BadParameter(f"{file} can't be read: {error.strerror or error}.", param_hint="FILE") from None
    source = "standard input" if file == "-" else path.name
    imported = convert(data, source)
    for note in imported.notes:
        click.echo(visible(f"{source}: {note}"), err=True)
    if output == "-":
        click.echo(imported.text, nl=False)
        return
    target = Path(output).expanduser()
    if target.exists() and path.exists() and target.samefile(path):
        raise SetupError(f"{target} is the file to import.", hint="Name another one for the result.")
    write_whole(target, imported.text, force=force, private=imported.private)
    click.echo(f"Wrote {target}. To see what each model resolves to: llmsup check --config {target}", err=True)
