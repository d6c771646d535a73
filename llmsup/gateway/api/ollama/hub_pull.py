"""A pull from the hub, told in Ollama's words: `llmsup pull` in worker threads, a step at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import trio

from ....downloads.hub import hub
from ....downloads.name import HubName
from ....errors import Error
from ....units import Seconds
from ...message import Reply
from ..dialect import Asked

if TYPE_CHECKING:
    from ....downloads.fetch import Step
    from ....downloads.plan import Plan

log = logging.getLogger(__name__)

EVERY = Seconds(0.25)
"""How often progress is told: bytes come in small pieces."""

SUCCESS = b'{"status":"success"}\n'


async def from_hub(name: HubName, asked: Asked, *, streamed: bool) -> Reply:
    """Fetch a model into the first catalog root. A client that leaves ends that; the next pull goes on from there.

    Raises:
        Error: It can't be fetched, or won't fit; also if that turns out on the way, unless the answer is a stream.
    """
    ceiling = asked.ceiling()

    def begin() -> tuple[Plan, Generator[Step, None, None]]:
        the_hub = hub()
        from ....downloads.fetch import fetch
        from ....downloads.plan import plan

        planned = plan(the_hub, name, asked.config, ceiling)
        planned.check()
        return planned, fetch(the_hub, planned)

    planned, steps = await trio.to_thread.run_sync(begin, abandon_on_cancel=True)
    lines = _lines(planned, steps, asked)
    if streamed:
        kind = [(b"content-type", b"application/x-ndjson"), (b"X-Accel-Buffering", b"no")]
        return Reply(status=200, headers=kind, body=_worded(lines))
    async for _ in lines:
        pass
    return Reply(status=200, headers=[(b"content-type", b"application/json")], body=_only(SUCCESS))


async def _lines(planned: Plan, steps: Generator[Step, None, None], asked: Asked) -> AsyncGenerator[bytes, None]:
    """How it goes. Before the last line the disk is looked at, so that who reads it can use the model."""
    left = False

    def soon() -> Step | None:
        """The last of the steps that are made in a moment; None at the end."""
        end, last = time.monotonic() + EVERY, None
        for last in steps:
            if left:
                steps.close()
            if left or time.monotonic() >= end or last.what == "waiting":
                break
        return last

    yield b'{"status":"pulling manifest"}\n'
    try:
        # A client that leaves doesn't wait for the thread, which stops at its next step; what has come is kept. The
        # files are closed by whoever is last, so that the next pull of the model isn't told that this one is at it.
        while (step := await trio.to_thread.run_sync(soon, abandon_on_cancel=True)) is not None:
            yield _told(step)
    finally:
        left = True
        with suppress(ValueError):  # the thread is in it
            steps.close()
    yield b'{"status":"verifying sha256 digest"}\n'
    try:
        await asked.rescan()
    except Error as error:
        log.warning("%s has been pulled; it will be found later: %s", planned.model, error)
    yield SUCCESS


async def _worded(lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The lines, and what goes wrong on the way as the last one."""
    try:
        async for line in lines:
            yield line
    except Error as error:
        yield msgspec.json.encode({"error": str(error)}) + b"\n"
    finally:
        with trio.CancelScope(shield=True):
            await lines.aclose()


async def _only(data: bytes) -> AsyncGenerator[bytes, None]:
    yield data


def _told(step: Step) -> bytes:
    file = step.wanted.file
    what = {"checking": "verifying", "waiting": f"waiting: {step.why}; pulling"}.get(step.what, "pulling")
    told = {"status": f"{what} {file.digest[:12]}", "digest": f"sha256:{file.digest}"}
    return msgspec.json.encode({**told, "total": file.size, "completed": step.done}) + b"\n"
