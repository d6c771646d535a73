"""A real nginx, for the tests of what stands behind it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from serving import PATIENCE

CONFIG = """
{user}
daemon off;
pid {folder}/pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {servers}
}}
"""


@asynccontextmanager
async def nginx(folder: Path, servers: str) -> AsyncIterator[Path]:
    """An nginx with these paragraphs, one of which listens on the folder's `socket`; gives that one's path."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin:/opt/homebrew/bin")
    if program is None:
        pytest.fail("this test needs nginx: `apt-get install nginx`, `brew install nginx`; it need not run")
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers can't enter the test's folder
    (folder / "conf").write_text(CONFIG.format(folder=folder, servers=servers, user=user))
    command = [program, "-p", str(folder), "-c", str(folder / "conf"), "-e", str(folder / "error.log")]
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.run_process, command, check=False))
        with trio.fail_after(PATIENCE):
            while not (folder / "pid").exists() or not (folder / "socket").exists():  # noqa: ASYNC110 -- they are files
                await trio.sleep(0.01)
        yield folder / "socket"
        nursery.cancel_scope.cancel()
