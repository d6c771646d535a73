"""The text of a systemd user unit.

It does not know where the file goes nor how systemd is told: see `systemctl`.
"""

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
    # systemd.service(5): notify waits for READY=1 (see process/notify.py); a bad config (exit code 2) is not cured by
    # starting again; OOMPolicy=continue: when the kernel ends an engine for its memory, llmsup says so and lives on.
    # Not every system has a /bin/kill, as the manual's example does; every shell has its own.
    # systemd.kill(5): mixed asks llmsup alone, which stops its engines in order, and kills what is left after it.
    # TimeoutStopSec holds until then: `shutdown_grace`, `stop_grace` and a rest.
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
    """A command for ExecStart=. "$" begins a variable there, "$$" is a plain one (systemd.service(5), "Command lines").

    A program's own path is taken as it is, and refused with a quote or a backslash in it ("Executable name contains
    special characters"). Such a one is started by a shell, which becomes it.
    """
    if any(c in "$\"'\\" for c in words[0]):
        words = ("/bin/sh", "-c", 'exec "$0" "$@"', *words)
    return " ".join(_word(word.replace("$", "$$")) for word in words)


def _word(text: str) -> str:
    """One word, quoted (systemd.syntax(7), "Quoting"), with "%" kept from being a specifier (systemd.unit(5))."""
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _seconds(seconds: Seconds) -> str:
    return "infinity" if math.isinf(seconds) else str(math.ceil(seconds))  # systemd.time(7)
