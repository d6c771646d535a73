"""Running a tree from the command line: its log, its signals, and how it ends.

It does not know what is served: `serve` reads that from a file, `demo` makes it up.
"""

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
from ..errors import Error
from ..fleet.fleet import Fleet
from ..fleet.reconciler import Reconciler
from ..gateway.hosts import is_loopback
from ..process import descriptors, subreaper
from ..process.logbook import LogBook
from ..process.notify import Notifier
from ..process.server_file import left_in, new_token
from ..tree import Tree
from ..units import Seconds
from .address import url_of
from .failure import summary
from .logsetup import Handlers, set_up
from .reading import show_reading
from .terminal import Terminal

log = logging.getLogger(__name__)

FEW_CLIENTS = 250
"""Connections; if fewer are possible that is worth a line. A client's pool may well keep a hundred."""

CLOSING = Seconds(1)
"""How long a terminal may take to be gone after its SIGHUP: some send one first, and close it then."""
NOTHING_TO_SERVE = (
    "there are no models to serve: none were found in the catalog's roots; "
    "put some there, add a [models.NAME] table to the config, or try `llmsup demo`"
)
OPEN = (
    "anyone who can reach %s can use, load and unload your models: "
    "make a key (`llmsup key new NAME`), or listen on 127.0.0.1"
)

BOOK_LINES = 5000
"""Lines kept for `llmsup logs`, of everything together."""


def run(
    config: Config,
    sockets: list[socket.socket],
    *,
    verbose: bool,
    announce: Callable[[str, Fleet], None],
    reread: Callable[[], Config] | None = None,
    source: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, or until the terminal is closed that it was started in; a second signal of the
    former ends the grace that requests have. SIGHUP reloads, unless it was ignored before (`nohup`).

    The service manager that $NOTIFY_SOCKET names is told when requests are answered and when it stops.

    Args:
        config: What to serve.
        sockets: Listening already (`web.server.listen`).
        verbose: Log from DEBUG up.
        announce: Called with the server's URL and its models once requests are answered.
        reread: Reads the config anew.
        source: The config's file, by which the commands know this server from others.

    Raises:
        Error: It can't run as asked.
        click.exceptions.Exit: It broke; the log has told why.
    """
    book = LogBook(BOOK_LINES)
    logs = set_up(book, style=config.server.log_format, verbose=verbose)

    def read() -> Config:
        new = reread() if reread else config
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
    tree = Tree(config, sockets, book=book, reread=read, token=token)
    manager = Notifier.take()
    leaving = contextlib.ExitStack()

    def started(fleet: Fleet) -> None:
        for address in addresses(sockets):
            log.info("listening on %s", address)
        _warn_if_open(config, sockets)
        here = tuple(urls(config, sockets))
        leaving.enter_context(left_in(config.server.state_dir, urls=here, token=token, config=source))
        announce(here[0], fleet)
        manager.ready(f"answers at {', '.join(here)}")

    try:
        with leaving, subreaper.adopting():
            trio.run(_main, tree, logs, started, manager)
        # All is done: another Ctrl-C while Python takes itself apart is no reason to look killed.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    except BaseExceptionGroup as group:
        _report(list(_leaves(group)))


def urls(config: Config, sockets: list[socket.socket]) -> list[str]:
    """What a client on this machine can call, one for each socket; the ports are the real ones."""
    names = [s.getsockname() for s in sockets]
    return [url_of(name[0], name[1], tls=bool(config.server.certfile)) for name in names]


def addresses(sockets: list[socket.socket]) -> list[str]:
    """What is listened on, "0.0.0.0:5005" for all interfaces."""
    names = [s.getsockname() for s in sockets]
    return [f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}" for name in names]


async def _main(tree: Tree, logs: Handlers, started: Callable[[Fleet], None], manager: Notifier) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(logs.run)
        await nursery.start(_obey_signals, tree, manager)
        async with trio.open_nursery() as running:
            fleet: Fleet = await running.start(tree.run)
            gc.collect()
            gc.freeze()  # what is built now stays: collecting garbage must not walk through it under load
            started(fleet)
            running.start_soon(show_reading, tree)
            if tree.reconciler is not None and not fleet.complete:
                running.start_soon(_tell_if_nothing, tree.reconciler, fleet)
        log.info("stopped")
        nursery.cancel_scope.cancel()


async def _obey_signals(tree: Tree, manager: Notifier, *, task_status: trio.TaskStatus[None]) -> None:
    """SIGHUP has two meanings: "read your config again" for servers, "your terminal is gone" for all others."""
    terminal, stopping = Terminal.now(), False

    def stop(why: str) -> None:
        nonlocal stopping
        stopping = True
        log.info("%s: stopping", why)
        manager.stopping()
        tree.stop()

    async def stop_if_closed() -> None:
        await trio.sleep(CLOSING)
        if terminal.closed and not stopping:
            stop("its terminal was closed")

    obeyed = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        obeyed.remove(signal.SIGHUP)  # started with `nohup`
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(*obeyed) as signals:
            task_status.started()
            async for number in signals:
                if number != signal.SIGHUP:
                    stop(signal.Signals(number).name)
                elif terminal.closed and not stopping:
                    stop("SIGHUP, as its terminal was closed")
                elif not stopping:  # the shell and the system both send one when a terminal is closed
                    log.info("SIGHUP: reloading")
                    tree.reload()
                    nursery.start_soon(stop_if_closed)


async def _tell_if_nothing(reconciler: Reconciler, fleet: Fleet) -> None:
    """Say so if a look that took longer than a start may wait for ends with no model."""
    await reconciler.until(lambda: fleet.complete or reconciler.over)
    if fleet.complete and not fleet.models:
        warn_of_nothing()


def warn_of_nothing() -> None:
    """Tell that there is nothing to ask for, and what would help."""
    log.warning(NOTHING_TO_SERVE)


def _warn_if_open(config: Config, sockets: list[socket.socket]) -> None:
    open_to_others = [s for s in sockets if not is_loopback(s.getsockname()[0])]
    if open_to_others and not config.wants_key:
        log.warning(OPEN, ", ".join(addresses(open_to_others)))


def _report(leaves: list[BaseException]) -> None:
    """Tell what went wrong, without the groups around it."""
    if all(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        raise KeyboardInterrupt  # it came before the signals were ours
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
