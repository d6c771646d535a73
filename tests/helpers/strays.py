"""Programs that get away from whoever started them, in several ways; each says who it is, and is deaf to SIGTERM."""

from __future__ import annotations

import os
import sys
import time

import psutil
from serving import PATIENCE

_STAY = (
    "import os,signal,sys,time\n"
    "def stay():\n"
    "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "    print(os.getpid(), flush=True)\n"
    "    time.sleep(600)\n"
    "    os._exit(0)\n"
    "def child(f):\n"
    "    if os.fork() == 0:\n"
    "        try: f()\n"
    "        finally: os._exit(0)\n"
)

_WIPED = "os.execve(sys.executable, [sys.executable, '-c', %r], {})" % (_STAY + "stay()")

GROUP = "child(lambda: (os.setpgid(0, 0), stay()))\n"
SESSION = "child(lambda: (os.setsid(), stay()))\n"
DAEMON = "child(lambda: (os.setsid(), child(stay)))\n"
SINGLE = "child(lambda: child(lambda: (os.setsid(), stay())))\n"  # its parent ends, and it leads a session of its own
WIPED = f"child(lambda: (os.setsid(), {_WIPED}))\n"
WIPED_DAEMON = f"child(lambda: (os.setsid(), child(lambda: (os.setsid(), {_WIPED}))))\n"
# And it has limits of its own: on purpose, nobody does that by chance. There is nothing left to tell whose it is.
_UNMARKED = f"(__import__('resource').setrlimit(15, (10**9, 10**9)), {_WIPED})"  # 15: RLIMIT_RTTIME, on Linux
UNMARKED_DAEMON = f"child(lambda: (os.setsid(), child(lambda: (os.setsid(), {_UNMARKED}))))\n"

LEADER_STAYS = "time.sleep(600)\n"


def program(how: str, then: str = LEADER_STAYS) -> tuple[str, ...]:
    """A command whose leader starts a stray, which says its number, and then does something else."""
    return (sys.executable, "-c", _STAY + how + then)


def runs(pid: int) -> bool:
    """Whether a process lives; one that its parent hasn't reaped yet doesn't."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(*pids: int, seconds: float = PATIENCE) -> None:
    """Wait for processes that are nobody's children to end."""
    deadline = time.monotonic() + seconds
    while any(map(runs, pids)):
        assert time.monotonic() < deadline, f"{pids} still run, we are {os.getpid()}"
        time.sleep(0.02)
