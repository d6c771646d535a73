"""Runs the server for `serve` and `demo`, which differ in their config: its log, its start, and how it ends."""

from __future__ import annotations

import contextlib
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import trio

from ..config import Config
from ..errors import Error, SetupError
from ..fleet.fleet import Fleet
from ..fleet.reconciler import Reconciler
from ..gateway.hosts import is_loopback
from ..process import descriptors, subreaper
from ..process.logbook import LogBook
from ..process.notify import Notifier
from ..process.server_file import left_in, new_token
from ..tree import Tree
from .address import url_of
from .failure import summary
from .logsetup import Handlers, set_up
from .progress import counting
from .signals import obey_signals

log = logging.getLogger(__name__)

FEW_CLIENTS = 250
"""Client connections; a limit below that is worth a warning, since one client's pool can keep a hundred."""

NOTHING_TO_SERVE = (
    "there are no models to serve: none were found in the catalog's roots; "
    "put some there, add a [models.NAME] table to the config, fetch one with `llmsup pull NAME`, or try `llmsup demo`"
)
RELOADS = "Stop it, and start `llmsup serve`, which does."

OPEN = (
    "anyone who can reach %s can use, load and unload your models: "
    "make a key (`llmsup key new NAME`), or listen on 127.0.0.1"
)

BOOK_LINES = 5000
"""Lines that are kept for `llmsup logs`, those of all engines and of llmsup together."""


def run(
    config: Config,
    sockets: list[socket.socket],
    *,
    verbose: bool,
    announce: Callable[[str, Fleet], None],
    reread: Callable[[], Config] | None = None,
    source: Path | None = None,
    watched: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until the terminal is closed (see `signals`).

    The service manager in $NOTIFY_SOCKET, if there is one, is notified when requests are answered and when llmsup
    stops.

    Args:
        config: What to serve.
        sockets: Sockets that listen already (`web.server.listen`).
        verbose: Whether to log from DEBUG up.
        announce: Called with the server's URL and its models once requests are answered.
        reread: Reads the config again, for a reload; None: there is none to read, and a reload is refused.
        source: The config's file, by which the commands tell this server from others.
        watched: The file that `reread` reads, or will once it is there, and whose changes are applied; None: none.

    Raises:
        Error: The server can't run as configured.
        click.exceptions.Exit: It ended with errors, which have been logged.
    """
    book = LogBook(BOOK_LINES)
    logs = set_up(book, style=config.server.log_format, verbose=verbose)

    def read() -> Config:
        if reread is None:
            raise SetupError("This server reads no config: `llmsup demo` serves what it brings.", hint=RELOADS)
        new = reread()
        if tree.config.now.wants_key:  # else that was said before
            _warn_if_open(new, sockets)
        return new

    files = descriptors.raise_limit()
    if (most := descriptors.for_clients(files)) < FEW_CLIENTS:
        log.warning(
            "only %d files may be open, which allows %d connections of clients: raise the hard limit (`ulimit -Hn`)",
            files,
            most,
        )
    token = new_token()
    tree = Tree(config, sockets, book=book, reread=read, config_file=watched, token=token)
    manager = Notifier.take()
    leaving = contextlib.ExitStack()

    def started(fleet: Fleet) -> None:
        here = tuple(urls(config, sockets))
        leaving.enter_context(  # before that is told: who reads it may use the commands
            left_in(
                config.server.state_dir,
                urls=here,
                token=token,
                config=source,
                reads=reread is not None,
                identity=tree.serving.identity,
            )
        )
        for address in addresses(sockets):
            log.info("listening on %s", address)
        _warn_if_open(config, sockets)
        announce(here[0], fleet)
        manager.ready(f"answers at {', '.join(here)}")

    try:
        with leaving, subreaper.adopting():
            trio.run(_main, tree, logs, started, manager)
        # Everything has ended: another Ctrl-C while Python exits must not look like a failure.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    except BaseExceptionGroup as group:
        _report(list(_leaves(group)))


def urls(config: Config, sockets: list[socket.socket]) -> list[str]:
    """The URL of each socket for clients on this machine, with its real port."""
    names = [s.getsockname() for s in sockets]
    return [url_of(name[0], name[1], tls=bool(config.server.certfile)) for name in names]


def addresses(sockets: list[socket.socket]) -> list[str]:
    """The address of each socket: "0.0.0.0:5005" for all interfaces."""
    names = [s.getsockname() for s in sockets]
    return [f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}" for name in names]


async def _main(tree: Tree, logs: Handlers, started: Callable[[Fleet], None], manager: Notifier) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(logs.run)
        await nursery.start(obey_signals, tree, manager)
        async with trio.open_nursery() as running:
            fleet: Fleet = await running.start(tree.run)
            gc.collect()
            gc.freeze()  # what exists now stays, so the garbage collector need not walk through it under load
            started(fleet)
            if tree.reconciler is not None:
                running.start_soon(_show_reading, tree.reconciler)
                if not fleet.complete and not tree.config.now.peers:
                    running.start_soon(_tell_if_nothing, tree.reconciler, fleet)
        log.info("stopped")
        nursery.cancel_scope.cancel()


async def _show_reading(reconciler: Reconciler) -> None:
    """Draw a bar below the log while model files are read for the first time; log lines go above it."""
    if not reconciler.reading:
        return
    with counting("reading model files") as count:
        while reconciler.reading:
            count(reconciler.read, reconciler.of)
            await reconciler.change()


async def _tell_if_nothing(reconciler: Reconciler, fleet: Fleet) -> None:
    """Warn if the first scan, which the start did not wait for, ends without a model."""
    await reconciler.until(lambda: fleet.complete or reconciler.over)
    if fleet.complete and not fleet.models:
        warn_of_nothing()


def warn_of_nothing() -> None:
    """Log that there is no model, and what would help."""
    log.warning(NOTHING_TO_SERVE)


def _warn_if_open(config: Config, sockets: list[socket.socket]) -> None:
    open_to_others = [s for s in sockets if not is_loopback(s.getsockname()[0])]
    if open_to_others and not config.wants_key:
        log.warning(OPEN, ", ".join(addresses(open_to_others)))


def _report(leaves: list[BaseException]) -> None:
    """Log what went wrong, without the exception groups around it."""
    if all(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        raise KeyboardInterrupt  # Ctrl-C before `obey_signals` ran
    if len(leaves) == 1 and isinstance(leaves[0], Error):
        raise leaves[0] from None
    for leaf in leaves:
        if isinstance(leaf, Error):
            log.error("%s", leaf)
        else:
            log.error("a bug in llmsup ended it: %s", summary(leaf), exc_info=leaf)
    raise click.exceptions.Exit(1)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
