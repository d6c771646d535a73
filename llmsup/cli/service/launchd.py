"""The text of a launchd agent's file, after launchd.plist(5); installing it is in `launchctl`."""

from __future__ import annotations

import math
import plistlib
from typing import Any

from .job import Job
from .place import MARK

LABEL = "local.llmsup"
"""The agent's label: unique, in reverse-domain style; "local" is not a registrable domain."""

OPEN_FILES = 8192
"""A waiting request takes one descriptor, a streaming one two. launchd's own soft limit is 256 (`launchctl limit
maxfiles`), systemd's 1024 (systemd.exec(5), "Limits"), and `max_queue` alone is 1000.
"""


def plist(job: Job, log: str) -> str:
    """The agent's file; `log` is the absolute path of the file for its output."""
    keys: dict[str, Any] = {
        "Label": LABEL,
        "ProgramArguments": list(job.arguments),  # execvp(3)'s vector: nothing in it is expanded
        "EnvironmentVariables": dict(job.environment),
        "WorkingDirectory": job.home,  # else it is /
        "RunAtLoad": True,  # at login, and when it is bootstrapped
        "KeepAlive": True,  # started again however it ended, at most every 10 s (ThrottleInterval)
        "ProcessType": "Interactive",  # no throttling of CPU and I/O, as for background jobs
        "ExitTimeOut": 0 if math.isinf(job.stop) else math.ceil(job.stop),  # from SIGTERM to SIGKILL; 0: no limit
        "SoftResourceLimits": {"NumberOfFiles": OPEN_FILES},
        "StandardOutPath": log,  # appended to
        "StandardErrorPath": log,
    }
    text = plistlib.dumps(keys, sort_keys=False).decode()
    head, tag, rest = text.partition('<plist version="1.0">\n')
    return f"{head}<!-- {MARK} -->\n{tag}{rest}"
