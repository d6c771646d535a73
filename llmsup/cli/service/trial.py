"""What is tried before a service is installed, so that it is not started in vain, again and again.

It does not know the managers.
"""

from __future__ import annotations

import os
import subprocess

from ...errors import SetupError
from .job import Job
from .tool import shown


def must_be_ourselves() -> None:
    """Find out whether we are root for somebody else: the files would be in the wrong hands. Raises SetupError."""
    if os.getuid() == 0 and "SUDO_USER" in os.environ:
        raise SetupError("this is root, by sudo, and the service is yours.", hint="Do it without sudo.")


def must_start(job: Job) -> None:
    """Start the service's program for its version, as the manager will: with nothing of this terminal's.

    Raises:
        SetupError: It does not start.
    """
    words = (*job.arguments[: job.arguments.index("llmsup") + 1], "--version")
    environment = {**job.environment, "HOME": job.home}
    try:
        done = subprocess.run(
            words, env=environment, cwd=job.home, capture_output=True, timeout=job.start, errors="replace", check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"`{shown([words])}` does not work: {error}.") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise SetupError(
            f"`{shown([words])}` does not work outside of this terminal: {said}.",
            hint=f"Install llmsup for that Python: {job.arguments[0]} -m pip install llmsup",
        )


def must_be_free(listen: str) -> None:
    """Find out whether a server runs already, in a terminal, say: the service would be started in vain, again and
    again. Raises SetupError.
    """
    from ...web.server import listen as bind

    for listener in bind(listen):
        listener.close()
