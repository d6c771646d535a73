"""One run of the bridge, built-in or the user's own program as the config says; failures are returned, not raised."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import trio
from attrs import evolve

from ..catalog.disk.lmstudio import bridge_target
from ..catalog.name_parts import printable
from ..config.schema import Config
from ..errors import BadRequest, Error, SetupError
from ..process.child import describe_exit
from ..process.orphans import Orphans
from ..units import Seconds, format_seconds
from . import builtin, script
from .lock import Locked
from .record import BridgeRun, links_in

log = logging.getLogger(__name__)

PATIENCE = Seconds(5)
"""Seconds to wait for another llmsup that is using the same folder."""

_TICK = Seconds(0.05)


async def bridge(config: Config, orphans: Orphans, wall: Callable[[], float]) -> BridgeRun:
    """Run once; what went wrong is in the result.

    Args:
        wall: Unix seconds.
    """
    run = BridgeRun(started_at=wall(), command=config.bridge.command[0] if config.bridge.command else "")
    began = trio.current_time()
    try:
        run = await (_script(run, config, orphans) if run.command else _builtin(run, config))
    except Error as error:
        run = evolve(run, error=str(error))
    except Exception as error:  # serving goes on, and the next scheduled run tries again
        log.exception("a bug in llmsup's bridge")
        run = evolve(run, error=f"A bug in llmsup: {type(error).__name__}. Its log has the details.")
    return evolve(run, seconds=trio.current_time() - began)


async def try_out(config: Config, wall: Callable[[], float]) -> BridgeRun:
    """Say what the built-in bridge would do.

    Raises:
        BadRequest: The bridge is a program of the user's, which has no dry run.
        Error: The store or the folder can't be read.
    """
    if config.bridge.command:
        raise BadRequest(
            "Only the built-in bridge can tell what it would do.",
            hint=f"bridge.command is {config.bridge.command[0]!r}.",
            param="dry_run",
        )
    began = trio.current_time()
    run = await _builtin(BridgeRun(started_at=wall(), dry_run=True), config)
    return evolve(run, seconds=trio.current_time() - began)


async def _builtin(run: BridgeRun, config: Config) -> BridgeRun:
    timeout = config.bridge.timeout
    with trio.move_on_after(timeout):
        # If the disk hangs, the thread keeps the lock, so no second run can touch the links.
        done = await _patiently(partial(builtin.run, config, dry_run=run.dry_run))
        outcome = done.outcome
        return evolve(
            run,
            made=tuple(map(printable, outcome.made)),
            removed=tuple(map(printable, outcome.removed)),
            kept=len(outcome.kept),
            skipped=done.skipped,
            problems=tuple(map(printable, outcome.problems)),
            note=printable(done.note),
        )
    raise SetupError(f"The disk took longer than {format_seconds(timeout)} (bridge.timeout).")


async def _patiently(bridge_once: Callable[[], builtin.BridgeOutcome]) -> builtin.BridgeOutcome:
    end = trio.current_time() + PATIENCE
    while True:
        try:
            return await trio.to_thread.run_sync(bridge_once, abandon_on_cancel=True)
        except Locked:
            if trio.current_time() >= end:
                raise
        await trio.sleep(_TICK)  # there is no way to wait for an flock without blocking a thread


def _links(config: Config) -> dict[str, str]:
    target = bridge_target(config.bridge.target)
    return {} if target is None else links_in(target)


async def _script(run: BridgeRun, config: Config, orphans: Orphans) -> BridgeRun:
    timeout = config.bridge.timeout
    links = partial(_links, config)
    before = await trio.to_thread.run_sync(links, abandon_on_cancel=True)
    ended = await script.run(
        config.bridge.command, orphans=orphans, timeout=timeout, say=partial(log.info, "bridge: %s")
    )
    after = await trio.to_thread.run_sync(links, abandon_on_cancel=True)
    error = ""
    if ended.exit_code is None:
        error = f"{run.command} took longer than {format_seconds(timeout)} (bridge.timeout), and was ended."
    elif ended.exit_code:
        error = f"{run.command} {describe_exit(ended.exit_code)}."
    same = before.items() & after.items()
    return evolve(
        run,
        exit_code=ended.exit_code,
        made=tuple(printable(path) for path in sorted(after) if (path, after[path]) not in same),
        removed=tuple(printable(path) for path in sorted(before) if path not in after),
        kept=len(same),
        lines=ended.lines,
        error=error,
    )
