"""A real Chromium, and the script that drives it (`page_driver.cjs`)."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

MODULES = Path(__file__).parents[2] / ".venv/browser/node_modules"
DRIVER = Path(__file__).parent / "page_driver.cjs"
NAMES = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
    "--remote-debugging-port=0",
)
LOCK = MODULES.parent / ".lock"
"""Held by whoever has a Chromium, so that two workers don't have one each: it takes more of a machine than all else."""
PATIENCE = 600
"""Seconds after which a scenario counts as hung; each takes some seconds on a quiet machine."""


@contextmanager
def chromium(folder: Path) -> Iterator[str]:
    """One that runs until the block is left, with a profile of its own; gives the URL by which it is driven.

    There is only one at a time: others who want one wait here.
    """
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None or not (MODULES / "playwright-core").is_dir():
        pytest.fail("this test needs Chromium and what drives it: run tools/browser")
    command = [program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with LOCK.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the file, also if we are killed
        with running(command, folder) as at:
            yield at


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[str]:
    """A Chromium with this profile, in a process group of its own."""
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, stdout=stderr, stderr=stderr, start_new_session=True)
    try:
        told, deadline = folder / "DevToolsActivePort", time.monotonic() + PATIENCE
        while not (told.exists() and (lines := told.read_text().splitlines())):
            assert process.poll() is None, (folder / "stderr").read_text()
            assert time.monotonic() < deadline, (folder / "stderr").read_text()
            time.sleep(0.05)  # a file can only be looked at again and again
        yield f"http://127.0.0.1:{lines[0]}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # what it has opened is thrown away anyway
        process.wait(PATIENCE)
        shutil.rmtree(folder, ignore_errors=True)


async def driven(browser: str, port: int, scenario: str, **options: Any) -> Any:
    """What was seen in a scenario of `page_driver.cjs`, at a llmsup on this port."""
    node = shutil.which("node")
    if node is None:
        pytest.fail("this test needs Node: run tools/js_client")
    words = [node, str(DRIVER), str(MODULES), browser, f"http://127.0.0.1:{port}", scenario, json.dumps(options)]
    with trio.fail_after(PATIENCE):
        ran = await trio.run_process(words, capture_stdout=True, capture_stderr=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    return json.loads(ran.stdout)
