"""Adopting orphans: on Linux a process can ask to become the parent of descendants whose own parents end.

So nothing that an engine starts escapes us, however often it forks.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import sys
from collections.abc import Iterator

log = logging.getLogger(__name__)

_SET, _GET = 36, 37
"""<linux/prctl.h>: PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER (since Linux 3.4; prctl(2)). It holds for the whole
process, whichever thread sets it or forks; children don't inherit it.
"""


@contextlib.contextmanager
def adopting() -> Iterator[None]:
    """Adopt orphans within the block. Only for a process that runs nothing but llmsup; macOS has no such thing."""
    before = adopts()
    if sys.platform == "linux" and _prctl(_SET, ctypes.c_ulong(1)) != 0:
        log.debug("this system doesn't let us adopt orphans")
    try:
        yield
    finally:
        if sys.platform == "linux" and not before:
            _prctl(_SET, ctypes.c_ulong(0))


def adopts() -> bool:
    """Whether this process adopts its descendants' orphans. Process 1 adopts all others, which doesn't count."""
    if sys.platform != "linux" or os.getpid() == 1:
        return False
    answer = ctypes.c_int(0)
    return _prctl(_GET, ctypes.byref(answer)) == 0 and answer.value == 1


def _prctl(option: int, argument: object) -> int:
    try:
        return int(ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0))
    except (OSError, AttributeError):  # this system's library has no such function
        return -1
