"""Runs `top`: looks at the server, draws, and does what the keys say."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import trio
from attrs import evolve
from rich.console import Console, Group
from rich.live import Live

from ...errors import Error
from ...units import Seconds
from ..client import Client
from .keyboard import Keyboard
from .now import Now, Row, look
from .pages import Page
from .picture import Chosen, picture
from .told import told

EVERY = Seconds(1)
"""How often the server is looked at."""

WHOLE = 5
"""Every which look reads the list of all models, too."""


class App:
    """One terminal."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._now: Now | None = None
        self._chosen = Chosen()
        self._page: Page | None = None
        self._trouble = ""
        self._poke = trio.Event()
        self._keyboard = Keyboard(sys.stdin.fileno())
        self._console = Console()
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Run until the user leaves. Raises Error: the server didn't answer at the first look."""
        self._now = await self._thread(lambda: look(self._client, None, time.time(), whole=True))
        self._move(0)
        with self._keyboard, self._live:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._scope = nursery.cancel_scope
                self._draw()
                nursery.start_soon(self._look)
                nursery.start_soon(self._signals)
                await self._keys()

    # What there is to see...

    async def _look(self) -> None:
        count = 0
        while True:
            poked, self._poke = self._poke.is_set(), trio.Event()
            count += 1
            await self._look_once(whole=poked or count % WHOLE == 0)
            self._draw()
            with trio.move_on_after(EVERY):
                await self._poke.wait()

    async def _look_once(self, *, whole: bool) -> None:
        page, width = self._page, self._console.width
        try:
            if page is not None:
                page.lines = await self._thread(page.source.lines, self._client, width)
                page.error = ""
            else:
                self._now = await self._thread(lambda: look(self._client, self._now, time.time(), whole=whole))
                self._move(0)
            self._trouble = ""
        except Error as error:  # it may come back
            self._trouble = str(error)
            if page is not None:
                page.error = str(error)

    async def _thread(self, work: Callable[..., Any], *args: Any) -> Any:
        return await trio.to_thread.run_sync(work, *args, abandon_on_cancel=True)

    def _draw(self) -> None:
        width, height = self._console.size
        if self._page is not None:
            lines = self._page.picture(width, height)
        else:
            assert self._now is not None
            chosen = evolve(self._chosen, note=self._trouble) if self._trouble else self._chosen
            lines = picture(self._now, chosen, self._client.url, width, height)
        self._live.update(Group(*lines), refresh=True)

    async def _signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGTSTP, signal.SIGTERM) as signals:
            async for number in signals:
                if number == signal.SIGTERM:
                    self._scope.cancel()
                elif number == signal.SIGTSTP:
                    self._suspend()
                self._draw()

    def _suspend(self) -> None:
        """Ctrl-Z: give the terminal back, stop, and go on when the shell says so."""
        self._live.stop()
        self._keyboard.__exit__()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._keyboard.__enter__()
        self._live.start()

    # What the keys do...

    async def _keys(self) -> None:
        while keys := await self._keyboard.pressed():
            for key in keys:
                if self._chosen.typing:
                    self._type(key)
                elif self._page is not None:
                    self._turn(self._page, key)
                elif key in ("q", "escape") and not (key == "escape" and self._chosen.part):
                    self._scope.cancel()
                else:
                    self._do(key)
            self._draw()
        self._scope.cancel()

    def _turn(self, page: Page, key: str) -> None:
        if key in ("q", "escape", "enter"):
            self._page = None
            self._poke.set()
        else:
            page.scroll(key, self._console.height)

    def _type(self, key: str) -> None:
        part = self._chosen.part
        if key in ("enter", "escape"):
            self._chosen = evolve(self._chosen, typing=False, part=part if key == "enter" else "")
        elif key == "backspace":
            self._chosen = evolve(self._chosen, part=part[:-1])
        elif len(key) == 1:
            self._chosen = evolve(self._chosen, part=part + key)
        self._move(0)

    def _do(self, key: str) -> None:
        self._chosen = evolve(self._chosen, note="")
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10, "home": -9999, "end": 9999}
        if key in steps:
            self._move(steps[key])
        elif key == "escape":
            self._chosen = evolve(self._chosen, part="")
        elif key == "/":
            self._chosen = evolve(self._chosen, typing=True, part="")
        elif key in ("O", "?"):
            self._open(Page.log(None) if key == "O" else Page.help())
        elif (row := self._row) is not None:
            self._do_with(row, key)

    def _do_with(self, row: Row, key: str) -> None:
        name = row.name
        if key == "w":
            self._open(Page.why(name))
        elif key == "o":
            self._open(Page.log(name))
        elif key in ("l", "enter"):
            self._ask("/models/load", {"model": name, "wait": False})
        elif key in ("u", "U"):
            self._chosen = evolve(self._chosen, note=f"{name} is being unloaded.")
            self._ask("/models/unload", {"model": name, "force": key == "U"})
        elif key == "p":
            pin = not (row.running and row.running["pinned"])
            self._ask("/models/load", {"model": name, "wait": False, "pinned": pin})

    @property
    def _row(self) -> Row | None:
        rows = self._now.rows(self._chosen.part) if self._now else []
        return next((row for row in rows if row.name == self._chosen.name), None)

    def _move(self, steps: int) -> None:
        """Choose another model, by so many rows; the first where the chosen one is gone."""
        names = [row.name for row in self._now.rows(self._chosen.part)] if self._now else []
        at = names.index(self._chosen.name) + steps if self._chosen.name in names else 0
        name = names[max(0, min(at, len(names) - 1))] if names else ""
        self._chosen = evolve(self._chosen, name=name)

    def _open(self, page: Page) -> None:
        self._page = page
        self._poke.set()

    def _ask(self, path: str, body: Mapping[str, Any]) -> None:
        self._nursery.start_soon(self._asked, path, body)

    async def _asked(self, path: str, body: Mapping[str, Any]) -> None:
        try:
            note = told(await self._thread(self._client.post, path, body), body)
        except Error as error:
            note = str(error)
        self._chosen = evolve(self._chosen, note=note)
        self._poke.set()
        self._draw()
