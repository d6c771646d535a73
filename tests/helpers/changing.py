"""A config file and a folder of models under a running llmsup: both may change, and it is asked to reload."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from configs import load
from gguf_files import tiny_llama
from serving import FAKE, Served, serving

ENGINE = f"command = {json.dumps([sys.executable, str(FAKE), '--socket', '${SOCKET}', '${ARGS}'])}\n"


class Setting:
    """A config file and a folder of models."""

    def __init__(self, directory: Path) -> None:
        self.models = directory / "models"
        self.models.mkdir()
        self.file = directory / "llmsup.toml"
        self.top = ""
        self.write()

    def write(self, tables: str = "", *, rescan: str = "never", server: str = "", args: str = "[]") -> None:
        self.file.write_text(
            f"[server]\nstate_dir = {str(self.models.parent / 'state')!r}\n{server}\n"
            f"[catalog]\nroots = [{str(self.models)!r}]\nollama = ''\nrescan = {rescan!r}\n"
            f"[bridge]\nevery = 'never'\n"  # whose look at the disk would be one more
            f"[defaults]\nengine = 'fake'\nttl = 'never'\nstop_grace = '2s'\nargs = {args}\n"
            f"[engines.fake]\n{ENGINE}{tables}"
        )

    def add(self, file: str, **metadata: Any) -> Path:
        return tiny_llama(self.models / f"{file}.gguf", **metadata)

    @asynccontextmanager
    async def serving(self, *, watched: bool = False) -> AsyncIterator[Served]:
        """`watched`: the file is applied when it changes, not only when a test asks for that."""
        watch = self.file if watched else None
        async with serving(config=load(self.file), reread=lambda: load(self.file), watched=watch) as served:
            yield served


async def reload(served: Served) -> Any:
    answer = await served.client.post("/reload-config")
    assert answer.status == 200, answer.body
    return answer.json
