"""Checks before a service is installed, so that the manager doesn't restart a broken one over and over."""

from __future__ import annotations

import os
import subprocess

from ...errors import SetupError
from .job import Job
from .tool import shown


def must_be_ourselves() -> None:
    """Refuse to run as root through sudo: the files would belong to the wrong user. Raises SetupError."""
    if os.getuid() == 0 and "SUDO_USER" in os.environ:
        raise SetupError(
            "this is running as root through sudo, but the service is for your own user.", hint="Run it without sudo."
        )


def must_start(job: Job) -> None:
    """Run the service's program with --version as the manager would start it, without this terminal's environment.

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
    """Refuse if a server is already running, in a terminal for example: the service could not bind its address. Raises
    SetupError.
    """
    from ...web.server import listen as bind

    for listener in bind(listen):
        listener.close()
