"""Keeps the fleet's models in step with the config and the disk: scans, compares, applies the difference."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial

import trio
from attrs import field, frozen

from ..catalog.entry import Entry
from ..catalog.found import Snapshot
from ..catalog.library import Library
from ..catalog.merge import Disk, Engines, entries
from ..config.live import LiveConfig
from ..engines.missing import lines_of
from ..errors import Error, ShuttingDown
from ..process.watched import Watched
from ..units import Seconds, format_seconds
from .changes import Changes, compare
from .config_file import Applied, ConfigFile, Look
from .fleet import Fleet

log = logging.getLogger(__name__)

AT_A_TIME = Seconds(0.5)
"""How long headers are read at a time; what is known after that is served at once."""


@frozen(kw_only=True)
class Reloaded:
    """The result of reading the config and scanning the disk.

    Attributes:
        refused: Models that are listed but can't be served, and why.
        settings: Other settings that changed and are in force now, such as "keys".
        restart: Changed settings that take effect only when llmsup is restarted.
    """

    changes: Changes
    refused: Mapping[str, str]
    settings: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


@frozen(eq=False)
class _Ask:
    """A request for a scan, and its result.

    Attributes:
        reread: Read the config before.
        settled: Do neither unless the config's file, which looked like this, says something new; None: in any case.
    """

    reread: bool
    settled: Look | None = None
    done: trio.Event = field(factory=trio.Event, init=False)
    outcome: list[Reloaded | Error] = field(factory=list, init=False)

    def answer(self, outcome: Reloaded | Error) -> None:
        self.outcome.append(outcome)
        self.done.set()


class Reconciler(Watched):
    """The one task that changes which models the fleet has.

    Attributes:
        file: The config's file.
        snapshot: What the last scan found.
        over: It has ended.
        usable: The models that can be known quickly are served, though more files may still have to be read.
        read: How many files' headers the present scan has read, `of` how many.
    """

    def __init__(
        self,
        config: LiveConfig,
        fleet: Fleet,
        library: Library,
        file: ConfigFile,
        *,
        engines: Engines,
        without_engine: Callable[[Iterable[Entry]], Awaitable[Mapping[str, str]]],
    ) -> None:
        """`engines` are the kinds that may serve a model; `without_engine` gives the models that no engine can run, and
        why.
        """
        super().__init__()
        self._config = config
        self.file = file
        self.snapshot = Snapshot(complete=False)
        self.usable = False
        self.over = False
        self.read, self.of = 0, 0
        self._fleet = fleet
        self._library = library
        self._engines = engines
        self._without_engine = without_engine
        self._served: dict[str, Entry] = {}
        self._open: set[_Ask] = set()
        self._told: set[str] = set()
        self._asks, self._asked = trio.open_memory_channel[_Ask](math.inf)

    @property
    def reading(self) -> bool:
        """Whether files are still being read for the first time."""
        return not (self.over or self.snapshot.complete)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Scan at once, then at every `catalog.rescan` interval and whenever a scan is asked for."""
        task_status.started()
        try:
            async with self._asked:
                await self._keep()
        finally:
            self.over = True
            self.notify()

    def give_up(self) -> None:
        """Fail everything that waits for a scan, because llmsup stops."""
        for ask in self._open:
            ask.answer(ShuttingDown("llmsup is shutting down."))

    async def _keep(self) -> None:
        await self._look()
        while True:
            asks: list[_Ask] = []
            with trio.move_on_after(self._config.now.catalog.rescan):
                asks.append(await self._asked.receive())
            with suppress(trio.WouldBlock):  # one scan answers everything that was asked before it
                while True:
                    asks.append(self._asked.receive_nowait())
            await self._do(asks)

    async def reload(self) -> Reloaded:
        """Read the config again, and scan the disk.

        Raises:
            ConfigError: The config has mistakes; nothing was changed.
            SetupError: It can't be read; nothing was changed.
            ShuttingDown: llmsup is shutting down.
        """
        return await self._ask(_Ask(reread=True))

    async def reload_changed(self, settled: Look) -> Reloaded:
        """The same if the config's file, which has looked like this for a while, says something new; else nothing."""
        return await self._ask(_Ask(reread=True, settled=settled))

    async def rescan(self) -> Reloaded:
        """Scan the disk. Raises ShuttingDown."""
        return await self._ask(_Ask(reread=False))

    def reload_soon(self) -> None:
        """Reload without waiting for the result, which goes to the log."""
        with suppress(trio.BrokenResourceError):  # llmsup is shutting down
            self._asks.send_nowait(_Ask(reread=True))

    async def _ask(self, ask: _Ask) -> Reloaded:
        try:
            self._asks.send_nowait(ask)
        except trio.BrokenResourceError:
            raise ShuttingDown("llmsup is shutting down.") from None
        self._open.add(ask)
        try:
            await ask.done.wait()
        finally:
            self._open.discard(ask)
        outcome = ask.outcome[0]
        if isinstance(outcome, Error):
            raise outcome
        return outcome

    async def _do(self, asks: list[_Ask]) -> None:
        applied: Applied | None = None
        rereads = [ask for ask in asks if ask.reread]
        if rereads:
            others = [ask for ask in asks if not ask.reread]
            forced = any(ask.settled is None for ask in rereads)
            try:
                applied = await self.file.apply(None if forced else rereads[-1].settled)
            except Error as error:
                for ask in rereads:
                    ask.answer(error.again())
                asks = others
            if applied is None and not others:
                for ask in asks:
                    ask.answer(Reloaded(changes=Changes(), refused=self._refused()))
                return
        changes = await self._look()
        if applied is not None:
            told = f"{changes}; settings changed: {', '.join(applied.settings)}" if applied.settings else str(changes)
            log.info("reloaded: %s", told)
            self.file.tell(told)
        elif changes:
            log.info("on the disk: %s", changes)
        done = applied or Applied()
        for ask in asks:
            ask.answer(Reloaded(changes=changes, refused=self._refused(), settings=done.settings, restart=done.restart))

    async def _look(self) -> Changes:
        """Scan the disk, and serve what is there."""
        began = trio.current_time()
        before = {name: model.entry for name, model in self._fleet.models.items()}
        survey = partial(self._library.survey, self._config.now)
        for problem in await trio.to_thread.run_sync(survey, abandon_on_cancel=True):
            log.warning("%s", problem)
        self.read, self.of = 0, self._library.pending
        # The config's own files come first, and are few.
        await trio.to_thread.run_sync(partial(self._library.read, first_only=True), abandon_on_cancel=True)
        await self._serve()
        while self._library.pending:
            await trio.to_thread.run_sync(partial(self._library.read, AT_A_TIME), abandon_on_cancel=True)
            self.read = self.of - self._library.pending
            await self._serve()
            self._note_usable()
        self._note_usable()
        for save in (self._library.save, partial(self._library.save_ids, self.snapshot.models)):
            unsaved = await trio.to_thread.run_sync(save)
            if unsaved and unsaved not in self._told:  # else each scan would tell it again
                log.warning("%s", unsaved)
                self._told.add(unsaved)
        if self.of:
            seconds = format_seconds(trio.current_time() - began)
            files, models = _count(self.of, "model file"), _count(len(self._fleet.models), "model")
            log.info("read %s in %s; serving %s", files, seconds, models)
        return compare(before, {name: model.entry for name, model in self._fleet.models.items()})

    async def _serve(self) -> None:
        def served() -> tuple[Snapshot, dict[str, Entry]]:
            snapshot = self._library.snapshot()
            return snapshot, entries(config, Disk(snapshot=snapshot, engines=self._engines))

        config, before = self._config.now, self.snapshot
        snapshot, found = await trio.to_thread.run_sync(served, abandon_on_cancel=True)
        await self._note_engines(found)
        self.snapshot = snapshot
        same = found == self._served and before.left_out == self.snapshot.left_out
        if same and self._fleet.complete and self.snapshot.complete:
            return  # with hundreds of models, comparing them for nothing would hold up everyone's streams
        self._served = found
        # While a scan goes on, what it hasn't found yet isn't gone.
        kept = {} if self.snapshot.complete else {n: m.entry for n, m in self._fleet.models.items() if n not in found}
        self._fleet.apply({**found, **kept}, complete=self.snapshot.complete, left_out=self.snapshot.left_out)
        self.notify()

    async def _note_engines(self, found: Mapping[str, Entry]) -> None:
        """Warn of models that no engine can run; programs come and go without any model file changing."""
        missing = await self._without_engine(found.values())
        told = lines_of(self._fleet.without_engine)
        self._fleet.without_engine = missing
        for line in lines_of(missing):
            if line not in told:
                log.warning("%s", line)

    def _note_usable(self) -> None:
        self.usable = True
        self.notify()

    def _refused(self) -> dict[str, str]:
        return {name: m.entry.refusal for name, m in self._fleet.models.items() if m.entry.refusal}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
