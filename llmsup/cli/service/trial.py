"""Checks before a service is installed, so that the manager doesn't restart a broken one again and again."""

from __future__ import annotations

import os

from ...config import Server
from ...errors import SetupError
from ...process.programs import ProgramFailed, run_now
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
    told = f"`{shown([words])}`"
    try:
        run_now(words, name=told, timeout=job.start, env={**job.environment, "HOME": job.home}, cwd=job.home)
    except ProgramFailed as failed:
        if failed.exit_code is None:
            raise SetupError(failed.message) from None
        said = (failed.output.strip().splitlines() or [f"exit code {failed.exit_code}"])[-1]
        raise SetupError(
            f"{told} does not work outside of this terminal: {said}.",
            hint=f"Install llmsup for that Python: {job.arguments[0]} -m pip install llmsup",
        ) from None


def must_be_free(server: Server) -> None:
    """Refuse if a server is already running, in a terminal for example: the service could not bind its address. Raises
    SetupError.
    """
    from ...web.second_port import listen_all

    for listener in listen_all(server):
        listener.close()
