"""The text of a systemd user unit; installing it is in `systemctl`."""

from __future__ import annotations

import math
import re

from ...units import Seconds
from .job import Job
from .launchd import OPEN_FILES
from .place import MARK

UNIT = "llmsup.service"

_PLAIN = re.compile(r"[A-Za-z0-9_/.,:=@+-]+", re.ASCII)


def unit(job: Job) -> str:
    """The unit's file."""
    environment = "".join(f"Environment={_word(f'{name}={value}')}\n" for name, value in job.environment.items())
    # systemd.service(5): notify waits for READY=1 (see process/notify.py); restarting doesn't cure a bad config (exit
    # code 2); OOMPolicy=continue: when the kernel kills an engine for its memory, llmsup reports it and goes on.
    # Not every system has the /bin/kill of the manual's example; every shell has a built-in one.
    # systemd.kill(5): mixed sends SIGTERM to llmsup alone, which stops its engines in order, and kills what is left
    # after TimeoutStopSec: `shutdown_grace`, `stop_grace` and a margin.
    return f"""\
# {MARK}
[Unit]
Description=llmsup, a supervisor for local language models

[Service]
Type=notify
ExecStart={command_line(job.arguments)}
ExecReload=/bin/sh -c "kill -HUP $$MAINPID"
{environment}Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
KillMode=mixed
OOMPolicy=continue
TimeoutStartSec={_seconds(job.start)}
TimeoutStopSec={_seconds(job.stop)}
LimitNOFILE={OPEN_FILES}

[Install]
WantedBy=default.target
"""


def command_line(words: tuple[str, ...]) -> str:
    """A command for ExecStart=, with "$" written as "$$" (systemd.service(5), "Command lines").

    The program's path can't be quoted, and is refused if it contains a quote or a backslash ("Executable name contains
    special characters"). Such a program is started through a shell that execs it.
    """
    if any(c in "$\"'\\" for c in words[0]):
        words = ("/bin/sh", "-c", 'exec "$0" "$@"', *words)
    return " ".join(_word(word.replace("$", "$$")) for word in words)


def _word(text: str) -> str:
    """One word, quoted (systemd.syntax(7), "Quoting"), with "%" escaped, which starts specifiers (systemd.unit(5))."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _seconds(seconds: Seconds) -> str:
    return "infinity" if math.isinf(seconds) else str(math.ceil(seconds))  # systemd.time(7)
