"""Keeps a directory out of Time Machine's backups: saved slots are large, change often, and hold prompts.

`tmutil addexclusion PATH` marks the directory itself, with an extended attribute (tmutil(8) calls that sticky). It
needs no rights beyond those on the directory, and may be repeated.
"""

from __future__ import annotations

import logging
from pathlib import Path

from ..process.programs import ProgramFailed, run
from ..units import Seconds

log = logging.getLogger(__name__)

TMUTIL = "/usr/bin/tmutil"


async def leave_out(directory: Path, program: str = TMUTIL) -> None:
    """Have a directory left out of backups; a failure is logged."""
    try:
        await run((program, "addexclusion", str(directory)), name="tmutil", timeout=Seconds(10))
    except ProgramFailed as error:
        log.warning("%s may be in Time Machine's backups: %s", directory, error)
